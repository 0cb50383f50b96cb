//! All entries of a data base in one order.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    path::PathBuf,
};

use crate::{
    error::{Result, damaged},
    key::{Entry, InternalKey},
    manifest::TableInfo,
    table::TableReader,
};

/// Entries that are in order by themselves.
#[derive(Debug)]
pub(crate) enum Source<'a> {
    /// What the logs held.
    Logs(std::slice::Iter<'a, Entry>),
    /// Tables that follow each other.
    Tables(Box<Run>),
}

impl Source<'_> {
    fn next_entry(&mut self) -> Result<Option<Entry>> {
        match self {
            Self::Logs(entries) => Ok(entries.next().cloned()),
            Self::Tables(run) => run.next_entry(),
        }
    }
}

/// Tables of one level, opened one after the other.
#[derive(Debug)]
pub(crate) struct Run {
    tables: std::vec::IntoIter<(PathBuf, TableInfo)>,
    open: Option<TableReader>,
    last: Option<InternalKey>,
}

impl Run {
    /// Tables that do not overlap, in any order.
    pub(crate) fn new(mut tables: Vec<(PathBuf, TableInfo)>) -> Self {
        tables.sort_by(|(_, a), (_, b)| a.smallest.cmp(&b.smallest));
        Self {
            tables: tables.into_iter(),
            open: None,
            last: None,
        }
    }

    fn next_entry(&mut self) -> Result<Option<Entry>> {
        loop {
            if let Some(table) = &mut self.open
                && let Some(entry) = table.next_entry()?
            {
                if self.last.as_ref().is_some_and(|last| *last >= entry.key) {
                    return Err(damaged(table.path(), "has entries out of order"));
                }
                self.last = Some(entry.key.clone());
                return Ok(Some(entry));
            }
            let Some((path, info)) = self.tables.next() else {
                return Ok(None);
            };
            self.open = Some(TableReader::open(&path, info.size)?);
        }
    }
}

/// The next entry of a source, in a heap that has the first of all on top.
#[derive(Debug)]
struct Head {
    /// Among equal entries the one from the earlier source counts.
    order: Reverse<(InternalKey, usize)>,
    value: Vec<u8>,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Head {}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The live pairs of a data base: of each key its latest write, unless that is a deletion.
#[derive(Debug)]
pub(crate) struct Live<'a> {
    sources: Vec<Source<'a>>,
    heads: BinaryHeap<Head>,
    last_user_key: Option<Vec<u8>>,
    /// Entries that were passed over: hidden by later ones, and deletions.
    pub(crate) dead: u64,
}

impl<'a> Live<'a> {
    /// Merges sources, those with later writes first.
    pub(crate) fn of(sources: Vec<Source<'a>>) -> Result<Self> {
        let mut live = Self {
            sources,
            heads: BinaryHeap::new(),
            last_user_key: None,
            dead: 0,
        };
        for number in 0..live.sources.len() {
            if let Some(head) = live.head_of(number)? {
                live.heads.push(head);
            }
        }
        Ok(live)
    }

    /// The next live pair, with the sequence number that it has.
    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry>> {
        while let Some(entry) = self.next_of_all()? {
            let is_hidden = self.last_user_key.as_deref() == Some(entry.key.user());
            if !is_hidden {
                self.last_user_key = Some(entry.key.user().to_vec());
                if entry.key.is_value() {
                    return Ok(Some(entry));
                }
            }
            self.dead += 1;
        }
        Ok(None)
    }

    fn next_of_all(&mut self) -> Result<Option<Entry>> {
        let Some(top) = self.heads.peek() else {
            return Ok(None);
        };
        let Reverse((_, number)) = top.order;
        let following = self.head_of(number)?;
        let taken = match following {
            Some(head) => {
                let mut top = self.heads.peek_mut();
                top.as_mut().map(|top| std::mem::replace(&mut **top, head))
            }
            None => self.heads.peek_mut().map(PeekMut::pop),
        };
        Ok(taken.map(|head| {
            let Reverse((key, _)) = head.order;
            Entry {
                key,
                value: head.value,
            }
        }))
    }

    fn head_of(&mut self, number: usize) -> Result<Option<Head>> {
        let entry = self.sources[number].next_entry()?;
        Ok(entry.map(|entry| Head {
            order: Reverse((entry.key, number)),
            value: entry.value,
        }))
    }
}
