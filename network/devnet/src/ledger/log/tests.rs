use std::fs;

use super::*;

/// Opens the log and gives `number:block/private` of its records, or the error.
fn reopen(path: &Path) -> Result<Vec<String>, LedgerError> {
    let mut records = Vec::new();
    BlockLog::open(path, |record| {
        let block = String::from_utf8_lossy(&record.block).into_owned();
        let private = String::from_utf8_lossy(&record.private).into_owned();
        let mark = if record.private_intact {
            ""
        } else {
            " changed"
        };
        records.push(format!("{}:{block}/{private}{mark}", record.number));
        Ok(())
    })?;
    Ok(records)
}

/// A log of records each synced on its own, with their places.
fn written(path: &Path, records: &[(&str, &str)]) -> (BlockLog, Vec<RecordPlace>) {
    let mut log = BlockLog::create(path).unwrap();
    let mut places = Vec::new();
    for (number, (block, private)) in records.iter().enumerate() {
        let place = log.append(number as u64, block.as_bytes(), private.as_bytes());
        places.push(place.unwrap());
        log.sync().unwrap();
    }
    (log, places)
}

const RECORDS: [(&str, &str); 3] = [("zero", ""), ("one", "secret"), ("two", "hidden")];
const WHOLE: [&str; 3] = ["0:zero/", "1:one/secret", "2:two/hidden"];

#[test]
fn records_come_back_in_order_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    let (log, places) = written(&path, &RECORDS);
    let reader = log.reader().unwrap();
    assert_eq!(reader.block(places[1]).unwrap(), b"one");
    assert_eq!(reader.private(places[1]).unwrap(), b"secret");
    drop(log);
    assert_eq!(reopen(&path).unwrap(), WHOLE);
    let mut log = BlockLog::open(&path, |_| Ok(())).unwrap();
    log.append(3, b"three", b"").unwrap();
    log.sync().unwrap();
    assert_eq!(reopen(&path).unwrap().len(), 4);
}

#[test]
fn a_log_torn_at_any_byte_of_its_last_record_loses_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    let (_, places) = written(&path, &RECORDS);
    let bytes = fs::read(&path).unwrap();
    let last = usize::try_from(places[2].offset).unwrap();
    for end in last..bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        assert_eq!(reopen(&path).unwrap(), WHOLE[..2], "cut at {end}");
        assert_eq!(fs::metadata(&path).unwrap().len(), places[2].offset);
    }
}

#[test]
fn any_changed_byte_of_the_last_record_cuts_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    let (_, places) = written(&path, &RECORDS);
    let bytes = fs::read(&path).unwrap();
    for at in usize::try_from(places[2].offset).unwrap()..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, &damaged).unwrap();
        assert_eq!(reopen(&path).unwrap(), WHOLE[..2], "changed at {at}");
    }
}

#[test]
fn a_changed_byte_before_the_last_record_is_refused_with_its_offset() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    let (_, places) = written(&path, &RECORDS);
    let bytes = fs::read(&path).unwrap();
    for place in &places[..2] {
        let start = usize::try_from(place.offset).unwrap();
        let private = usize::try_from(place.private_offset()).unwrap();
        for at in start..private {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            fs::write(&path, &damaged).unwrap();
            match reopen(&path) {
                Err(LedgerError::Damaged { offset, .. }) => {
                    assert_eq!(offset, place.offset, "changed at {at}");
                }
                other => panic!("changed at {at}: {other:?}"),
            }
            assert_eq!(
                fs::read(&path).unwrap(),
                damaged,
                "a refused log is left alone"
            );
        }
    }
}

#[test]
fn a_tear_inside_a_batch_that_was_never_synced_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    let (mut log, _) = written(&path, &RECORDS);
    let place = log.append(3, b"three", b"").unwrap();
    log.append(4, b"four", b"").unwrap();
    drop(log);
    let mut bytes = fs::read(&path).unwrap();
    // The first of the two did not reach the disk, the second did.
    bytes[usize::try_from(place.block_offset()).unwrap()] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_eq!(reopen(&path).unwrap(), WHOLE);
}

#[test]
fn an_overwritten_private_part_is_handed_over_as_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    let (mut log, places) = written(&path, &RECORDS);
    assert!(log.may_overwrite(places[1]));
    assert!(!log.may_overwrite(places[2]));
    log.overwrite_private(places[1], 0, b"xxxxxx").unwrap();
    drop(log);
    assert_eq!(
        reopen(&path).unwrap(),
        ["0:zero/", "1:one/xxxxxx changed", "2:two/hidden"]
    );
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    fs::write(&path, b"not a log at all").unwrap();
    assert!(matches!(reopen(&path), Err(LedgerError::Format { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"not a log at all");
    assert!(matches!(
        BlockLog::create(&path),
        Err(LedgerError::Exists { .. })
    ));
}

#[test]
fn a_log_torn_before_its_first_record_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("blocks.log");
    for end in 0..FILE_MAGIC.len() {
        fs::write(&path, &FILE_MAGIC[..end]).unwrap();
        assert_eq!(reopen(&path).unwrap(), Vec::<String>::new());
        assert_eq!(fs::read(&path).unwrap(), FILE_MAGIC);
    }
}
