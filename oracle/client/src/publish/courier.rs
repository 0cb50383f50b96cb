//! Carries readings from where they wait to the oracle until each has its receipt, over as many connections as that
//! takes.
//!
//! On each connection everything that waits is sent in order, what was acknowledged before included: an
//! acknowledgement means that the oracle has the reading, a receipt that the ledger has it, and a reading that is sent
//! again gets its receipt again. The oracle tells by number or content, so the ledger has each reading once.

mod reminder;

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use self::reminder::Reminder;
use super::{
    INFLIGHT_MAX, Options, Outbox, OutboxError, Outgoing, PublishError, Receipt,
    bridge::Bridge,
    receipts::{Answer, read_answer},
    session::{Connection, Step},
};

/// First wait before another connection; doubles.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Longest wait before another connection.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take to be there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Readings accepted with one sync of the disk at most.
const ACCEPT_MAX: usize = 256;
/// What happened, for who watches.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// So many readings, from the beginning, survive a crash now.
    Accepted(u64),
    /// The oracle has a reading (by its ID in the outbox).
    Acknowledged(u64),
    /// The ledger has readings of the outbox.
    Receipted {
        /// Their IDs.
        ids: Vec<u64>,
        /// Where they are.
        receipt: Receipt,
    },
    /// The oracle refuses a reading for good; it stays in the outbox and is not sent again by itself.
    Refused {
        /// Its ID.
        id: u64,
        /// The oracle's reason.
        reason: String,
    },
    /// The ledger's contract refuses readings; the oracle keeps them and tries again.
    NotRegistered {
        /// The contract's code.
        refused: String,
    },
    /// The connection was lost or could not be made.
    Disconnected {
        /// Why.
        reason: String,
    },
}

/// How it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivered {
    /// Readings accepted by this call.
    pub accepted: u64,
    /// Acknowledgements that came.
    pub acknowledged: u64,
    /// Readings whose receipt came.
    pub receipted: u64,
    /// Readings refused for good, from before included.
    pub refused: usize,
    /// Connections made.
    pub connections: u64,
}

/// Accepts what comes from `readings` and carries everything in the outbox to the oracle, until the sender is gone
/// and nothing waits any more. As long as there is a sender it never gives up, whatever becomes of the connection;
/// then it does when nothing came nearer to the end for [`Options::patience`], and the outbox keeps what waits.
///
/// # Errors
/// [`PublishError::Outbox`] when a reading cannot be accepted, [`PublishError::TimedOut`] or
/// [`PublishError::Identity`].
pub async fn deliver(
    options: &Options,
    outbox: &mut Outbox,
    readings: mpsc::Receiver<Outgoing>,
    watch: impl FnMut(Event),
) -> Result<Delivered, PublishError> {
    let bridge = Bridge::start(options)?;
    let mut courier = Courier {
        options,
        outbox,
        readings: Some(readings),
        watch,
        delivered: Delivered::default(),
        deadline: Instant::now() + options.patience,
    };
    let result = courier.run(&bridge).await;
    bridge.stop().await;
    courier.delivered.refused = courier.outbox.refused();
    result.map(|()| courier.delivered)
}

struct Courier<'a, W> {
    options: &'a Options,
    outbox: &'a mut Outbox,
    /// None once the sender is gone.
    readings: Option<mpsc::Receiver<Outgoing>>,
    watch: W,
    delivered: Delivered,
    deadline: Instant,
}

/// What is on its way on one connection.
#[derive(Debug, Default)]
struct OnTheWay {
    /// The last reading handed to the client.
    last: u64,
    /// Handed over and not yet written out.
    requested: VecDeque<u64>,
    /// Written out and not acknowledged, by packet identifier.
    in_flight: HashMap<u16, u64>,
}

impl OnTheWay {
    fn has_room(&self) -> bool {
        self.requested.len() + self.in_flight.len() < usize::from(INFLIGHT_MAX)
    }
}

/// What came of waiting for the connection.
enum Polled {
    Step(Step),
    Broken(String),
    TooLate,
    /// There is something to send.
    Interrupted,
}

/// Why a connection is left.
enum Leave {
    /// Nothing waits any more.
    Done,
    /// It broke, or the oracle has no room now.
    Broken(String),
}

impl<W: FnMut(Event)> Courier<'_, W> {
    async fn run(&mut self, bridge: &Bridge) -> Result<(), PublishError> {
        let mut delay = RETRY_DELAY;
        loop {
            self.wait_for_work().await?;
            if self.is_done() {
                return Ok(());
            }
            let acknowledged = self.delivered.acknowledged;
            let mut connection = Connection::new(self.options, &bridge.socket());
            match self.serve(&mut connection).await? {
                Leave::Done => {
                    connection.disconnect().await;
                    return Ok(());
                }
                Leave::Broken(reason) => (self.watch)(Event::Disconnected { reason }),
            }
            if self.delivered.acknowledged > acknowledged {
                delay = RETRY_DELAY;
            }
            self.pause(delay).await?;
            delay = (delay * 2).min(RETRY_DELAY_MAX);
        }
    }

    fn is_done(&self) -> bool {
        self.readings.is_none() && self.outbox.is_empty()
    }

    /// Without anything to send, no connection is needed.
    async fn wait_for_work(&mut self) -> Result<(), PublishError> {
        while self.outbox.is_empty() && self.readings.is_some() {
            self.take_in().await?;
            self.progress();
        }
        Ok(())
    }

    /// Waits, and accepts readings meanwhile.
    async fn pause(&mut self, delay: Duration) -> Result<(), PublishError> {
        let until = Instant::now() + delay;
        while Instant::now() < until {
            tokio::select! {
                taken = next(&mut self.readings) => self.accept(taken)?,
                () = sleep(until.duration_since(Instant::now())) => {}
            }
            self.check_patience()?;
        }
        Ok(())
    }

    async fn serve(&mut self, connection: &mut Connection) -> Result<Leave, PublishError> {
        let mut way = OnTheWay::default();
        let mut may_publish = false;
        let opening = Instant::now() + CONNECT_TIMEOUT;
        let mut reminder = Reminder::new(self.delivered.receipted, Instant::now());
        loop {
            if self.is_done() {
                return Ok(Leave::Done);
            }
            if reminder.is_due(self.delivered.receipted, Instant::now()) {
                way.last = 0;
            }
            if may_publish && let Err(reason) = self.fill(connection, &mut way)? {
                return Ok(Leave::Broken(reason));
            }
            let deadline = match may_publish {
                true => reminder.at().min(self.patient_until()),
                false => opening.min(self.patient_until()),
            };
            // The client may only be interrupted where it waits: neither while it connects nor while it writes.
            let idle = may_publish && way.requested.is_empty();
            let step = match self.step(connection, deadline, idle).await? {
                Polled::Interrupted => continue,
                Polled::TooLate => {
                    self.check_patience()?;
                    if may_publish {
                        continue;
                    }
                    return Ok(Leave::Broken("the broker did not answer".to_owned()));
                }
                Polled::Broken(reason) => return Ok(Leave::Broken(reason)),
                Polled::Step(step) => step,
            };
            match step {
                Step::Connected => {
                    self.delivered.connections += 1;
                    // Receipts first, so that none is missed.
                    let topic = format!("v1/devices/{}/receipts", self.options.device_id);
                    if let Err(error) = connection.subscribe(&topic) {
                        return Ok(Leave::Broken(error.to_string()));
                    }
                }
                Step::Subscribed => may_publish = true,
                Step::Sent(packet_id) => {
                    if let Some(id) = way.requested.pop_front() {
                        way.in_flight.insert(packet_id, id);
                    }
                }
                Step::Acknowledged { packet_id, refusal } => {
                    if let Some(leave) = self.acknowledged(&mut way, packet_id, refusal)? {
                        return Ok(leave);
                    }
                }
                Step::Received(payload) => self.received(&payload)?,
                Step::Other => {}
            }
        }
    }

    /// Waits for what the connection does next, and accepts readings meanwhile; a reading that comes while the
    /// client is idle ends the wait, so that it is sent.
    async fn step(
        &mut self,
        connection: &mut Connection,
        deadline: Instant,
        idle: bool,
    ) -> Result<Polled, PublishError> {
        let mut polling = pin!(timeout_at(deadline, connection.poll()));
        loop {
            tokio::select! {
                biased;
                polled = &mut polling => return Ok(match polled {
                    Ok(Ok(step)) => Polled::Step(step),
                    Ok(Err(error)) => Polled::Broken(error.to_string()),
                    Err(_) => Polled::TooLate,
                }),
                taken = next(&mut self.readings) => {
                    self.accept(taken)?;
                    if idle {
                        return Ok(Polled::Interrupted);
                    }
                }
            }
        }
    }

    /// Hands readings to the client as long as there is room for more on the way.
    fn fill(
        &mut self,
        connection: &mut Connection,
        way: &mut OnTheWay,
    ) -> Result<Result<(), String>, PublishError> {
        while way.has_room()
            && let Some(id) = self.outbox.after(way.last)
        {
            way.last = id;
            // Still on its way from before.
            if way.requested.contains(&id) || way.in_flight.values().any(|other| *other == id) {
                continue;
            }
            let Some(Outgoing {
                content_type,
                message,
            }) = self.outbox.read(id)?
            else {
                continue;
            };
            let options = Options {
                content_type,
                ..self.options.clone()
            };
            if let Err(error) = connection.publish(&options, &message) {
                return Ok(Err(error.to_string()));
            }
            way.requested.push_back(id);
        }
        Ok(Ok(()))
    }

    fn acknowledged(
        &mut self,
        way: &mut OnTheWay,
        packet_id: u16,
        refusal: Option<String>,
    ) -> Result<Option<Leave>, PublishError> {
        let Some(id) = way.in_flight.remove(&packet_id) else {
            return Ok(None);
        };
        match refusal {
            None => {
                self.delivered.acknowledged += 1;
                self.progress();
                (self.watch)(Event::Acknowledged(id));
            }
            Some(reason) if is_temporary(&reason) => return Ok(Some(Leave::Broken(reason))),
            Some(reason) => {
                self.outbox.refuse(id, &reason)?;
                self.progress();
                (self.watch)(Event::Refused { id, reason });
            }
        }
        Ok(None)
    }

    fn received(&mut self, payload: &[u8]) -> Result<(), PublishError> {
        match read_answer(payload) {
            Some(Answer::Receipt(receipt)) => {
                let settled = self.outbox.settle(&receipt.readings)?;
                if !settled.is_empty() {
                    self.delivered.receipted += settled.len() as u64;
                    self.progress();
                    (self.watch)(Event::Receipted {
                        ids: settled,
                        receipt,
                    });
                }
            }
            Some(Answer::Refusal(refusal)) => (self.watch)(Event::NotRegistered {
                refused: refusal.refused,
            }),
            None => tracing::warn!("a message on the receipts topic is no receipt"),
        }
        Ok(())
    }

    /// Waits for a reading and accepts it, with those that are there, too.
    async fn take_in(&mut self) -> Result<(), PublishError> {
        let first = next(&mut self.readings).await;
        self.accept(first)
    }

    fn accept(&mut self, first: Option<Outgoing>) -> Result<(), PublishError> {
        let Some(first) = first else {
            self.readings = None;
            // From now on it is waited for nothing but receipts.
            self.progress();
            return Ok(());
        };
        let mut batch = vec![first];
        while batch.len() < ACCEPT_MAX
            && let Some(Ok(more)) = self.readings.as_mut().map(mpsc::Receiver::try_recv)
        {
            batch.push(more);
        }
        self.outbox.accept(&batch)?;
        self.delivered.accepted += batch.len() as u64;
        (self.watch)(Event::Accepted(self.delivered.accepted));
        Ok(())
    }

    fn progress(&mut self) {
        self.deadline = Instant::now() + self.options.patience;
    }

    /// Whether it may give up some day: as long as readings may come, somebody has to accept them.
    fn may_give_up(&self) -> bool {
        self.readings.is_none() && !self.outbox.is_empty()
    }

    fn patient_until(&self) -> Instant {
        match self.may_give_up() {
            true => self.deadline,
            false => Instant::now() + self.options.patience,
        }
    }

    fn check_patience(&self) -> Result<(), PublishError> {
        if !self.may_give_up() || Instant::now() < self.deadline {
            return Ok(());
        }
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Err(PublishError::TimedOut {
            seconds: self.options.patience.as_secs(),
            acknowledged: count(self.delivered.acknowledged),
            receipted: count(self.delivered.receipted),
            messages: count(self.delivered.receipted) + self.outbox.len(),
        })
    }
}

/// The next reading; never, once the sender is gone and that was said.
async fn next(readings: &mut Option<mpsc::Receiver<Outgoing>>) -> Option<Outgoing> {
    match readings {
        Some(readings) => readings.recv().await,
        None => std::future::pending().await,
    }
}

/// Whether the same reading may be taken later: the oracle has no room, or cannot ask the ledger.
fn is_temporary(reason: &str) -> bool {
    ["QuotaExceeded", "device-lookup-failed", "journal-failed"]
        .iter()
        .any(|temporary| reason.contains(temporary))
}

impl From<OutboxError> for PublishError {
    fn from(error: OutboxError) -> Self {
        Self::Outbox(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_for_want_of_room_is_no_fault_of_the_reading() {
        for (reason, temporary) in [
            ("QuotaExceeded: journal-full", true),
            ("ImplementationSpecificError: device-lookup-failed", true),
            ("ImplementationSpecificError: sequence-reused", false),
            ("PayloadFormatInvalid: payload-not-json", false),
            ("NotAuthorized: device-not-bound", false),
        ] {
            assert_eq!(is_temporary(reason), temporary, "{reason}");
        }
    }
}
