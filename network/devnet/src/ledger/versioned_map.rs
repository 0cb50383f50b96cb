//! An ordered map that remembers what each key held at every height some reader still looks at.
//!
//! Heights count blocks: a reader at height `h` sees what blocks `0..h` wrote. Each key keeps
//! the short list of values it held, one per block that changed it; values that no reader can
//! reach any more are dropped when a later block prunes the key.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;

/// The map; see the module.
#[derive(Clone, Debug)]
pub(crate) struct VersionedMap<K, V> {
    cells: BTreeMap<K, Vec<Held<V>>>,
}

/// What a key held from one block on; `None` when that block deleted it.
#[derive(Clone, Debug)]
struct Held<V> {
    block: u64,
    value: Option<V>,
}

impl<K, V> Default for VersionedMap<K, V> {
    fn default() -> Self {
        Self {
            cells: BTreeMap::new(),
        }
    }
}

impl<K: Ord, V> VersionedMap<K, V> {
    /// The value at `height`.
    pub(crate) fn get<Q>(&self, key: &Q, height: u64) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        visible(self.cells.get(key)?, height)
    }

    /// Keys and values at `height`, in key order, within the bounds.
    pub(crate) fn range<'a, Q>(
        &'a self,
        bounds: (Bound<&Q>, Bound<&Q>),
        height: u64,
    ) -> impl Iterator<Item = (&'a K, &'a V)>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
        V: 'a,
    {
        self.cells
            .range::<Q, _>(bounds)
            .filter_map(move |(key, held)| Some((key, visible(held, height)?)))
    }

    /// Records what `block` made of the key. Blocks come in order.
    pub(crate) fn put(&mut self, key: K, block: u64, value: Option<V>) {
        let held = self.cells.entry(key).or_default();
        match held.last_mut() {
            Some(last) if last.block == block => last.value = value,
            _ => held.push(Held { block, value }),
        }
    }

    /// Drops what no reader at `oldest_height` or later can see.
    pub(crate) fn prune<Q>(&mut self, key: &Q, oldest_height: u64)
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let Some(held) = self.cells.get_mut(key) else {
            return;
        };
        if let Some(newest) = held.iter().rposition(|held| held.block < oldest_height) {
            held.drain(..newest);
        }
        if let [only] = held.as_slice()
            && only.value.is_none()
            && only.block < oldest_height
        {
            self.cells.remove(key);
        }
    }

    /// Number of keys with anything remembered, deleted ones included.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.cells.len()
    }
}

fn visible<V>(held: &[Held<V>], height: u64) -> Option<&V> {
    held.iter()
        .rev()
        .find(|held| held.block < height)?
        .value
        .as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(map: &VersionedMap<String, u8>, height: u64) -> Vec<(String, u8)> {
        map.range::<str>((Bound::Unbounded, Bound::Unbounded), height)
            .map(|(key, value)| (key.clone(), *value))
            .collect()
    }

    #[test]
    fn a_reader_sees_the_blocks_below_its_height() {
        let mut map = VersionedMap::default();
        map.put("a".to_owned(), 1, Some(1));
        map.put("a".to_owned(), 3, Some(3));
        map.put("a".to_owned(), 4, None);
        let seen: Vec<_> = (0..=5)
            .map(|height| map.get("a", height).copied())
            .collect();
        assert_eq!(seen, [None, None, Some(1), Some(1), Some(3), None]);
    }

    #[test]
    fn a_range_leaves_out_deleted_and_future_keys() {
        let mut map = VersionedMap::default();
        map.put("a".to_owned(), 1, Some(1));
        map.put("b".to_owned(), 1, Some(1));
        map.put("b".to_owned(), 2, None);
        map.put("c".to_owned(), 2, Some(2));
        assert_eq!(keys(&map, 2), [("a".into(), 1), ("b".into(), 1)]);
        assert_eq!(keys(&map, 3), [("a".into(), 1), ("c".into(), 2)]);
    }

    #[test]
    fn pruning_keeps_what_the_oldest_reader_sees() {
        let mut map = VersionedMap::default();
        for block in 1..=4 {
            map.put("a".to_owned(), block, Some(u8::try_from(block).unwrap()));
        }
        map.prune("a", 3);
        assert_eq!(map.get("a", 3), Some(&2));
        assert_eq!(map.get("a", 5), Some(&4));
        map.prune("a", 5);
        assert_eq!(map.cells["a"].len(), 1);
    }

    #[test]
    fn pruning_forgets_a_deleted_key_once_nobody_sees_it() {
        let mut map = VersionedMap::default();
        map.put("a".to_owned(), 1, Some(1));
        map.put("a".to_owned(), 2, None);
        map.prune("a", 2);
        assert_eq!(map.remembered(), 1);
        map.prune("a", 3);
        assert_eq!(map.remembered(), 0);
    }
}
