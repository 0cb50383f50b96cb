use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::line::NO_LINE;
use super::*;

const TIME: &str = "2026-01-02T03:04:05Z";

fn refusal(code: &str) -> Refusal {
    Refusal {
        time: TIME.parse().expect("a time"),
        method: "GET".to_owned(),
        path: "/v1/records/{id}/content".to_owned(),
        status: 401,
        code: code.to_owned(),
        caller: Some("ab".repeat(32)),
        msp_id: Some("Org1MSP".to_owned()),
        trace_id: "cd".repeat(16),
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("temp dir");
    let path = folder.path().join("audit").join("refusals.ndjson");
    (folder, path)
}

/// A log with lines numbered from 1 whose codes are `A0`, `A1` and so on.
fn filled(path: &std::path::Path, lines: usize, file_bytes_max: u64) -> Log {
    let mut log = Log::open_with(path.to_owned(), file_bytes_max);
    for number in 0..lines {
        log.append(refusal(&format!("A{number}")));
    }
    log.sync();
    log
}

fn page(log: &Log) -> Page {
    log.page(0, None, 1000).expect("read")
}

#[test]
fn a_line_is_these_bytes() {
    let (_folder, path) = folder();
    let mut log = Log::open(path.clone());
    log.append(refusal("SIGNATURE_INVALID"));
    let mut stranger = refusal("CERTIFICATE_REQUIRED");
    (stranger.caller, stranger.msp_id) = (None, None);
    log.append(stranger);
    let text = fs::read_to_string(&path).expect("text");
    let first = format!(
        r#"{{"seq":1,"time":"{TIME}","method":"GET","path":"/v1/records/{{id}}/content","status":401,"code":"SIGNATURE_INVALID","caller":"{}","msp_id":"Org1MSP","trace_id":"{}","prev":"{}"}}"#,
        "ab".repeat(32),
        "cd".repeat(16),
        "0".repeat(64)
    );
    let second = format!(
        r#"{{"seq":2,"time":"{TIME}","method":"GET","path":"/v1/records/{{id}}/content","status":401,"code":"CERTIFICATE_REQUIRED","trace_id":"{}","prev":"{}"}}"#,
        "cd".repeat(16),
        contract_interface::Digest::of(first.as_bytes())
    );
    assert_eq!(text, format!("{first}\n{second}\n"));
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn the_chain_goes_on_after_a_restart() {
    let (_folder, path) = folder();
    drop(filled(&path, 3, u64::MAX));
    let mut log = Log::open(path);
    assert!(log.state().intact);
    log.append(refusal("B"));
    let page = page(&log);
    assert_eq!(page.lines.len(), 4);
    assert_eq!(page.lines[0].prev, NO_LINE);
    assert_eq!((page.lines[3].seq, page.broken_at), (4, None));
}

#[test]
fn every_change_of_a_kept_line_is_noticed() {
    type Change = fn(&mut Vec<String>);
    let table: [(&str, Change, Option<u64>); 6] = [
        ("nothing", |_| {}, None),
        (
            "a code",
            |lines| lines[1] = lines[1].replace("A1", "A7"),
            Some(3),
        ),
        ("a line taken out", |lines| drop(lines.remove(2)), Some(4)),
        (
            "the first taken out",
            |lines| drop(lines.remove(0)),
            Some(2),
        ),
        ("two swapped", |lines| lines.swap(1, 2), Some(3)),
        ("rubbish", |lines| lines[2] = "{}".to_owned(), Some(3)),
    ];
    for (what, change, broken_at) in table {
        let (_folder, path) = folder();
        drop(filled(&path, 5, u64::MAX));
        let text = fs::read_to_string(&path).expect("text");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        change(&mut lines);
        fs::write(&path, lines.join("\n") + "\n").expect("written");
        let mut log = Log::open(path);
        assert_eq!(page(&log).broken_at, broken_at, "{what}");
        assert_eq!(log.state().intact, broken_at.is_none(), "{what}");
        // It is written to all the same, and the break stays known.
        log.append(refusal("B"));
        assert_eq!(page(&log).lines.last().expect("a line").code, "B");
        assert_eq!(page(&log).broken_at, broken_at, "{what}");
    }
}

#[test]
fn a_first_line_that_claims_to_follow_another_is_noticed() {
    let (_folder, path) = folder();
    drop(filled(&path, 1, u64::MAX));
    let text = fs::read_to_string(&path).expect("text");
    fs::write(&path, text.replace(&"0".repeat(64), &"1".repeat(64))).expect("written");
    assert_eq!(page(&Log::open(path)).broken_at, Some(1));
}

#[test]
fn a_line_that_a_crash_cut_short_is_dropped() {
    let (_folder, path) = folder();
    drop(filled(&path, 2, u64::MAX));
    let text = fs::read(&path).expect("bytes");
    for cut in 1..60 {
        fs::write(&path, &text[..text.len() - cut]).expect("written");
        let mut log = Log::open(path.clone());
        assert!(log.state().intact);
        log.append(refusal("B"));
        let page = page(&log);
        let codes: Vec<&str> = page.lines.iter().map(|line| line.code.as_str()).collect();
        assert_eq!((codes, page.broken_at), (vec!["A0", "B"], None));
    }
}

#[test]
fn old_files_leave_and_the_chain_holds_over_the_rest() {
    let (folder, path) = folder();
    // Two lines a file; a second's budget is 100 lines.
    let log = filled(&path, 40, 800);
    let kept = page(&log);
    assert_eq!(kept.broken_at, None);
    let files = fs::read_dir(folder.path().join("audit"))
        .expect("a folder")
        .count();
    assert_eq!(files, 8);
    assert_eq!(kept.lines.len(), 16, "two in each of eight files");
    assert_eq!(kept.lines.last().map(|line| line.seq), Some(40));
    assert!(
        kept.lines
            .windows(2)
            .all(|pair| pair[1].seq == pair[0].seq + 1)
    );
    assert!(Log::open_with(path, 800).state().intact);
}

#[test]
fn pages_follow_one_another() {
    let (_folder, path) = folder();
    let log = filled(&path, 10, 800);
    let first = log.page(0, None, 4).expect("read");
    assert!(first.more);
    let after = first.lines.last().expect("a line").seq;
    let rest = log.page(after, None, 100).expect("read");
    assert_eq!((rest.lines.len(), rest.more), (6, false));
    assert_eq!(rest.lines[0].seq, after + 1);
    let later = "2026-01-02T03:04:06Z".parse().expect("a time");
    assert!(
        log.page(0, Some(later), 100)
            .expect("read")
            .lines
            .is_empty()
    );
    let exact = log.page(6, None, 4).expect("read");
    assert_eq!((exact.lines.len(), exact.more), (4, false));
}

#[test]
fn what_is_over_the_budget_is_counted_in_the_next_line() {
    let (_folder, path) = folder();
    let mut log = Log::open(path);
    for _ in 0..130 {
        log.append(refusal("FLOOD"));
    }
    assert_eq!(log.state().lost, 30);
    let mut later = refusal("LATER");
    later.time = "2026-01-02T03:04:06Z".parse().expect("a time");
    log.append(later);
    let page = page(&log);
    let last = page.lines.last().expect("a line");
    assert_eq!((last.lost, last.seq, page.broken_at), (30, 101, None));
}

#[test]
fn a_log_comes_back_when_its_folder_does() {
    let (folder, path) = folder();
    fs::write(folder.path().join("audit"), "in the way").expect("written");
    let mut log = Log::open(path);
    log.append(refusal("A"));
    assert_eq!((log.state().writable, log.state().lost), (false, 1));
    fs::remove_file(folder.path().join("audit")).expect("removed");
    log.append(refusal("B"));
    assert!(log.state().writable);
    assert_eq!(page(&log).lines[0].lost, 1);
}

#[tokio::test]
async fn notes_are_on_the_disk_after_the_stop() {
    let (_folder, path) = folder();
    let refusals = Refusals::open(Some(path.clone())).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(refusals.clone().run(stop.clone()));
    refusals.note(refusal("A")).await;
    stop.cancel();
    running.await.expect("joined");
    assert_eq!(fs::read_to_string(path).expect("text").lines().count(), 1);
    let page = refusals
        .page(0, None, 10)
        .await
        .expect("a log")
        .expect("read");
    assert_eq!(page.lines.len(), 1);
}

#[tokio::test]
async fn without_a_path_nothing_is_kept() {
    let refusals = Refusals::open(None).await;
    refusals.note(refusal("A")).await;
    assert!(refusals.page(0, None, 10).await.is_none());
    assert_eq!(refusals.state(), None);
}
