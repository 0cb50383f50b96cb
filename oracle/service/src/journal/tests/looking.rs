//! What an operator sees of a journal that was cut, damaged, or has lost its key: the same as the next start.

use super::*;

/// The folder and key file of a journal beside `dir`, holding these files.
fn copy(dir: &Path, name: &std::ffi::OsStr, bytes: &[u8]) -> (tempfile::TempDir, Config) {
    let copy = tempfile::tempdir().unwrap();
    let settings = config(copy.path());
    fs::create_dir(&settings.dir).unwrap();
    fs::copy(config(dir).key_file, &settings.key_file).unwrap();
    fs::write(settings.dir.join(name), bytes).unwrap();
    (copy, settings)
}

/// Three frames, each synced before the next, and where they begin and end.
async fn three_frames(dir: &Path) -> (std::path::PathBuf, [usize; 4]) {
    let journal = Journal::open(&config(dir)).unwrap();
    let path = newest(dir);
    let length = || usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let mut ends = [length(); 4];
    for (sequence, end) in (0..).zip(&mut ends[1..]) {
        keep(&journal, sequence, b"a reading").await;
        *end = length();
    }
    journal.close().await;
    (path, ends)
}

#[tokio::test]
async fn inspecting_a_cut_file_says_where_it_is_torn_and_the_start_cuts_there() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = three_frames(dir.path()).await;
    let bytes = fs::read(&path).unwrap();
    for end in 0..bytes.len() {
        let (_copy, settings) = copy(dir.path(), path.file_name().unwrap(), &bytes[..end]);
        let report = inspect::inspect(&settings.dir, &settings.key_file).unwrap();
        let whole = ends.iter().filter(|boundary| **boundary <= end).count();
        let (frames, torn_at) = match whole {
            0 => (0, Some(0)),
            count => (count - 1, Some(ends[count - 1]).filter(|at| *at != end)),
        };
        assert_eq!(report.files[0].frames, frames as u64, "cut at {end}");
        let torn_at = torn_at.map(|at| at as u64);
        assert_eq!(report.files[0].torn_at, torn_at, "cut at {end}");
        assert_eq!(report.counts.received, frames, "cut at {end}");
        let journal = Journal::open(&settings).unwrap();
        assert_eq!(journal.counts().received, frames, "cut at {end}");
        journal.close().await;
        let report = inspect::inspect(&settings.dir, &settings.key_file).unwrap();
        assert!(report.files.iter().all(|file| file.torn_at.is_none()));
    }
}

#[tokio::test]
async fn inspecting_damage_names_file_and_offset_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (path, ends) = three_frames(dir.path()).await;
    let bytes = fs::read(&path).unwrap();
    // The last frame has none after it that proves it durable; a changed bit is still no torn write.
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let (_copy, settings) = copy(dir.path(), path.file_name().unwrap(), &damaged);
        let expected = ends.iter().rev().find(|start| **start <= at);
        let begins = expected.map_or(0, |start| *start as u64);
        match inspect::inspect(&settings.dir, &settings.key_file) {
            Err(error @ JournalError::Damaged { offset, .. }) => {
                assert_eq!(offset, begins, "byte {at}");
                assert!(error.is_damage());
                let said = error.to_string();
                assert!(said.contains(&format!("at byte {begins}:")), "{said}");
                assert!(said.contains(".journal"), "{said}");
            }
            Err(JournalError::NewerFormat { .. }) => assert!((8..10).contains(&at), "byte {at}"),
            // A length that now reaches past the end of the file looks like the last write cut short.
            Ok(report) => {
                assert!(at >= ends[2], "byte {at}");
                assert_eq!(report.files[0].torn_at, Some(ends[2] as u64), "byte {at}");
            }
            Err(other) => panic!("byte {at}: {other:?}"),
        }
        let kept = fs::read(settings.dir.join(path.file_name().unwrap())).unwrap();
        assert_eq!(kept, damaged);
    }
}

/// The retained messages lie beside the segments: their file is judged in the same way, by the same command.
#[tokio::test]
async fn inspecting_looks_at_the_retained_messages_too() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(dir.path());
    let look = || inspect::inspect(&settings.dir, &settings.key_file);
    Journal::open(&settings).unwrap().close().await;
    assert!(look().unwrap().retained.is_none());
    let path = settings.dir.join("retained.journal");
    let length = || usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    let retained = LastValues::open(&settings, RETAINED).unwrap();
    let mut ends = Vec::new();
    for (name, value) in [
        ("a", Some(vec![1; 40])),
        ("b", Some(vec![2; 40])),
        ("a", None),
    ] {
        retained.put(name, value).await.unwrap();
        ends.push(length());
    }
    drop(retained);
    let whole = fs::read(&path).unwrap();
    for end in ends[0]..=ends[2] {
        fs::write(&path, &whole[..end]).unwrap();
        let found = look().unwrap().retained.unwrap();
        let frames = ends.iter().filter(|boundary| **boundary <= end).count();
        assert_eq!(found.file.path, path);
        assert_eq!(found.file.frames, frames as u64, "cut at {end}");
        assert_eq!(found.file.bytes, ends[frames - 1] as u64, "cut at {end}");
        let torn_at = Some(ends[frames - 1] as u64).filter(|at| *at != end as u64);
        assert_eq!(found.file.torn_at, torn_at, "cut at {end}");
        assert_eq!(found.messages, [1, 2, 1][frames - 1], "cut at {end}");
    }
    // Whatever changed before the last frame was durable when that was written.
    for at in (0..ends[1]).filter(|at| !(8..10).contains(at)) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        fs::write(&path, &damaged).unwrap();
        let starts = [0, frame::FILE_HEADER_BYTES, ends[0]];
        let begins = starts.into_iter().filter(|start| *start <= at);
        let begins = begins.max().unwrap() as u64;
        match look() {
            Err(error @ JournalError::Damaged { offset, .. }) => {
                assert_eq!(offset, begins, "byte {at}");
                assert!(error.is_damage());
                assert!(error.to_string().contains("retained.journal"), "{error}");
            }
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn no_key_is_made_where_something_of_a_journal_is() {
    let name = |bytes: &str| std::ffi::OsString::from(bytes);
    for left in [
        "0000000000000001.journal",
        "0000000000000001.journal.bak",
        "snapshot",
        "snapshot.new",
        "spool/00.object",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let settings = config(dir.path());
        let path = settings.dir.join(name(left));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"").unwrap();
        let refused = Journal::open(&settings).unwrap_err();
        assert!(refused.is_damage(), "{left}: {refused:?}");
        assert!(
            matches!(
                refused,
                JournalError::Key {
                    source: KeyError::Missing,
                    ..
                }
            ),
            "{left}: {refused:?}"
        );
        assert!(!settings.key_file.exists(), "{left}");
    }
    // What is left of a start that came no further than here.
    let dir = tempfile::tempdir().unwrap();
    let settings = config(dir.path());
    fs::create_dir_all(settings.dir.join("spool")).unwrap();
    fs::write(settings.dir.join("lock"), b"").unwrap();
    Journal::open(&settings).unwrap().close().await;
    assert!(settings.key_file.exists());
}

/// All files were deleted because all was done: the snapshot alone says what comes again.
#[tokio::test]
async fn a_lost_key_is_noticed_although_every_file_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let settings = config(dir.path());
    let journal = Journal::open(&settings).unwrap();
    let payload = vec![1; 70 << 10];
    let id = keep(&journal, 1, &payload).await;
    finish(&journal, 1, &[id]).await;
    journal.close().await;
    for number in files::list_segments(&settings.dir).unwrap() {
        fs::remove_file(files::segment_path(&settings.dir, number)).unwrap();
    }
    assert!(settings.dir.join("snapshot").exists());
    fs::remove_file(&settings.key_file).unwrap();
    let refused = Journal::open(&settings).unwrap_err();
    assert!(matches!(refused, JournalError::Key { .. }), "{refused:?}");
    assert!(!settings.key_file.exists());
}
