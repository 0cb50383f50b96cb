use std::os::unix::fs::PermissionsExt as _;

use super::*;

const LIMIT: u64 = 1 << 20;

fn reading(text: &str) -> Outgoing {
    Outgoing {
        content_type: "application/json".to_owned(),
        message: Message {
            seq: None,
            payload: Bytes::copy_from_slice(text.as_bytes()),
        },
    }
}

fn name(text: &str) -> ReadingName {
    let reading = reading(text);
    ReadingName::of(&reading.content_type, &reading.message)
}

/// What waits, in order.
fn waiting(outbox: &Outbox) -> Vec<String> {
    let mut found = Vec::new();
    let mut id = 0;
    while let Some(next) = outbox.after(id) {
        let reading = outbox.read(next).unwrap().unwrap();
        found.push(String::from_utf8(reading.message.payload.to_vec()).unwrap());
        id = next;
    }
    found
}

#[test]
fn readings_wait_in_order_until_their_receipts_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!(
        outbox.accept(&[reading("a"), reading("b")]).unwrap(),
        [1, 2]
    );
    assert_eq!(outbox.accept(&[reading("c")]).unwrap(), [3]);
    assert_eq!(outbox.settle(&[name("b"), name("x")]).unwrap(), [2]);
    assert_eq!(waiting(&outbox), ["a", "c"]);
    drop(outbox);
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!(waiting(&outbox), ["a", "c"]);
    assert_eq!(outbox.accept(&[reading("d")]).unwrap(), [4]);
    outbox.settle(&[name("a"), name("c"), name("d")]).unwrap();
    assert!(outbox.is_empty());
    drop(outbox);
    let outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!((outbox.len(), outbox.next_id()), (0, 5));
}

#[test]
fn numbers_and_content_types_are_kept_and_numbers_never_used_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    outbox.begin_at(100).unwrap();
    outbox.begin_at(7).unwrap();
    let numbered = Outgoing {
        content_type: "application/fhir+json".to_owned(),
        message: Message {
            seq: Some(outbox.next_id()),
            payload: "{}".into(),
        },
    };
    assert_eq!(
        outbox.accept(std::slice::from_ref(&numbered)).unwrap(),
        [100]
    );
    drop(outbox);
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!(outbox.read(100).unwrap(), Some(numbered));
    assert_eq!(outbox.settle(&[ReadingName::Seq(100)]).unwrap(), [100]);
    drop(outbox);
    let outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!(outbox.next_id(), 101);
}

/// Whatever a crash leaves of the last write, everything before it is there and nothing else is.
#[test]
fn an_end_that_is_torn_at_any_byte_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("readings");
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    outbox.accept(&[reading("first")]).unwrap();
    let kept = outbox.end;
    outbox.accept(&[reading("second")]).unwrap();
    drop(outbox);
    let whole = fs::read(&path).unwrap();
    for length in usize::try_from(kept).unwrap()..whole.len() {
        for tail in [0, 0xff] {
            // Cut short, or with an end that was never written.
            let mut torn = whole[..length].to_vec();
            if tail == 0xff {
                torn.resize(whole.len(), 0);
            }
            fs::write(&path, &torn).unwrap();
            let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
            assert_eq!(waiting(&outbox), ["first"], "{length}");
            outbox.accept(&[reading("third")]).unwrap();
            drop(outbox);
            let outbox = Outbox::open(dir.path(), LIMIT).unwrap();
            assert_eq!(waiting(&outbox), ["first", "third"], "{length}");
        }
    }
    for length in 0..MAGIC.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(Outbox::open(dir.path(), LIMIT).unwrap().is_empty());
    }
}

#[test]
fn a_changed_byte_before_the_end_is_an_error_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("readings");
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    outbox.accept(&[reading("first")]).unwrap();
    let kept = usize::try_from(outbox.end).unwrap();
    outbox.accept(&[reading("second")]).unwrap();
    drop(outbox);
    let whole = fs::read(&path).unwrap();
    for at in 0..kept {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        fs::write(&path, &changed).unwrap();
        let error = Outbox::open(dir.path(), LIMIT).unwrap_err();
        assert!(
            matches!(error, OutboxError::Damaged { .. }),
            "{at}: {error}"
        );
        assert_eq!(fs::read(&path).unwrap(), changed, "left as it was");
    }
}

#[test]
fn a_full_outbox_accepts_nothing_until_receipts_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(dir.path(), 200).unwrap();
    outbox.accept(&[reading(&"a".repeat(100))]).unwrap();
    let error = outbox.accept(&[reading(&"b".repeat(100))]).unwrap_err();
    assert!(
        matches!(error, OutboxError::Full { limit: 200, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("is full"), "{error}");
    assert_eq!(waiting(&outbox).len(), 1);
    outbox.settle(&[name(&"a".repeat(100))]).unwrap();
    outbox.accept(&[reading(&"b".repeat(100))]).unwrap();
    let huge = reading(&"x".repeat(PACKET_BYTES_MAX + 1));
    let error = outbox.accept(&[huge]).unwrap_err();
    assert!(matches!(error, OutboxError::TooLarge { .. }), "{error}");
}

#[test]
fn what_is_settled_does_not_stay_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(dir.path(), 64 << 20).unwrap();
    let text = |number: u32| format!("{number} {}", "x".repeat(10_000));
    outbox.accept(&[reading("stays")]).unwrap();
    outbox.accept(&[reading("bad")]).unwrap();
    outbox.refuse(2, "payload-not-json").unwrap();
    for number in 0..400 {
        outbox.accept(&[reading(&text(number))]).unwrap();
        outbox.settle(&[name(&text(number))]).unwrap();
    }
    let bytes = fs::metadata(dir.path().join("readings")).unwrap().len();
    assert!(bytes < 2 * WASTE_BYTES, "{bytes}");
    assert_eq!(waiting(&outbox), ["stays"]);
    drop(outbox);
    let outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!(waiting(&outbox), ["stays"]);
    assert_eq!((outbox.refused(), outbox.next_id()), (1, 403));
}

#[test]
fn a_refused_reading_stays_and_is_sent_again_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    outbox.accept(&[reading("bad"), reading("good")]).unwrap();
    outbox.refuse(1, "device-not-bound").unwrap();
    drop(outbox);
    let mut outbox = Outbox::open(dir.path(), LIMIT).unwrap();
    assert_eq!(waiting(&outbox), ["good"]);
    assert_eq!((outbox.len(), outbox.refused()), (1, 1));
    outbox.retry_refused();
    assert_eq!(waiting(&outbox), ["bad", "good"]);
}

#[test]
fn the_files_are_their_owners_alone_and_one_process_uses_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("outbox");
    let _outbox = Outbox::open(&folder, LIMIT).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("readings")), 0o600);
    let second = Outbox::open(&folder, LIMIT).unwrap_err();
    assert!(matches!(second, OutboxError::InUse { .. }), "{second}");
}
