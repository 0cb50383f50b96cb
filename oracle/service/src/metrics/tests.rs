//! One catalogue, and four things that must say the same: the sources, `/metrics`, the README's table, and what
//! operators are given (alert rules and dashboard).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;

/// The only labels. None of them can name a device, a patient, a person or a record.
const LABELS: [&str; 16] = [
    "call",
    "certificate",
    "job",
    "msp",
    "mark",
    "method",
    "organization",
    "outcome",
    "part",
    "reason",
    "stage",
    "state",
    "status",
    "step",
    "upstream",
    "version",
];

fn crate_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(crate_file(name)).unwrap()
}

/// Names, kinds and labels as the catalogue has them.
fn catalogue() -> BTreeMap<String, (String, BTreeSet<String>)> {
    CATALOGUE
        .iter()
        .map(|metric| {
            let labels = metric.series.labels().into_iter().map(str::to_owned);
            let kind = metric.kind.name().to_owned();
            (metric.name.to_owned(), (kind, labels.collect()))
        })
        .collect()
}

#[test]
fn names_are_distinct_and_follow_the_conventions_of_prometheus() {
    assert_eq!(catalogue().len(), CATALOGUE.len());
    for metric in CATALOGUE {
        let Metric { name, .. } = metric;
        assert!(name.starts_with("salus_"), "{name}");
        let counter = matches!(metric.kind, Kind::Counter);
        assert_eq!(counter, name.ends_with("_total"), "{name}");
        for label in metric.series.labels() {
            assert!(LABELS.contains(&label), "{name}: {label}");
        }
        for unit in ["seconds", "bytes"] {
            if name.contains(unit) {
                assert!(metric.unit.starts_with(unit), "{name}: {}", metric.unit);
            }
        }
    }
}

/// What a text in Prometheus' format says: kinds by name, and the labels of all samples.
fn rendered(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            found.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        }
    }
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = base(name, |name| found.contains_key(name));
        let labels = line.split_once('{').map_or("", |(_, rest)| rest);
        let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
        let entry = found.get_mut(&base).unwrap_or_else(|| panic!("{line}"));
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let (label, _) = pair.split_once('=').unwrap();
            if label != "le" {
                entry.1.insert(label.to_owned());
            }
        }
    }
    found
}

/// The metric that a sample belongs to.
fn base(name: &str, is_known: impl Fn(&str) -> bool) -> String {
    let stripped = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|stripped| is_known(stripped));
    stripped.unwrap_or(name).to_owned()
}

#[test]
fn every_metric_is_there_from_the_start_and_described() {
    let recorder = builder().unwrap().build_recorder();
    let text = metrics::with_local_recorder(&recorder, || {
        declare();
        recorder.handle().render()
    });
    assert_eq!(rendered(&text), catalogue());
    for metric in CATALOGUE {
        let help = format!("# HELP {} {}", metric.name, metric.meaning);
        assert!(text.contains(&help), "{help}");
    }
    assert!(text.contains(r#"salus_pipeline_stage_seconds_bucket{stage="pinned",le="86400"} 0"#));
    assert!(text.contains(r#"salus_journal_sync_bytes_bucket{le="16777216"} 0"#));
}

/// Rows of the table: `| name | type | labels | unit | meaning |`.
#[test]
fn the_table_in_the_readme_is_the_catalogue() {
    let readme = read("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `salus_"));
    let rows: Vec<&str> = rows.collect();
    let expected: Vec<String> = CATALOGUE.iter().map(row).collect();
    assert_eq!(rows, expected, "the table \"Metrics\" of README.md");
}

fn row(metric: &Metric) -> String {
    let labels = metric.series.labels().into_iter();
    let labels = labels.map(|label| format!("`{label}`"));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let Metric {
        name,
        unit,
        meaning,
        ..
    } = metric;
    let labels = if labels.is_empty() {
        "|".to_owned()
    } else {
        format!("| {labels} ")
    };
    let kind = metric.kind.name();
    format!("| `{name}` | {kind} {labels}| {unit} | {meaning} |").replace("||", "| |")
}

/// Every Rust file below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The macros in the sources: kind, name and labels of each.
fn emitted() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut files = Vec::new();
    sources(&crate_file("src"), &mut files);
    let mut found = BTreeMap::new();
    // Tests may count what they like.
    let of_tests = |path: &Path| {
        path.iter()
            .any(|part| part == "tests" || part == "tests.rs")
    };
    for path in files.iter().filter(|path| !of_tests(path)) {
        let text = std::fs::read_to_string(path).unwrap();
        for kind in ["counter", "gauge", "histogram"] {
            for call in text.split(&format!("metrics::{kind}!(")).skip(1) {
                let arguments = call
                    .split_once(").")
                    .map_or(call, |(arguments, _)| arguments);
                let arguments = arguments.split_once(")\n").map_or(arguments, |(a, _)| a);
                // Only the catalogue's own macros take a name that is no literal.
                let Some(rest) = arguments.trim_start().strip_prefix('"') else {
                    assert!(path.ends_with("metrics/catalogue.rs"), "{}", path.display());
                    continue;
                };
                let (name, rest) = rest.split_once('"').unwrap();
                // Before each arrow stands a label; what is behind the last one is a value.
                let parts: Vec<&str> = rest.split("=>").collect();
                let labels = parts[..parts.len() - 1].iter().map(|part| {
                    let label = part.trim_end().strip_suffix('"').unwrap();
                    label.rsplit_once('"').unwrap().1.to_owned()
                });
                let labels: BTreeSet<String> = labels.collect();
                let known = (kind.to_owned(), labels);
                let before = found.insert(name.to_owned(), known.clone());
                assert!(before.is_none_or(|before| before == known), "{name}");
            }
        }
    }
    found
}

#[test]
fn the_sources_count_what_the_catalogue_has_and_nothing_else() {
    assert_eq!(emitted(), catalogue());
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c: char| !is_part(c));
    words
        .filter(|word| word.starts_with("salus_"))
        .map(|word| {
            base(word, |name| {
                let histogram = |metric: &&Metric| {
                    metric.name == name && matches!(metric.kind, Kind::Histogram(_))
                };
                CATALOGUE.iter().any(|metric| histogram(&metric))
            })
        })
        .collect()
}

fn assert_known(expression: &str) {
    let metrics = named(expression);
    assert!(
        !metrics.is_empty(),
        "{expression} names no metric of the oracle"
    );
    for name in metrics {
        assert!(catalogue().contains_key(&name), "{name} in {expression}");
    }
}

#[test]
fn the_dashboard_shows_only_what_there_is() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("grafana/salus-oracle.json")).unwrap();
    assert_eq!(dashboard["uid"], "salus-oracle");
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 41);
    let (mut ids, mut expressions) = (BTreeSet::new(), 0);
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let place = &panel["gridPos"];
        let (x, w) = (place["x"].as_u64().unwrap(), place["w"].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{panel}");
        for target in targets.into_iter().flatten() {
            assert_known(target["expr"].as_str().unwrap());
            expressions += 1;
        }
    }
    assert!(expressions > 20, "{expressions}");
}

#[test]
fn alerts_rest_on_what_there_is_and_say_what_to_do() {
    use saphyr::{LoadableYamlNode as _, Yaml};

    let text = read("prometheus/alerts.yaml");
    let documents = Yaml::load_from_str(&text).unwrap();
    let groups = documents[0]["groups"].as_sequence().unwrap();
    let mut alerts = BTreeSet::new();
    for rule in groups
        .iter()
        .flat_map(|group| group["rules"].as_sequence().unwrap())
    {
        let name = rule["alert"].as_str().unwrap();
        assert!(alerts.insert(name.to_owned()), "{name}");
        assert_known(rule["expr"].as_str().unwrap());
        assert!(rule["labels"]["severity"].as_str().is_some(), "{name}");
        for part in ["summary", "description"] {
            assert!(
                rule["annotations"][part].as_str().is_some(),
                "{name}: {part}"
            );
        }
    }
    for needed in [
        "SalusOldestReading",
        "SalusDiskFilling",
        "SalusDeadLetters",
        "SalusCertificateEnds",
        "SalusRevocationListOld",
    ] {
        assert!(alerts.contains(needed), "{needed}");
    }
}
