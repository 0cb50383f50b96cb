//! Holds which crate of the workspace may use which.

use std::{collections::BTreeMap, process::Command};

use salus_tests::binaries::workspace_root;

/// Each crate and the workspace crates that it may depend on, for building or for testing.
/// A change here is a change of design: ARCHITECTURE.md draws the same arrows.
const ALLOWED: &[(&str, &[&str])] = &[
    ("contract-interface", &[]),
    ("contracts", &["contract-interface", "fabric-shim"]),
    ("fabric-compact", &[]),
    (
        "fabric-devnet",
        &["fabric-msp", "fabric-mspgen", "fabric-protos"],
    ),
    ("fabric-gateway", &["fabric-msp", "fabric-protos"]),
    ("fabric-msp", &["fabric-protos"]),
    ("fabric-mspgen", &["fabric-msp"]),
    ("fabric-protos", &[]),
    (
        "fabric-shim",
        &["fabric-msp", "fabric-protos", "fabric-shim-macros"],
    ),
    ("fabric-shim-macros", &[]),
    ("ipfs-devnode", &[]),
    (
        "oracle",
        &[
            "contract-interface",
            "fabric-gateway",
            "fabric-msp",
            "sealed-object",
        ],
    ),
    (
        "salus",
        &[
            "contract-interface",
            "fabric-compact",
            "fabric-msp",
            "sealed-object",
        ],
    ),
    ("sealed-object", &[]),
];

/// May use everything, and nothing may use them.
const TESTS: [&str; 2] = ["salus-tests", "salus-bench"];

/// Workspace crates that a crate's own tests may use besides [`ALLOWED`]: to issue certificates, to
/// read blocks, and to have a store to talk to.
const ALLOWED_IN_TESTS: &[&str] = &[
    "fabric-msp",
    "fabric-mspgen",
    "fabric-protos",
    "ipfs-devnode",
];

#[test]
fn crates_use_only_what_the_design_allows() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let names: Vec<&str> = packages
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        if TESTS.contains(&name) {
            continue;
        }
        let Some(permitted) = allowed.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            let fine = !names.contains(&used)
                || used == name
                || permitted.contains(&used)
                || (for_tests && ALLOWED_IN_TESTS.contains(&used));
            if !fine {
                wrong.push(format!("{name} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        names.len(),
        ALLOWED.len() + TESTS.len(),
        "a crate of the table is gone: {names:?}"
    );
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
