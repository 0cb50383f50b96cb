//! Where programs are: our own beside this one, Fabric's and Kubo's on `PATH` or in
//! `SALUS_FABRIC_BIN`.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// Names the folder that holds Fabric's and Kubo's programs when they are not on `PATH`.
pub const FABRIC_BIN_VAR: &str = "SALUS_FABRIC_BIN";

/// What a real Fabric network is made of.
pub const FABRIC_PROGRAMS: [&str; 4] = ["peer", "orderer", "configtxgen", "osnadmin"];

/// Returns the path of one of this workspace's programs, built beside the running one.
///
/// # Errors
/// When it is not there: the workspace's binaries have not been built.
pub fn ours(name: &str) -> Result<PathBuf> {
    let exe = env::current_exe()?;
    let dir = exe.parent().context("the running program has no folder")?;
    // Tests run from target/<profile>/deps, programs from target/<profile>.
    let dir = if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    };
    let path = dir.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built; run `cargo build --workspace --bins` first",
            path.display()
        );
    }
    Ok(path)
}

/// Finds a program of Fabric or Kubo, or `None`.
#[must_use]
pub fn outside(name: &str) -> Option<PathBuf> {
    let listed = env::var_os(FABRIC_BIN_VAR).map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    listed
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|candidate| is_executable(candidate))
}

/// The programs of `names` that are missing; empty when all are there.
#[must_use]
pub fn missing<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names
        .iter()
        .copied()
        .filter(|name| outside(name).is_none())
        .collect()
}

/// Says on standard error that a test is skipped and why. For use as
/// `if let Some(reason) = … { return skip(..) }` in tests that need outside programs.
pub fn report_skipped(test: &str, missing: &[&str]) {
    use std::io::Write as _;
    // Straight to the stream: the test harness captures the print macros.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: {} not on PATH or in {FABRIC_BIN_VAR}",
        missing.join(", ")
    );
}

/// Says on standard error that a test is skipped because something is not permitted here.
pub fn report_not_permitted(test: &str, what: &str) {
    use std::io::Write as _;
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED {test}: {what} is not permitted here"
    );
}

/// The repository's root folder, for the configuration files that it holds.
#[must_use]
pub fn workspace_root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
