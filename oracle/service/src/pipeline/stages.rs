//! How long records stay at each stage. In memory alone: what a start takes up has no beginning that this process
//! saw and is not measured until its next stage.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::journal::{Pending, RecordKey};

/// When each unfinished record reached its stage; as many as the journal holds.
#[derive(Debug, Default)]
pub(super) struct Stages(Mutex<HashMap<RecordKey, Instant>>);

impl Stages {
    fn lock(&self) -> MutexGuard<'_, HashMap<RecordKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Readings became a record.
    pub(super) fn sealed(&self, record: RecordKey, readings: &[Arc<Pending>], now_ms: u64) {
        self.lock().insert(record, Instant::now());
        for reading in readings {
            let seconds = now_ms.saturating_sub(reading.received_ms) as f64 / 1000.0;
            observe("sealed", seconds);
        }
    }

    /// Records reached a later stage.
    pub(super) fn reached(&self, stage: &'static str, records: &[RecordKey]) {
        let now = Instant::now();
        let mut since = self.lock();
        for record in records {
            if let Some(before) = since.insert(*record, now) {
                observe(stage, now.duration_since(before).as_secs_f64());
            }
        }
    }

    /// Records are done, or are none any more.
    pub(super) fn forget<'a>(&self, records: impl IntoIterator<Item = &'a RecordKey>) {
        let mut since = self.lock();
        for record in records {
            since.remove(record);
        }
    }
}

fn observe(stage: &'static str, seconds: f64) {
    metrics::histogram!("salus_pipeline_stage_seconds", "stage" => stage).record(seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_measured_from_the_stage_before_that_was_seen() {
        let recorder = crate::metrics::builder().unwrap().build_recorder();
        let _recording = metrics::set_default_local_recorder(&recorder);
        let stages = Stages::default();
        let (seen, taken_up) = (RecordKey([1; 16]), RecordKey([2; 16]));
        stages.sealed(seen, &[], 0);
        stages.reached("pinned", &[seen, taken_up]);
        stages.reached("committed", &[seen, taken_up]);
        stages.forget([&seen, &taken_up]);
        let text = recorder.handle().render();
        for line in [
            r#"salus_pipeline_stage_seconds_count{stage="pinned"} 1"#,
            r#"salus_pipeline_stage_seconds_count{stage="committed"} 2"#,
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(stages.lock().is_empty());
    }
}
