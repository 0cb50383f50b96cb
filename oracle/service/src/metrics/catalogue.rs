//! Every metric there is.

use metrics::Label;

/// Upper bounds for what takes milliseconds to seconds, seconds.
const CALL_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
];
/// Upper bounds for what waits for other organisations, from an instant to a day, seconds.
const STAGE_SECONDS: &[f64] = &[
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0,
];
/// Upper bounds of one sync, bytes.
const SYNC_BYTES: &[f64] = &[
    512.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0, 16777216.0,
];

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counted in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl Kind {
    /// The kind as Prometheus' text format has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Which series a metric has from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// One, without labels.
    One,
    /// One for each value of a label; there are no others.
    Each(&'static str, &'static [&'static str]),
    /// One to begin with; others come with what happens, as many as the program has names for.
    Open(&'static [(&'static str, &'static str)]),
}

impl Series {
    /// The names of the labels, in order.
    #[must_use]
    pub fn labels(self) -> Vec<&'static str> {
        match self {
            Self::One => Vec::new(),
            Self::Each(label, _) => vec![label],
            Self::Open(first) => first.iter().map(|(label, _)| *label).collect(),
        }
    }

    fn all(self) -> Vec<Vec<Label>> {
        match self {
            Self::One => vec![Vec::new()],
            Self::Each(label, values) => values
                .iter()
                .map(|value| vec![Label::from_static_parts(label, value)])
                .collect(),
            Self::Open(first) => vec![
                first
                    .iter()
                    .map(|(label, value)| Label::from_static_parts(label, value))
                    .collect(),
            ],
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number.
    pub kind: Kind,
    /// Its labels.
    pub series: Series,
    /// What is counted.
    pub unit: &'static str,
    /// What it means, for those who run the oracle.
    pub meaning: &'static str,
}

impl Metric {
    /// Describes the metric and makes its series, at zero.
    pub(super) fn declare(&self) {
        let Self { name, meaning, .. } = *self;
        match self.kind {
            Kind::Counter => metrics::describe_counter!(name, meaning),
            Kind::Gauge => metrics::describe_gauge!(name, meaning),
            Kind::Histogram(_) => metrics::describe_histogram!(name, meaning),
        }
        for labels in self.series.all() {
            match self.kind {
                Kind::Counter => metrics::counter!(name, labels).increment(0),
                Kind::Gauge => metrics::gauge!(name, labels).increment(0.0),
                // Asking for it makes it; nothing is recorded.
                Kind::Histogram(_) => drop(metrics::histogram!(name, labels)),
            }
        }
    }
}

const fn counter(
    name: &'static str,
    series: Series,
    unit: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        series,
        unit,
        meaning,
    }
}

const fn gauge(
    name: &'static str,
    series: Series,
    unit: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        series,
        unit,
        meaning,
    }
}

const fn histogram(
    name: &'static str,
    buckets: &'static [f64],
    series: Series,
    unit: &'static str,
    meaning: &'static str,
) -> Metric {
    Metric {
        name,
        kind: Kind::Histogram(buckets),
        series,
        unit,
        meaning,
    }
}

/// The background jobs.
const JOBS: Series = Series::Each("job", &["clock", "erasures", "nonces", "wraps"]);
/// Where unfinished readings and records are.
const STATES: Series = Series::Each(
    "state",
    &["received", "sealed", "pinned", "committed", "parked"],
);
/// What is asked of Fabric and IPFS.
const UPSTREAM: Series = Series::Open(&[("upstream", "fabric"), ("call", "submit")]);

/// Every metric, in the order of the README's table.
pub const CATALOGUE: &[Metric] = &[
    // The MQTT front.
    gauge(
        "salus_mqtt_connections",
        Series::One,
        "connections",
        "MQTT connections open now",
    ),
    counter(
        "salus_mqtt_connects_total",
        Series::Each("version", &["3.1.1", "5"]),
        "connections",
        "CONNECTs taken, by protocol version",
    ),
    counter(
        "salus_mqtt_connects_refused_total",
        Series::Open(&[("reason", "device-not-authorized")]),
        "connections",
        "CONNECTs refused, by reason",
    ),
    counter(
        "salus_mqtt_disconnects_total",
        Series::Open(&[("reason", "left")]),
        "connections",
        "connections ended: left, connection-lost, or why the oracle ended it",
    ),
    counter(
        "salus_mqtt_turned_away_total",
        Series::One,
        "connections",
        "connections closed at once: too many unfinished handshakes or WebSockets",
    ),
    counter(
        "salus_mqtt_sessions_given_up_total",
        Series::One,
        "sessions",
        "kept sessions that gave way to another of the same device",
    ),
    counter(
        "salus_mqtt_status_total",
        Series::One,
        "messages",
        "messages passed on that devices sent of themselves, wills included",
    ),
    counter(
        "salus_mqtt_wills_total",
        Series::One,
        "messages",
        "wills published: devices gone without a farewell",
    ),
    gauge(
        "salus_mqtt_retained",
        Series::One,
        "messages",
        "retained messages there are, one a device at most",
    ),
    counter(
        "salus_mqtt_received_total",
        Series::One,
        "messages",
        "PUBLISH packets that came",
    ),
    counter(
        "salus_mqtt_taken_total",
        Series::Each("outcome", &["kept", "duplicate"]),
        "messages",
        "messages acknowledged: kept now, or known from before",
    ),
    counter(
        "salus_mqtt_refused_total",
        Series::Open(&[("reason", "payload-not-json")]),
        "messages",
        "messages and packets refused, by reason",
    ),
    counter(
        "salus_mqtt_marked_total",
        Series::Each(
            "mark",
            &[
                "code-not-loinc",
                "unit-not-ucum",
                "clock-ahead",
                "clock-behind",
                "time-of-receipt",
                "signature-not-kept",
            ],
        ),
        "messages",
        "messages kept although something about them is odd, by what that is",
    ),
    counter(
        "salus_mqtt_delayed_total",
        Series::One,
        "messages",
        "messages above a rate, read later",
    ),
    counter(
        "salus_mqtt_dead_letters_total",
        Series::One,
        "messages",
        "refused messages noted in the journal because MQTT 3.1.1 cannot say why",
    ),
    histogram(
        "salus_mqtt_acknowledge_seconds",
        CALL_SECONDS,
        Series::One,
        "seconds",
        "from reading a message to its acknowledgement, journal's sync included",
    ),
    // Large objects.
    gauge(
        "salus_objects",
        Series::One,
        "objects",
        "large objects that are unfinished",
    ),
    gauge(
        "salus_objects_bytes",
        Series::One,
        "bytes",
        "their bytes, as announced",
    ),
    counter(
        "salus_objects_total",
        Series::Each("outcome", &["kept", "duplicate", "refused", "expired"]),
        "objects",
        "large objects that came to an end: handed to the journal, known from before, refused after they were complete, or given up",
    ),
    histogram(
        "salus_object_check_seconds",
        CALL_SECONDS,
        Series::One,
        "seconds",
        "reading a complete object once to check it",
    ),
    // The journal.
    gauge(
        "salus_journal_bytes",
        Series::One,
        "bytes",
        "bytes of the journal's files",
    ),
    gauge(
        "salus_journal_limit_bytes",
        Series::One,
        "bytes",
        "bytes at which the journal takes no more readings",
    ),
    gauge(
        "salus_journal_segments",
        Series::One,
        "files",
        "files of the journal",
    ),
    gauge(
        "salus_journal_disk_free_bytes",
        Series::One,
        "bytes",
        "bytes that the oracle may still write on the journal's disk",
    ),
    histogram(
        "salus_journal_sync_seconds",
        CALL_SECONDS,
        Series::One,
        "seconds",
        "one fdatasync of the journal",
    ),
    histogram(
        "salus_journal_sync_bytes",
        SYNC_BYTES,
        Series::One,
        "bytes",
        "bytes that shared one fdatasync",
    ),
    counter(
        "salus_journal_refused_total",
        Series::One,
        "writes",
        "writes for which the journal's disk had no room",
    ),
    // The pipeline.
    gauge(
        "salus_pipeline_waiting",
        STATES,
        "readings or records",
        "unfinished readings (received) and records (the others); parked ones are dead letters",
    ),
    gauge(
        "salus_pipeline_keyless",
        Series::One,
        "readings",
        "readings, of those received, whose patient has no encryption key",
    ),
    gauge(
        "salus_pipeline_oldest_seconds",
        STATES,
        "seconds",
        "age of the oldest unfinished reading in each state, 0 if there is none",
    ),
    histogram(
        "salus_pipeline_stage_seconds",
        STAGE_SECONDS,
        Series::Each("stage", &["sealed", "pinned", "committed", "receipted"]),
        "seconds",
        "from the stage before to this one: of readings from receiving to sealed, of records then",
    ),
    histogram(
        "salus_pipeline_step_seconds",
        STAGE_SECONDS,
        Series::Each("step", &["seal", "pin", "register", "tell"]),
        "seconds",
        "one go of a step, waits between tries included",
    ),
    histogram(
        "salus_pipeline_reading_seconds",
        STAGE_SECONDS,
        Series::One,
        "seconds",
        "from receiving a reading to its receipt",
    ),
    counter(
        "salus_pipeline_registered_total",
        Series::One,
        "records",
        "records registered on the ledger",
    ),
    counter(
        "salus_pipeline_rejected_total",
        Series::Open(&[("reason", "DEVICE_NOT_BOUND")]),
        "records",
        "refusals by the contract, by its code",
    ),
    counter(
        "salus_pipeline_dropped_total",
        Series::One,
        "records",
        "dead letters that an administrator gave up",
    ),
    counter(
        "salus_pipeline_retries_total",
        Series::Each("step", &["read", "pin", "register"]),
        "tries",
        "steps tried again",
    ),
    // What the oracle depends on.
    histogram(
        "salus_upstream_seconds",
        CALL_SECONDS,
        UPSTREAM,
        "seconds",
        "calls of Fabric (evaluate, submit) and of IPFS (commands of Kubo's RPC)",
    ),
    counter(
        "salus_upstream_errors_total",
        Series::Open(&[
            ("upstream", "fabric"),
            ("call", "submit"),
            ("reason", "unreachable"),
        ]),
        "calls",
        "calls that failed; a contract's refusal is an answer and no failure",
    ),
    gauge(
        "salus_ready",
        Series::Each(
            "part",
            &["directory", "fabric", "ipfs", "journal", "pipeline"],
        ),
        "0 or 1",
        "whether a part can be used, as /readyz says; 0 for parts that this process does not have",
    ),
    gauge(
        "salus_certificate_expiry_timestamp_seconds",
        Series::Open(&[("certificate", "identity")]),
        "seconds since 1970",
        "end of a certificate's validity: identity, mqtt, rest, fabric-ca, enrolment-ca",
    ),
    gauge(
        "salus_crl_issued_timestamp_seconds",
        Series::Open(&[("organization", "own")]),
        "seconds since 1970",
        "when the newest revocation list was issued; 0 without one; own are the devices', else by MSP ID",
    ),
    gauge(
        "salus_crl_next_update_timestamp_seconds",
        Series::Open(&[("organization", "own")]),
        "seconds since 1970",
        "when the earliest list should have been replaced; 0 if none says",
    ),
    gauge(
        "salus_msp_stale",
        Series::Each("msp", &["callers", "devices"]),
        "0 or 1",
        "whether an MSP folder with its revocation lists could not be read again, and what was read before is in force",
    ),
    // People.
    counter(
        "salus_rest_requests_total",
        Series::Open(&[("method", "GET"), ("status", "200")]),
        "requests",
        "requests answered, by method and status",
    ),
    counter(
        "salus_rest_closed_total",
        Series::Each("reason", &["idle", "stalled"]),
        "connections",
        "HTTP connections that the oracle closed: no request, or an answer that nobody takes",
    ),
    histogram(
        "salus_rest_request_seconds",
        CALL_SECONDS,
        Series::One,
        "seconds",
        "until an answer began",
    ),
    counter(
        "salus_refusals_lost_total",
        Series::One,
        "refusals",
        "refusals that the log of refusals could not keep",
    ),
    // The background.
    gauge(
        "salus_job_seen",
        JOBS,
        "items",
        "looked at in the current or last pass",
    ),
    gauge("salus_job_waiting", JOBS, "items", "left for a later pass"),
    counter("salus_job_changed_total", JOBS, "items", "changed"),
    counter(
        "salus_job_failures_total",
        JOBS,
        "passes",
        "passes that ended in an error",
    ),
    // The process.
    gauge(
        "salus_build_info",
        Series::Open(&[("version", env!("CARGO_PKG_VERSION"))]),
        "1",
        "always 1; the label is the program's version",
    ),
    gauge(
        "salus_start_timestamp_seconds",
        Series::One,
        "seconds since 1970",
        "when the process started",
    ),
];
