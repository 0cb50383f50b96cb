//! Who is connected: one holder per device and client identifier, taken over only under the same certificate.
//!
//! A device has a fixed number of slots. The slot, not the client identifier, names its link to the router, so that
//! what the router remembers is bounded by devices, whatever identifiers they make up. When all slots are taken, the
//! session that has been without a connection for longest gives way: a device that makes up a new identifier at each
//! start must not lock itself out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use contract_interface::DeviceId;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::refusal::ConnectRefusal;
use super::status::Message;
use super::subscribing::Subscription;

/// Sessions of one device, connected or kept.
pub(super) const SLOTS_MAX: usize = 8;
/// Large packets of one device in memory at the same time, so that a few devices cannot take every place.
pub(super) const LARGE_PER_DEVICE: usize = 4;
/// A holder that was told to leave has this time to do so.
const LEAVING: Duration = Duration::from_secs(10);

/// SHA-256 of the certificate a connection was made with; none on the insecure port.
pub(super) type Thumbprint = Option<[u8; 32]>;

/// What a session remembers from one connection to the next.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Packet identifiers of QoS 2 messages that are kept and not yet released.
    pub(super) unreleased: HashSet<u16>,
    /// Bounded by `subscribing`.
    pub(super) subscriptions: Vec<Subscription>,
    /// Retained messages that were sent and are not acknowledged, by their packet identifiers; at most one for each
    /// subscription.
    pub(super) unacknowledged: Vec<(u16, Message)>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The client identifier while connected or kept.
    client_id: Option<String>,
    /// Until when the session is kept after its connection ends.
    kept_until: Option<Instant>,
    /// When its connection ended.
    left_at: Option<Instant>,
    holder: Option<Holder>,
    memory: Memory,
    /// Of the last connection's will, which waits: it is forgotten when this rings, published when it is dropped.
    will: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone)]
struct Holder {
    thumbprint: Thumbprint,
    leave: CancellationToken,
    left: CancellationToken,
    recheck: Arc<Notify>,
}

impl Slot {
    fn is_free(&self, now: Instant) -> bool {
        self.holder.is_none() && self.kept_until.is_none_or(|until| until <= now)
    }
}

/// What is known of one device.
#[derive(Debug)]
struct Known {
    slots: Vec<Slot>,
    large: Arc<Semaphore>,
}

impl Default for Known {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            large: Arc::new(Semaphore::new(LARGE_PER_DEVICE)),
        }
    }
}

/// Where a new session goes: a free slot, a new one, or that of the kept session left longest ago.
fn place(slots: &mut Vec<Slot>, now: Instant) -> Option<usize> {
    if let Some(free) = slots.iter().position(|slot| slot.is_free(now)) {
        return Some(free);
    }
    if slots.len() < SLOTS_MAX {
        // Nearly every device has one.
        slots.reserve_exact(1);
        slots.push(Slot::default());
        return Some(slots.len() - 1);
    }
    let kept = slots
        .iter()
        .enumerate()
        .filter(|(_, slot)| slot.holder.is_none());
    let (oldest, _) = kept.min_by_key(|(_, slot)| slot.left_at)?;
    metrics::counter!("salus_mqtt_sessions_given_up_total").increment(1);
    Some(oldest)
}

/// All sessions. The lock is held for a look-up, never across an await.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<DeviceId, Known>>);

/// A connection's hold on its session; gives it back when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    sessions: Arc<Sessions>,
    device: DeviceId,
    slot: usize,
    left: CancellationToken,
    keep: Option<Duration>,
    /// Rings when another connection takes the session over.
    pub(super) leave: CancellationToken,
    /// Rings when the device's registration was changed.
    pub(super) recheck: Arc<Notify>,
    /// Whether the session was kept from before.
    pub(super) resumed: bool,
    pub(super) memory: Memory,
    /// See [`Slot::will`].
    pub(super) will: Option<oneshot::Sender<()>>,
    /// The device's places for large packets, whatever its connections.
    pub(super) large: Arc<Semaphore>,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the session of `client_id`, from its holder if need be.
    ///
    /// `clean` forgets what was kept; `keep` is how long it is kept after the connection ends.
    pub(super) async fn enter(
        self: &Arc<Self>,
        device: &DeviceId,
        client_id: &str,
        thumbprint: Thumbprint,
        clean: bool,
        keep: Option<Duration>,
    ) -> Result<Lease, ConnectRefusal> {
        let deadline = tokio::time::Instant::now() + LEAVING;
        loop {
            let left = match self.try_enter(device, client_id, thumbprint, clean, keep) {
                Ok(lease) => return Ok(lease),
                Err(Attempt::Refused(refusal)) => return Err(refusal),
                Err(Attempt::Wait(left)) => left,
            };
            if tokio::time::timeout_at(deadline, left.cancelled())
                .await
                .is_err()
            {
                return Err(ConnectRefusal::Busy);
            }
        }
    }

    fn try_enter(
        self: &Arc<Self>,
        device: &DeviceId,
        client_id: &str,
        thumbprint: Thumbprint,
        clean: bool,
        keep: Option<Duration>,
    ) -> Result<Lease, Attempt> {
        let now = Instant::now();
        let mut devices = self.lock();
        let Known { slots, large } = devices.entry(device.clone()).or_default();
        let known = slots
            .iter()
            .position(|slot| slot.client_id.as_deref() == Some(client_id));
        if let Some(holder) = known.and_then(|at| slots[at].holder.as_ref()) {
            if holder.thumbprint != thumbprint {
                return Err(Attempt::Refused(ConnectRefusal::OtherCertificate));
            }
            holder.leave.cancel();
            return Err(Attempt::Wait(holder.left.clone()));
        }
        let slot = known
            .or_else(|| place(slots, now))
            .ok_or(Attempt::Refused(ConnectRefusal::TooManySessions))?;
        let resumed = !clean && known.is_some() && !slots[slot].is_free(now);
        let holder = Holder {
            thumbprint,
            leave: CancellationToken::new(),
            left: CancellationToken::new(),
            recheck: Arc::new(Notify::new()),
        };
        let before = std::mem::take(&mut slots[slot]);
        if let Some(will) = before.will.filter(|_| resumed) {
            // It may be published already.
            let _ = will.send(());
        }
        slots[slot] = Slot {
            client_id: Some(client_id.to_owned()),
            holder: Some(holder.clone()),
            ..Slot::default()
        };
        Ok(Lease {
            sessions: Arc::clone(self),
            device: device.clone(),
            slot,
            left: holder.left,
            keep,
            leave: holder.leave,
            recheck: holder.recheck,
            resumed,
            memory: match resumed {
                true => before.memory,
                false => Memory::default(),
            },
            will: None,
            large: Arc::clone(large),
        })
    }

    /// Has the connections of a device, or of all, look at its registration now.
    pub(super) fn recheck(&self, device: Option<&DeviceId>) {
        let devices = self.lock();
        let known = devices
            .iter()
            .filter(|(id, _)| device.is_none_or(|device| device == *id));
        for holder in
            known.flat_map(|(_, known)| known.slots.iter().filter_map(|s| s.holder.as_ref()))
        {
            holder.recheck.notify_one();
        }
    }

    /// Connected sessions.
    pub(super) fn connected(&self) -> usize {
        let devices = self.lock();
        let slots = devices.values().flat_map(|known| &known.slots);
        slots.filter(|slot| slot.holder.is_some()).count()
    }
}

enum Attempt {
    Refused(ConnectRefusal),
    Wait(CancellationToken),
}

impl Lease {
    /// Name of the link to the router; device IDs hold no colon.
    pub(super) fn link_name(&self) -> String {
        format!("{}:{}", self.device, self.slot)
    }

    /// Whether the session outlives the connection.
    pub(super) fn is_kept(&self) -> bool {
        self.keep.is_some()
    }

    /// How long it does.
    pub(super) fn kept_for(&self) -> Option<Duration> {
        self.keep
    }

    /// Changes that; a session that was not to be kept stays so. Whether it could.
    pub(super) fn keep_for(&mut self, keep: Option<Duration>) -> bool {
        let possible = self.keep.is_some() || keep.is_none();
        if possible {
            self.keep = keep;
        }
        possible
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut devices = self.sessions.lock();
        if let Some(slot) = devices
            .get_mut(&self.device)
            .and_then(|known| known.slots.get_mut(self.slot))
        {
            slot.holder = None;
            slot.left_at = Some(Instant::now());
            match self.keep {
                Some(keep) => {
                    slot.kept_until = Instant::now().checked_add(keep);
                    slot.memory = std::mem::take(&mut self.memory);
                    slot.will = self.will.take();
                }
                None => {
                    slot.client_id = None;
                    slot.kept_until = None;
                    slot.memory = Memory::default();
                }
            }
        }
        drop(devices);
        self.left.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Thumbprint = Some([1; 32]);
    const B: Thumbprint = Some([2; 32]);
    const HOUR: Option<Duration> = Some(Duration::from_secs(3600));

    fn device() -> DeviceId {
        "d".parse().unwrap()
    }

    #[tokio::test]
    async fn a_session_is_taken_over_only_under_the_same_certificate() {
        let sessions = Arc::new(Sessions::default());
        let first = sessions.enter(&device(), "c", A, true, None).await.unwrap();
        let other = sessions.enter(&device(), "c", B, true, None).await;
        assert_eq!(other.unwrap_err(), ConnectRefusal::OtherCertificate);
        assert!(!first.leave.is_cancelled());
        let entering = Arc::clone(&sessions);
        let second =
            tokio::spawn(async move { entering.enter(&device(), "c", A, true, None).await });
        first.leave.cancelled().await;
        assert!(!second.is_finished());
        drop(first);
        let second = second.await.unwrap().unwrap();
        assert_eq!(sessions.connected(), 1);
        drop(second);
        assert_eq!(sessions.connected(), 0);
    }

    #[tokio::test]
    async fn kept_sessions_remember_and_clean_ones_do_not() {
        let sessions = Arc::new(Sessions::default());
        let mut lease = sessions
            .enter(&device(), "c", A, false, HOUR)
            .await
            .unwrap();
        assert!(!lease.resumed);
        lease.memory.unreleased.insert(7);
        let name = lease.link_name();
        drop(lease);
        let other = sessions.enter(&device(), "x", A, true, None).await.unwrap();
        assert_ne!(other.link_name(), name, "a kept slot is not given away");
        let lease = sessions
            .enter(&device(), "c", B, false, HOUR)
            .await
            .unwrap();
        assert!(lease.resumed && lease.memory.unreleased.contains(&7));
        assert_eq!(lease.link_name(), name);
        drop(lease);
        let lease = sessions.enter(&device(), "c", A, true, None).await.unwrap();
        assert!(!lease.resumed && lease.memory.unreleased.is_empty());
        drop(lease);
        let lease = sessions
            .enter(&device(), "c", A, false, HOUR)
            .await
            .unwrap();
        assert!(!lease.resumed);
    }

    #[tokio::test]
    async fn an_expired_session_is_gone() {
        let sessions = Arc::new(Sessions::default());
        let keep = Some(Duration::ZERO);
        drop(
            sessions
                .enter(&device(), "c", A, false, keep)
                .await
                .unwrap(),
        );
        let lease = sessions
            .enter(&device(), "c", A, false, keep)
            .await
            .unwrap();
        assert!(!lease.resumed);
    }

    /// A will that waits is forgotten when its session goes on, and published when it ends.
    #[tokio::test]
    async fn a_waiting_will_hears_what_becomes_of_its_session() {
        let sessions = Arc::new(Sessions::default());
        for (clean, forgotten) in [(false, true), (true, false)] {
            let mut lease = sessions
                .enter(&device(), "c", A, false, HOUR)
                .await
                .unwrap();
            let (will, waiting) = oneshot::channel();
            lease.will = Some(will);
            drop(lease);
            let _next = sessions.enter(&device(), "c", A, clean, HOUR).await;
            assert_eq!(waiting.await.is_ok(), forgotten);
        }
        // Another session took the place.
        let mut lease = sessions
            .enter(&device(), "c", A, false, HOUR)
            .await
            .unwrap();
        let (will, waiting) = oneshot::channel();
        lease.will = Some(will);
        drop(lease);
        for number in 0..SLOTS_MAX {
            let id = number.to_string();
            drop(
                sessions
                    .enter(&device(), &id, A, false, HOUR)
                    .await
                    .unwrap(),
            );
        }
        assert!(waiting.await.is_err());
    }

    #[tokio::test]
    async fn how_long_a_session_is_kept_may_change_but_not_whether() {
        let sessions = Arc::new(Sessions::default());
        let mut lease = sessions.enter(&device(), "c", A, true, None).await.unwrap();
        assert!(!lease.keep_for(HOUR) && lease.keep_for(None));
        drop(lease);
        let mut lease = sessions
            .enter(&device(), "c", A, false, HOUR)
            .await
            .unwrap();
        assert!(lease.keep_for(Some(Duration::from_secs(7))));
        assert!(lease.keep_for(None) && !lease.is_kept());
        drop(lease);
        let lease = sessions
            .enter(&device(), "c", A, false, HOUR)
            .await
            .unwrap();
        assert!(!lease.resumed);
    }

    /// Kept sessions that nobody comes back to must not lock the device out.
    #[tokio::test]
    async fn the_session_left_longest_ago_gives_way() {
        let sessions = Arc::new(Sessions::default());
        let enter = async |id: &str| sessions.enter(&device(), id, A, false, HOUR).await;
        let connected = enter("connected").await.unwrap();
        let mut names = Vec::new();
        for number in 1..SLOTS_MAX {
            let lease = enter(&number.to_string()).await.unwrap();
            names.push(lease.link_name());
        }
        // All have left but the first; the second comes back and leaves again.
        assert!(enter("1").await.unwrap().resumed);
        let new = enter("new").await.unwrap();
        assert!(!new.resumed);
        assert_eq!(new.link_name(), names[1], "2 was left longest ago");
        assert!(enter("1").await.unwrap().resumed);
        let again = enter("2").await.unwrap();
        assert!(!again.resumed, "what gave way is forgotten");
        assert_eq!(again.link_name(), names[2]);
        assert!(!connected.leave.is_cancelled());
    }

    #[tokio::test]
    async fn sessions_of_one_device_are_bounded() {
        let sessions = Arc::new(Sessions::default());
        let mut held = Vec::new();
        for number in 0..SLOTS_MAX {
            let id = number.to_string();
            held.push(sessions.enter(&device(), &id, A, true, None).await.unwrap());
        }
        let more = sessions.enter(&device(), "more", A, true, None).await;
        assert_eq!(more.unwrap_err(), ConnectRefusal::TooManySessions);
        held.pop();
        sessions
            .enter(&device(), "more", A, true, None)
            .await
            .unwrap();
    }
}
