//! When a device sends what: regularly, or out of order and late. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use contract_interface::UtcTime;
use serde_json::Value;

use super::body::{Body, Dice};

/// How a device behaves.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The time of the first reading.
    pub(super) start: UtcTime,
    /// Between two readings.
    pub(super) interval: Duration,
    /// How long it measures.
    pub(super) duration: Duration,
    /// Of a thousand readings, artefacts.
    pub(super) outliers: u16,
    /// Of a thousand readings, those that change places with the next one.
    pub(super) out_of_order: u16,
    /// Of a thousand readings, those that are sent at the end.
    pub(super) late: u16,
}

/// Readings in the order of their sending, each with the time after the start at which it is sent.
#[derive(Debug)]
pub(super) struct Schedule {
    body: Body,
    dice: Dice,
    plan: Plan,
    made: u32,
    /// What changed places with the reading before it.
    swapped: Option<(Duration, Value)>,
    late: VecDeque<Value>,
}

impl Schedule {
    pub(super) fn new(body: Body, plan: Plan) -> Self {
        Self {
            // Not the body's dice: how readings are sent does not change what they say.
            dice: Dice::new(0x5a15),
            body,
            plan,
            made: 0,
            swapped: None,
            late: VecDeque::new(),
        }
    }

    fn planned(&self) -> u32 {
        let count = self.plan.duration.as_secs_f64() / self.plan.interval.as_secs_f64();
        count.ceil() as u32
    }

    fn measure(&mut self) -> Value {
        let after = self.plan.interval * self.made;
        let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
        let at = self.plan.start.unix_seconds().saturating_add(seconds);
        let at = UtcTime::from_unix_seconds(at).unwrap_or(self.plan.start);
        self.made += 1;
        let artefact = self.dice.per_mille(self.plan.outliers);
        self.body.measure(at, artefact)
    }
}

impl Iterator for Schedule {
    type Item = (Duration, Value);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(swapped) = self.swapped.take() {
            return Some(swapped);
        }
        while self.made < self.planned() {
            let after = self.plan.interval * self.made;
            let reading = self.measure();
            if self.dice.per_mille(self.plan.late) {
                self.late.push_back(reading);
                continue;
            }
            if self.made < self.planned() && self.dice.per_mille(self.plan.out_of_order) {
                let after = self.plan.interval * self.made;
                let next = self.measure();
                self.swapped = Some((after, reading));
                return Some((after, next));
            }
            return Some((after, reading));
        }
        let late = self.late.pop_front()?;
        Some((self.plan.duration, late))
    }
}

#[cfg(test)]
mod tests {
    use super::super::body::Kind;
    use super::*;

    fn plan(outliers: u16, out_of_order: u16, late: u16) -> Plan {
        Plan {
            start: "2026-01-01T08:00:00Z".parse().unwrap(),
            interval: Duration::from_secs(5),
            duration: Duration::from_secs(1000),
            outliers,
            out_of_order,
            late,
        }
    }

    fn sent(plan: Plan) -> Vec<(Duration, Value)> {
        Schedule::new(Body::new(Kind::Glucose, 3), plan).collect()
    }

    fn times(sent: &[(Duration, Value)]) -> Vec<String> {
        let time = |(_, reading): &(Duration, Value)| {
            reading["effectiveDateTime"].as_str().unwrap().to_owned()
        };
        sent.iter().map(time).collect()
    }

    #[test]
    fn a_device_measures_regularly_for_as_long_as_it_should() {
        let sent = sent(plan(0, 0, 0));
        assert_eq!(sent.len(), 200);
        let times = times(&sent);
        assert_eq!(times[0], "2026-01-01T08:00:00Z");
        assert_eq!(times[199], "2026-01-01T08:16:35Z");
        assert!(times.is_sorted());
        assert!(sent.is_sorted_by_key(|(after, _)| *after));
    }

    /// However it sends them, a device sends the same readings.
    #[test]
    fn readings_out_of_order_and_late_are_the_same_readings() {
        let regular = times(&sent(plan(0, 0, 0)));
        let mixed = sent(plan(0, 200, 100));
        assert!(mixed.is_sorted_by_key(|(after, _)| *after));
        let mixed = times(&mixed);
        assert_ne!(mixed, regular);
        let mut sorted = mixed.clone();
        sorted.sort();
        assert_eq!(sorted, regular);
        let swaps = mixed.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!((10..80).contains(&swaps), "{swaps}");
        assert_eq!(
            sent(plan(0, 200, 100)),
            sent(plan(0, 200, 100)),
            "the same each time"
        );
    }

    #[test]
    fn artefacts_are_as_many_as_asked_for() {
        let high = |sent: &[(Duration, Value)]| {
            let value = |reading: &Value| reading["valueQuantity"]["value"].as_f64().unwrap();
            sent.iter()
                .filter(|(_, reading)| value(reading) > 400.0)
                .count()
        };
        assert_eq!(high(&sent(plan(0, 0, 0))), 0);
        let some = high(&sent(plan(100, 0, 0)));
        assert!((8..40).contains(&some), "{some}");
        assert_eq!(high(&sent(plan(1000, 0, 0))), 200);
    }
}
