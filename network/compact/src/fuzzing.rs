//! What `tests/fuzz` calls: every reader of LevelDB's files, on bytes of anyone. Absent from ordinary builds; the test
//! below runs it over its seeds.

use crate::{
    block::{Block, BlockBuilder},
    journal,
    manifest::Version,
    snapshot,
};

/// Bytes of a log or manifest, of one of its records, or of a block of a table, all unpacked.
pub fn leveldb(data: &[u8]) {
    if let Ok(records) = journal::records(data) {
        assert!(records.iter().map(Vec::len).sum::<usize>() <= data.len());
        for record in &records {
            self::record(record);
        }
    }
    record(data);
    assert_eq!(
        journal::records(&journal::file_of(data)),
        Ok(vec![data.to_vec()])
    );
    block(data);
}

fn record(record: &[u8]) {
    drop(snapshot::batch(record));
    let mut version = Version::default();
    if version.apply(record).is_some() {
        let again = journal::records(&version.to_file()).expect("it was just written");
        let mut read = Version::default();
        for record in again {
            read.apply(&record).expect("it was just written");
        }
        let said = |version: &Version| {
            let tables: Vec<_> = version.tables.keys().copied().collect();
            (
                version.log_number,
                version.next_file,
                version.last_sequence,
                tables,
            )
        };
        assert_eq!(said(&read), said(&version));
    }
}

fn block(bytes: &[u8]) {
    let Some(mut block) = Block::new(bytes.to_vec()) else {
        return;
    };
    let mut pairs = Vec::new();
    while let Some(Some((key, value))) = block.next_pair() {
        pairs.push((key.to_vec(), value.to_vec()));
    }
    let mut written = BlockBuilder::of_data();
    for (key, value) in &pairs {
        written.add(key, value);
    }
    let mut again = Block::new(written.finish()).expect("it was just written");
    for (key, value) in &pairs {
        assert_eq!(again.next_pair(), Some(Some((&key[..], &value[..]))));
    }
    assert_eq!(again.next_pair(), Some(None));
    if let Some(mut block) = Block::new(bytes.to_vec()) {
        while let Some(Some(entry)) = block.next_entry() {
            assert!(entry.key.user().len() < entry.key.as_bytes().len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn every_seed_holds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for folder in ["testdata/goleveldb", "../../tests/fuzz/seeds/leveldb"] {
            for seed in fs::read_dir(root.join(folder)).unwrap() {
                let data = fs::read(seed.unwrap().path()).unwrap();
                super::leveldb(&data);
                for end in (0..data.len()).step_by(1 + data.len() / 64) {
                    super::leveldb(&data[..end]);
                }
                count += 1;
            }
        }
        assert!(count > 4);
    }
}
