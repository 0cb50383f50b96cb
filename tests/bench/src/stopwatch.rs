//! Timing one piece of work, and the middle of several measurements.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Repeats `work` for at least `at_least` and gives how often it was done a second.
pub(crate) fn per_second(at_least: Duration, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    let mut count = 0_u32;
    loop {
        work()?;
        count += 1;
        let elapsed = start.elapsed();
        if elapsed >= at_least {
            return Ok(f64::from(count) / elapsed.as_secs_f64());
        }
    }
}

/// The middle one of the measurements; 0 if there are none.
pub(crate) fn median(measured: &[f64]) -> f64 {
    let mut sorted = measured.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
