//! Large objects through the pipeline, with the oracle killed at each step.

use std::io::Read;

use super::*;
use crate::ingest::intake::Taken;
use crate::objects::{Begun, Manifest, ObjectName};

const CHUNK: usize = 1 << 20;

/// Larger than what is uploaded from memory.
fn content() -> Vec<u8> {
    (0_u32..)
        .flat_map(u32::to_le_bytes)
        .take(17 * CHUNK + 5)
        .collect()
}

fn begun(content: &[u8]) -> Begun {
    let sha256 = hex::encode(journal::fingerprint(content));
    let manifest = format!(
        r#"{{"content_type":"text/csv","size":{},"sha256":"{sha256}","chunk_size":{CHUNK},"seq":7,"sig":"a..b"}}"#,
        content.len()
    );
    let mut reading = reading(7, "text", manifest.as_bytes());
    let manifest = Manifest::read(manifest.as_bytes()).unwrap();
    reading.marks.add(Mark::ClockBehind);
    reading.content_type = "text/csv".to_owned();
    reading.alone = true;
    Begun {
        reading,
        id: "scan-1".to_owned(),
        bytes: manifest.bytes,
        sha256: manifest.sha256.into(),
        chunk_bytes: manifest.chunk_bytes,
        manifest: manifest.digest.into(),
    }
}

fn name() -> ObjectName {
    begun(b"x").name()
}

async fn send(life: &Life, content: &[u8]) {
    let taken = life.objects.begin(begun(content)).await.outcome().await;
    taken.unwrap();
    for (number, chunk) in (0..).zip(content.chunks(CHUNK)) {
        let put = life
            .objects
            .chunk(name(), number, chunk.to_vec().into())
            .await;
        put.outcome().await.unwrap();
    }
}

async fn until_finished(life: &Life) {
    while life.objects.reader(&name()).is_some()
        || life.journal.counts() != journal::Counts::default()
    {
        assert!(!life.running.is_finished(), "the pipeline has ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_becomes_one_record_that_opens_to_it_whatever_step_it_dies_at() {
    let content = content();
    for (step, fault) in [
        (PIN, Fault::None),
        (PIN, Fault::HangBefore(1)),
        (PIN, Fault::HangAfter(1)),
        (PIN, Fault::Fail(1)),
        (REGISTER, Fault::HangBefore(1)),
        (REGISTER, Fault::HangAfter(1)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new();
        world.faults.lock().unwrap()[step] = fault;
        let life = Life::begin(dir.path(), &world);
        send(&life, &content).await;
        if matches!(fault, Fault::HangBefore(_) | Fault::HangAfter(_)) {
            world.hung.notified().await;
            life.crash().await;
            let life = Life::begin(dir.path(), &world);
            until_finished(&life).await;
            life.crash().await;
        } else {
            until_finished(&life).await;
            life.crash().await;
        }
        let records = world.records();
        assert_eq!(records.len(), 1, "{step} {fault:?}");
        let (entry, private, _) = &records[0];
        assert_eq!(private.plaintext_size, content.len() as u64);
        assert_eq!(
            (private.readings, private.content_type.as_str()),
            (1, "text/csv")
        );
        assert_eq!(entry.commitment, private.commitment());
        // What the device signed is in the record, as it came.
        let manifest = private.manifest.as_ref().unwrap();
        let sha256 = contract_interface::Digest::of(&content);
        assert!(manifest.describes(private.plaintext_size, &sha256));
        assert_eq!((manifest.seq, manifest.sig.as_str()), (Some(7), "a..b"));
        let marks = private
            .marks
            .iter()
            .map(|(mark, count)| (mark.as_str(), *count));
        assert_eq!(marks.collect::<Vec<_>>(), [("clock-behind", 1)]);
        let item = segment::SegmentItem {
            device_id: "hr-1".parse().unwrap(),
            seq: Some(7),
            received_ms: 1_007,
            content_type: "text/csv".to_owned(),
            payload: content.clone(),
        };
        let leaf = [&[0], &item.encode()[..]].concat();
        assert_eq!(private.merkle_root, contract_interface::Digest::of(&leaf));
        let left = std::fs::read_dir(dir.path().join("journal/objects")).unwrap();
        let left: Vec<_> = left.map(|item| item.unwrap().file_name()).collect();
        assert_eq!(left, ["finished"]);
        assert_eq!(
            std::fs::read_dir(dir.path().join("journal/spool"))
                .unwrap()
                .count(),
            0
        );
        // Sent once more it is known, and nothing is made of it.
        let life = Life::begin(dir.path(), &world);
        let again = life.objects.begin(begun(&content)).await.outcome().await;
        assert_eq!(again, Ok(Taken::Duplicate));
        life.crash().await;
        assert_eq!(world.records().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_object_is_sealed_as_one_in_memory_is() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new();
    *world.faults.lock().unwrap() = [Fault::HangBefore(1), Fault::None];
    let life = Life::begin(dir.path(), &world);
    let content = content();
    send(&life, &content).await;
    world.hung.notified().await;
    let record = life.journal.unfinished().remove(0).sealed;
    let spool = dir
        .path()
        .join("journal/spool")
        .join(format!("{}.object", record.record.to_hex()));
    let sealed = std::fs::read(spool).unwrap();
    let mut source = Vec::new();
    life.objects
        .reader(&name())
        .unwrap()
        .read_to_end(&mut source)
        .unwrap();
    assert!(source == content);
    life.crash().await;
    let entry: RecordEntry = serde_json::from_str(&record.public).unwrap();
    let private: RecordPrivate = serde_json::from_str(&record.private).unwrap();
    let wraps: RecordWraps = serde_json::from_str(&record.wraps).unwrap();
    assert_eq!(entry.object_sha256, contract_interface::Digest::of(&sealed));
    assert_eq!(
        (private.size, &private.cid),
        (sealed.len() as u64, &record.cid)
    );
    assert_eq!(Object::new(&sealed).cid().to_string(), record.cid);
    let bound = AssociatedData {
        record_id: *entry.record_id.as_bytes(),
        commitment: *entry.commitment.as_bytes(),
    };
    let wrap = wraps
        .for_kid(world.patient.public_key().thumbprint())
        .unwrap();
    let data_key = world.patient.unwrap(&wrap.jwe).unwrap();
    assert!(sealed_object::open(&data_key, &bound, &sealed).unwrap() == content);
}
