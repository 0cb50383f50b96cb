//! CIDs that Kubo gives, for every option that changes them: `tests/golden/cids.json`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::client::{Api, Upload};

#[derive(Serialize, Deserialize)]
struct Golden {
    /// How the bytes are made, for whoever checks by other means.
    rule: String,
    cases: Vec<Case>,
}

#[derive(Serialize, Deserialize)]
struct Case {
    length: usize,
    /// Query of `add` besides `only-hash`.
    options: String,
    cid: String,
    /// Bytes of all blocks, as `add` reports them.
    size: String,
}

const RULE: &str = "byte i is (i * 2654435761 mod 2^32) div 2^24";

fn content(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cids.json")
}

pub(crate) async fn check(api: &Api) {
    let golden: Golden = serde_json::from_slice(&fs::read(file()).unwrap()).unwrap();
    assert_eq!(golden.rule, RULE);
    assert!(golden.cases.len() > 100);
    let mut contents = BTreeMap::new();
    for case in &golden.cases {
        let content = contents
            .entry(case.length)
            .or_insert_with(|| content(case.length));
        let (cid, size) = add(api, &case.options, content).await;
        let given = (cid.as_str(), size.as_str());
        let expected = (case.cid.as_str(), case.size.as_str());
        assert_eq!(given, expected, "{} bytes, {}", case.length, case.options);
    }
}

/// Asks Kubo for all of them.
pub(crate) async fn write(api: &Api) {
    let version = api.call("version").await.ok().json();
    assert!(
        !version["Golang"].as_str().unwrap().is_empty(),
        "only Kubo is written in Go"
    );
    let mut cases = Vec::new();
    for (length, chunkers) in LENGTHS {
        let content = content(*length);
        for chunker in *chunkers {
            for cids in cid_options(*length) {
                let options = [*chunker, *cids].join("&");
                let options = options.trim_matches('&').to_owned();
                let (cid, size) = add(api, &options, &content).await;
                cases.push(Case {
                    length: *length,
                    options,
                    cid,
                    size,
                });
            }
        }
    }
    let golden = Golden {
        rule: RULE.to_owned(),
        cases,
    };
    let text = serde_json::to_string_pretty(&golden).unwrap();
    fs::write(file(), text + "\n").unwrap();
}

/// The options that decide versions and leaves; for long content only those that differ.
fn cid_options(length: usize) -> &'static [&'static str] {
    const DIFFERENT: &[&str] = &[
        "",
        "cid-version=1",
        "raw-leaves=true",
        "cid-version=1&raw-leaves=false",
    ];
    const ALL: &[&str] = &[
        "",
        "cid-version=1",
        "raw-leaves=true",
        "cid-version=1&raw-leaves=false",
        "cid-version=0",
        "raw-leaves=false",
        "cid-version=1&raw-leaves=true",
    ];
    if length > 10_000_000 { DIFFERENT } else { ALL }
}

/// Lengths around a chunk, around the 174 links of a node, and around its square.
const LENGTHS: &[(usize, &[&str])] = &[
    (0, &["", "chunker=size-1"]),
    (1, &["", "chunker=size-1"]),
    (174, &["chunker=size-1"]),
    (175, &["chunker=size-1"]),
    (348, &["chunker=size-1"]),
    (349, &["chunker=size-1"]),
    (30_276, &["chunker=size-1"]),
    (30_277, &["chunker=size-1"]),
    (262_143, &[""]),
    (262_144, &["", "chunker=size-262144"]),
    (262_145, &["", "chunker=size-1000"]),
    (
        1_048_576,
        &["", "chunker=size-1048576", "chunker=size-2096896"],
    ),
    (45_613_056, &[""]),
    (45_613_057, &[""]),
];

async fn add(api: &Api, options: &str, content: &[u8]) -> (String, String) {
    let command = format!("add?only-hash=true&{options}");
    let reply = api.upload(&command, &[Upload::file("file", content)]).await;
    let line = reply.ok().lines().pop().expect("the file is reported");
    let text = |member: &str| line[member].as_str().unwrap().to_owned();
    (text("Hash"), text("Size"))
}
