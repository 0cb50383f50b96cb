//! Which readings become a record together. Pure.
//!
//! Readings of one device, patient, type and labels are gathered until they are many, large or old enough. A message
//! that is large, or bytes of another kind, is a group of its own at once.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::{EntryId, Kind, Labels, Pending};

/// When a group is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// At this many readings.
    pub(super) readings: usize,
    /// At this many payload bytes.
    pub(super) bytes: u64,
    /// When its first reading was gathered this long ago at most. Groups that begin together do not end together,
    /// or devices would feel the work on all of them at once.
    pub(super) age: Duration,
}

/// Readings that become one record, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) device: String,
    pub(super) patient: String,
    pub(super) code: String,
    pub(super) labels: Labels,
    pub(super) entries: Vec<EntryId>,
    /// Content type, when the one message in it is the record's whole content.
    pub(super) alone: Option<String>,
    /// The device's name for the object that is its content, if that is in a file of its own.
    pub(super) object: Option<String>,
    pub(super) period: (i64, i64),
    bytes: u64,
    due: Instant,
}

/// A kind of readings for what makes a group: all but the media type.
#[derive(Debug, Clone)]
struct Kin(Arc<Kind>);

impl Kin {
    fn shared(&self) -> (&str, &str, &str, &Labels) {
        let Kind {
            device,
            patient,
            code,
            labels,
            ..
        } = &*self.0;
        (device, patient, code, labels)
    }
}

impl PartialEq for Kin {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.shared() == other.shared()
    }
}

impl Eq for Kin {}

impl Hash for Kin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shared().hash(state);
    }
}

/// Gathers readings into groups.
#[derive(Debug)]
pub(super) struct Gatherer {
    rules: Rules,
    began: Instant,
    open: HashMap<Kin, Group>,
    closed: Vec<Group>,
}

impl Gatherer {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            began: Instant::now(),
            open: HashMap::new(),
            closed: Vec::new(),
        }
    }

    /// Takes in a reading.
    pub(super) fn push(&mut self, reading: impl Into<Arc<Pending>>, now: Instant) {
        let reading = reading.into();
        if reading.alone || reading.object_id.is_some() || reading.payload_bytes >= self.rules.bytes
        {
            let content_type = reading.kind.content_type.clone();
            let mut group = group(&reading, now);
            group.alone = Some(content_type);
            self.closed.push(group);
            return;
        }
        let kin = Kin(Arc::clone(&reading.kind));
        let reading = &reading;
        let begin = |kin: &Kin| group(reading, due(self.rules.age, self.began, kin, now));
        if let Some(open) = self.open.get_mut(&kin) {
            if open.bytes + reading.payload_bytes <= self.rules.bytes {
                open.entries.push(reading.id);
                open.bytes += reading.payload_bytes;
                open.period.0 = open.period.0.min(reading.period.0);
                open.period.1 = open.period.1.max(reading.period.1);
            } else {
                let full = std::mem::replace(open, begin(&kin));
                self.closed.push(full);
            }
        } else {
            self.open.insert(kin.clone(), begin(&kin));
        }
        let full = self
            .open
            .get(&kin)
            .is_some_and(|open| open.entries.len() >= self.rules.readings);
        if full {
            self.closed.extend(self.open.remove(&kin));
        }
    }

    /// Closed groups, and those that are old enough now: those with the oldest readings, at most `limit`. Others
    /// that are old enough stay open, so that under load records grow instead of their number.
    pub(super) fn take_ready(&mut self, now: Instant, limit: usize) -> Vec<Group> {
        let open = self.open.iter();
        let old: Vec<(Option<EntryId>, Kin)> = open
            .filter(|(_, group)| group.due <= now)
            .map(|(kin, group)| (group.first(), kin.clone()))
            .collect();
        let closed = self.closed.iter().map(Group::first);
        let mut firsts: Vec<_> = closed.chain(old.iter().map(|(first, _)| *first)).collect();
        firsts.sort_unstable();
        let last = limit.checked_sub(1).and_then(|last| firsts.get(last));
        for (first, kin) in old {
            if last.is_none_or(|last| first <= *last) {
                self.closed.extend(self.open.remove(&kin));
            }
        }
        self.closed.sort_by_key(Group::first);
        let later = self.closed.split_off(limit.min(self.closed.len()));
        std::mem::replace(&mut self.closed, later)
    }

    /// Gives a group back that could not be sealed now.
    pub(super) fn give_back(&mut self, group: Group) {
        self.closed.push(group);
    }

    /// Closes every group, whatever its age.
    pub(super) fn close_all(&mut self) {
        self.closed
            .extend(self.open.drain().map(|(_, group)| group));
    }

    /// When the next group will be old enough.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.open.values().map(|group| group.due).min()
    }

    /// Whether a group is closed and waits.
    pub(super) fn has_closed(&self) -> bool {
        !self.closed.is_empty()
    }
}

impl Group {
    fn first(&self) -> Option<EntryId> {
        self.entries.first().copied()
    }
}

/// When a group that begins now will be old enough: each kind of readings has a beat of its own since the gatherer
/// began, a turn in every [`Rules::age`].
fn due(age: Duration, began: Instant, kin: &Kin, now: Instant) -> Instant {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let age = nanos(age).max(1);
    let mut hasher = DefaultHasher::new();
    kin.hash(&mut hasher);
    let offset = hasher.finish() % age;
    let since = nanos(now.saturating_duration_since(began)) % age;
    // More than nothing: what comes on the beat has to wait for the next.
    now + Duration::from_nanos(age - (since + offset) % age)
}

fn group(reading: &Pending, due: Instant) -> Group {
    Group {
        device: reading.kind.device.clone(),
        patient: reading.kind.patient.clone(),
        code: reading.kind.code.clone(),
        labels: reading.kind.labels.clone(),
        entries: vec![reading.id],
        alone: None,
        object: reading.object_id.as_deref().map(str::to_owned),
        period: reading.period,
        bytes: reading.payload_bytes,
        due,
    }
}

#[cfg(test)]
impl Group {
    /// A group of entries 0 to `count`.
    pub(super) fn of(
        device: &str,
        patient: &str,
        code: &str,
        count: u64,
        period: (i64, i64),
    ) -> Self {
        Self {
            device: device.to_owned(),
            patient: patient.to_owned(),
            code: code.to_owned(),
            labels: Labels::default(),
            entries: (0..count).map(EntryId).collect(),
            alone: None,
            object: None,
            period,
            bytes: 0,
            due: Instant::now(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const RULES: Rules = Rules {
        readings: 3,
        bytes: 100,
        age: Duration::from_secs(2),
    };

    pub(in crate::pipeline) fn reading(id: u64, device: &str, code: &str, bytes: u64) -> Pending {
        Pending {
            id: EntryId(id),
            kind: Arc::new(Kind {
                device: device.to_owned(),
                patient: "p".to_owned(),
                code: code.to_owned(),
                content_type: "application/json".to_owned(),
                labels: Labels::default(),
            }),
            sequence: Some(id),
            fingerprint: [0; 32],
            other_identity: None,
            received_ms: 0,
            period: (i64::try_from(id).unwrap(), i64::try_from(id).unwrap() + 10),
            payload_bytes: bytes,
            alone: false,
            marks: crate::journal::Marks::default(),
            object_id: None,
        }
    }

    fn ids(groups: &[Group]) -> Vec<Vec<u64>> {
        let of = |group: &Group| group.entries.iter().map(|id| id.0).collect();
        groups.iter().map(of).collect()
    }

    #[test]
    fn groups_close_by_count() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(RULES);
        for id in 0..7 {
            gatherer.push(reading(id, "d", "c", 1), now);
        }
        let groups = gatherer.take_ready(now, 9);
        assert_eq!(ids(&groups), [vec![0, 1, 2], vec![3, 4, 5]]);
        assert_eq!(groups[0].period, (0, 12));
        let due = gatherer.next_due().unwrap();
        assert!(due > now && due <= now + RULES.age);
    }

    #[test]
    fn groups_close_by_bytes_and_never_exceed_them() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(RULES);
        for (id, bytes) in [(0, 60), (1, 60), (2, 40), (3, 1)] {
            gatherer.push(reading(id, "d", "c", bytes), now);
        }
        assert_eq!(ids(&gatherer.take_ready(now, 9)), [vec![0], vec![1, 2]]);
    }

    #[test]
    fn groups_close_by_age() {
        let mut gatherer = Gatherer::new(RULES);
        let now = Instant::now();
        gatherer.push(reading(0, "d", "c", 1), now);
        let due = gatherer.next_due().unwrap();
        let before = due.checked_sub(Duration::from_nanos(1)).unwrap();
        gatherer.push(reading(1, "d", "c", 1), before);
        assert!(gatherer.take_ready(before, 9).is_empty());
        assert_eq!(ids(&gatherer.take_ready(due, 9)), [vec![0, 1]]);
        assert_eq!(gatherer.next_due(), None);
        gatherer.push(reading(2, "d", "c", 1), due);
        assert_eq!(gatherer.next_due(), Some(due + RULES.age), "the next beat");
    }

    #[test]
    fn groups_that_begin_together_end_at_all_times() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(RULES);
        for id in 0..1_000 {
            gatherer.push(reading(id, &format!("device-{id}"), "c", 1), now);
        }
        for tenth in 1..=10 {
            let ended = gatherer
                .take_ready(now + RULES.age * tenth / 10, 1_000)
                .len();
            assert!((60..140).contains(&ended), "{ended} in tenth {tenth}");
        }
    }

    #[test]
    fn what_is_old_and_has_no_turn_yet_grows_and_the_oldest_have_the_first_turn() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(RULES);
        for (id, device) in [(0, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "d"), (5, "d")] {
            gatherer.push(reading(id, device, "c", 1), now);
        }
        let later = now + RULES.age;
        assert_eq!(ids(&gatherer.take_ready(later, 2)), [vec![0], vec![1]]);
        gatherer.push(reading(6, "c", "c", 1), later);
        gatherer.push(reading(7, "a", "c", 1), later);
        let next = gatherer.take_ready(later, 2);
        assert_eq!(ids(&next), [vec![2, 6], vec![3, 4, 5]]);
        assert!(gatherer.take_ready(later, 2).is_empty());
        let due = gatherer.next_due().unwrap();
        assert!(due > later && due <= later + RULES.age);
    }

    #[test]
    fn devices_and_types_stay_apart_and_large_messages_alone() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(RULES);
        gatherer.push(reading(0, "d", "a", 1), now);
        gatherer.push(reading(1, "d", "b", 1), now);
        gatherer.push(reading(2, "e", "a", 1), now);
        gatherer.push(reading(3, "d", "a", 100), now);
        let mut opaque = reading(4, "d", "a", 1);
        opaque.alone = true;
        gatherer.push(opaque, now);
        let alone = gatherer.take_ready(now, 9);
        assert_eq!(ids(&alone), [vec![3], vec![4]]);
        assert_eq!(alone[0].alone.as_deref(), Some("application/json"));
        gatherer.close_all();
        assert_eq!(ids(&gatherer.take_ready(now, 2)), [vec![0], vec![1]]);
        assert!(gatherer.has_closed());
        assert_eq!(ids(&gatherer.take_ready(now, 2)), [vec![2]]);
    }

    #[test]
    fn other_labels_or_another_encounter_never_share_a_record() {
        let now = Instant::now();
        let mut gatherer = Gatherer::new(RULES);
        let labelled = |id, labels| {
            let mut reading = reading(id, "d", "a", 1);
            Arc::make_mut(&mut reading.kind).labels = labels;
            reading
        };
        let restricted = Labels {
            confidentiality: contract_interface::Confidentiality::R,
            ..Labels::default()
        };
        let psychiatric = Labels {
            sensitivity: [("PSY").parse().unwrap()].into(),
            ..Labels::default()
        };
        let visit = Labels {
            context: Some("enc-1".parse().unwrap()),
            ..Labels::default()
        };
        let all = [Labels::default(), restricted, psychiatric, visit];
        for (id, labels) in (0..).zip(all.iter().chain(&all)) {
            gatherer.push(labelled(id, labels.clone()), now);
        }
        gatherer.close_all();
        let groups = gatherer.take_ready(now, 9);
        assert_eq!(
            ids(&groups),
            [vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7]]
        );
        assert_eq!(groups[3].labels, all[3]);
    }
}
