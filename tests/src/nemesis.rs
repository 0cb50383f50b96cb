//! Which faults come when: a plan that follows from a seed alone, so that a run can be repeated.

use std::{fmt, time::Duration};

use crate::random::Random;

/// A connection that can be made bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// From the devices to the oracle's MQTT port.
    Devices,
    /// From the oracle to its organisation's peer.
    Peer,
    /// From the oracle to the IPFS node.
    Ipfs,
}

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9` of a process, by its place among the parts, and a new start.
    Kill(usize),
    /// A process stands still for a while, as after SIGSTOP, then goes on.
    Pause(usize, Duration),
    /// A connection carries nothing for a while, and nobody is told.
    Silence(Link, Duration),
    /// A connection is torn and cannot be made for a while.
    Cut(Link, Duration),
    /// The disk of the oracle's journal is full for a while.
    FullDisk(Duration),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(part) => write!(f, "kill part {part}"),
            Self::Pause(part, time) => write!(f, "stop part {part} for {time:?}"),
            Self::Silence(link, time) => write!(f, "silence {link:?} for {time:?}"),
            Self::Cut(link, time) => write!(f, "cut {link:?} for {time:?}"),
            Self::FullDisk(time) => write!(f, "fill the journal's disk for {time:?}"),
        }
    }
}

/// A fault, and how long after the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// The pause before it.
    pub after: Duration,
    /// What goes wrong.
    pub fault: Fault,
}

/// Plans `kills` kills among `parts` processes, of which the first is the oracle and gets half of
/// them, with other faults between.
///
/// Equal arguments make equal plans. `parts` is at least 2.
#[must_use]
pub fn plan(seed: u64, kills: usize, parts: usize) -> Vec<Planned> {
    /// Milliseconds before a fault.
    const AFTER: u64 = 600;
    let mut random = Random::new(seed);
    let mut planned = Vec::new();
    for _ in 0..kills {
        let mut add = |random: &mut Random, fault| {
            planned.push(Planned {
                after: Duration::from_millis(random.below(AFTER)),
                fault,
            });
        };
        let part = match random.below(2) {
            0 => 0,
            _ => 1 + random.index(parts - 1),
        };
        add(&mut random, Fault::Kill(part));
        if random.below(3) == 0 {
            let fault = other(&mut random, parts);
            add(&mut random, fault);
        }
    }
    planned
}

fn other(random: &mut Random, parts: usize) -> Fault {
    /// Milliseconds that a fault lasts.
    const LASTS: (u64, u64) = (100, 2_500);
    let lasts = Duration::from_millis(LASTS.0 + random.below(LASTS.1 - LASTS.0));
    let link = [Link::Devices, Link::Peer, Link::Ipfs][random.index(3)];
    match random.below(4) {
        0 => Fault::Pause(random.index(parts), lasts),
        1 => Fault::Silence(link, lasts),
        2 => Fault::Cut(link, lasts),
        _ => Fault::FullDisk(lasts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_plan_and_another_seed_another() {
        assert_eq!(plan(7, 50, 4), plan(7, 50, 4));
        assert_ne!(plan(7, 50, 4), plan(8, 50, 4));
    }

    #[test]
    fn every_fault_and_every_part_has_its_turn() {
        let planned = plan(1, 1_000, 4);
        let count = |is: &dyn Fn(&Fault) -> bool| {
            planned.iter().filter(|planned| is(&planned.fault)).count()
        };
        assert_eq!(count(&|fault| matches!(fault, Fault::Kill(_))), 1_000);
        for part in 0..4 {
            assert!(count(&|fault| *fault == Fault::Kill(part)) > 100, "{part}");
        }
        assert!(count(&|fault| matches!(fault, Fault::Pause(..))) > 10);
        assert!(count(&|fault| matches!(fault, Fault::FullDisk(_))) > 10);
        for link in [Link::Devices, Link::Peer, Link::Ipfs] {
            assert!(count(&|fault| matches!(fault, Fault::Silence(on, _) if *on == link)) > 3);
            assert!(count(&|fault| matches!(fault, Fault::Cut(on, _) if *on == link)) > 3);
        }
    }
}
