//! What the oracle counts and measures, for Prometheus.
//!
//! One catalogue names every metric with its labels; a test holds the macros in the sources, the table in this
//! crate's README and what `/metrics` answers to it. Labels have few values, all known to the program: no device,
//! patient, person or record is ever one. Every metric is there from the start, at zero, because a counter that
//! appears with its first error has no rate for that error.

mod catalogue;
mod labels;
#[cfg(test)]
mod tests;
mod watch;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

pub use self::catalogue::{CATALOGUE, Kind, Metric, Series};
pub(crate) use self::labels::{
    contract_code, ledger_failure, method, observe_upstream, store_failure,
};
pub(crate) use self::watch::{Crls, Files, Watch};

/// A recorder's builder with the buckets of every histogram.
///
/// # Errors
///
/// [`BuildError`], if the buckets of a metric are none.
pub fn builder() -> Result<PrometheusBuilder, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in CATALOGUE {
        if let Kind::Histogram(buckets) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, buckets)?;
        }
    }
    Ok(builder)
}

/// Describes every metric and makes its series, with the recorder in force.
pub fn declare() {
    for metric in CATALOGUE {
        metric.declare();
    }
}
