//! `salus jobs`.

use anyhow::{Result, bail};
use contract_interface::UtcTime;
use salus::{Client, Job};

use crate::{
    args::{JobsCommand, JobsStatus},
    output::Output,
};

pub(crate) async fn run(client: &Client, command: &JobsCommand, out: Output) -> Result<()> {
    match command {
        JobsCommand::List => list(client, out).await,
        JobsCommand::Status(status) => one(client, status, out).await,
    }
}

async fn list(client: &Client, out: Output) -> Result<()> {
    let jobs = client.jobs().await?;
    let heads = [
        "JOB",
        "STATE",
        "LOOKED AT",
        "CHANGED",
        "WAITING",
        "LAST PASS",
    ];
    out.list(&jobs, heads, |job: &Job| {
        [
            job.job.clone(),
            state(job).to_owned(),
            job.seen.to_string(),
            job.changed.to_string(),
            job.waiting.to_string(),
            time(job.ended_at),
        ]
    })?;
    Ok(())
}

async fn one(client: &Client, args: &JobsStatus, out: Output) -> Result<()> {
    let jobs = client.jobs().await?;
    let Some(job) = jobs.iter().find(|job| job.job == args.job) else {
        let names: Vec<&str> = jobs.iter().map(|job| job.job.as_str()).collect();
        bail!(
            "there is no job {:?}; there are {}",
            args.job,
            names.join(", ")
        );
    };
    out.result(job, &in_words(job))?;
    if is_done(job) {
        return Ok(());
    }
    Err(NotDone {
        job: job.job.clone(),
        waiting: job.waiting,
    }
    .into())
}

/// A job has still something to do.
#[derive(Debug, thiserror::Error)]
#[error(
    "{job} is not done: {waiting} things wait, or its last pass did not finish; ask again later"
)]
pub(crate) struct NotDone {
    job: String,
    waiting: u64,
}

/// Whether a whole pass found nothing that waits.
fn is_done(job: &Job) -> bool {
    job.passes > 0 && !job.running && job.waiting == 0 && job.error.is_none()
}

fn state(job: &Job) -> &'static str {
    match job {
        Job { running: true, .. } => "working",
        Job { passes: 0, .. } => "not begun",
        Job { error: Some(_), .. } => "will try again",
        Job { waiting: 0, .. } => "done",
        _ => "waiting",
    }
}

fn time(time: Option<UtcTime>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| time.to_string())
}

/// What a job is for, for those who do not know its name.
fn purpose(name: &str) -> &'static str {
    match name {
        "wraps" => {
            "gives each record's key to those who may read it, and replaces keys that are rotated"
        }
        "erasures" => "removes erased records' objects and confirms it on the ledger",
        "nonces" => "clears away used numbers of signed requests that protect nothing any more",
        "clock" => "moves the organisation's clock on the channel",
        _ => "is not known to this version of salus",
    }
}

fn in_words(job: &Job) -> String {
    let mut lines = vec![
        format!("{}: {}", job.job, state(job)),
        format!("  it           {}", purpose(&job.job)),
        format!("  looked at    {} in this pass or the last", job.seen),
        format!("  changed      {} of them", job.changed),
        format!(
            "  waiting      {} of them, for others or for the next try",
            job.waiting
        ),
        format!(
            "  last pass    began {}, ended {}",
            time(job.begun_at),
            time(job.ended_at)
        ),
        format!("  passes       {} since the oracle's start", job.passes),
    ];
    if let Some(error) = &job.error {
        lines.push(format!(
            "  last time    {error}; it goes on in the next pass"
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job {
            job: "wraps".to_owned(),
            running: false,
            passes: 3,
            seen: 40,
            changed: 7,
            waiting: 0,
            begun_at: "2026-01-02T03:04:05Z".parse().ok(),
            ended_at: "2026-01-02T03:04:06Z".parse().ok(),
            error: None,
        }
    }

    #[test]
    fn a_job_is_done_after_a_whole_pass_in_which_nothing_waits() {
        assert!(is_done(&job()));
        for (name, other) in [
            (
                "working",
                Job {
                    running: true,
                    ..job()
                },
            ),
            ("not begun", Job { passes: 0, ..job() }),
            (
                "waiting",
                Job {
                    waiting: 1,
                    ..job()
                },
            ),
            (
                "will try again",
                Job {
                    error: Some("x".to_owned()),
                    ..job()
                },
            ),
        ] {
            assert!(!is_done(&other), "{name}");
            assert_eq!(state(&other), name);
        }
        assert_eq!(state(&job()), "done");
    }

    #[test]
    fn a_job_in_words_says_what_it_is_for_and_what_went_wrong() {
        let failed = Job {
            waiting: 2,
            error: Some("the ledger cannot be reached".to_owned()),
            ..job()
        };
        let words = in_words(&failed);
        for part in [
            "wraps: will try again",
            "replaces keys that are rotated",
            "looked at    40",
            "changed      7",
            "waiting      2",
            "ended 2026-01-02T03:04:06Z",
            "the ledger cannot be reached; it goes on",
        ] {
            assert!(words.contains(part), "{part} in {words}");
        }
        assert!(!in_words(&job()).contains("last time"));
    }
}
