//! Regenerates `src/generated/` from `proto/` and compares it with what is committed.
//!
//! `SALUS_BLESS=1 cargo test -p fabric-protos` rewrites the folder instead.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn generated_code_matches_the_proto_files() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed_dir = crate_dir.join("src/generated");
    let fresh_dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("generated");
    generate(&crate_dir.join("proto"), &fresh_dir);

    let fresh = read_all(&fresh_dir);
    if std::env::var_os("SALUS_BLESS").is_some() {
        fs::remove_dir_all(&committed_dir).unwrap();
        fs::create_dir_all(&committed_dir).unwrap();
        for (name, text) in &fresh {
            fs::write(committed_dir.join(name), text).unwrap();
        }
    }
    let committed = read_all(&committed_dir);
    assert_eq!(
        committed.keys().collect::<Vec<_>>(),
        fresh.keys().collect::<Vec<_>>(),
        "the set of generated files changed"
    );
    for (name, text) in &fresh {
        assert!(
            committed[name] == *text,
            "src/generated/{name} is not what proto/ generates; run with SALUS_BLESS=1"
        );
    }
}

fn generate(proto_dir: &Path, out_dir: &Path) {
    let _ = fs::remove_dir_all(out_dir);
    fs::create_dir_all(out_dir).unwrap();
    tonic_prost_build::configure()
        .out_dir(out_dir)
        .emit_rerun_if_changed(false)
        // A constructor named `connect` would collide with the method Chaincode.Connect.
        .build_transport(false)
        // Map order must not depend on a hasher: some of these bytes are signed.
        .btree_map(".")
        .compile_fds(compile(proto_dir))
        .unwrap();
}

/// Compiles every file under `proto_dir`.
pub(crate) fn compile(proto_dir: &Path) -> prost_types::FileDescriptorSet {
    let mut files = Vec::new();
    collect_protos(proto_dir, &mut files);
    files.sort();
    protox::compile(&files, [proto_dir]).unwrap()
}

fn collect_protos(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_protos(&path, files);
        } else if path.extension().is_some_and(|e| e == "proto") {
            files.push(path);
        }
    }
}

fn read_all(dir: &Path) -> BTreeMap<String, String> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}
