//! Free TCP ports for programs that must be told theirs before they start.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};

/// Ports are taken from here: below the range that Linux gives to outgoing connections, which
/// could otherwise take a port between its choice and its use.
const RANGE: Range<u16> = 10_240..32_768;

/// Returns `N` different ports that are free on the loopback address now.
///
/// Different processes start looking at different places, so they rarely meet; a port that another
/// program takes before it is used makes the process fail to start, and say so.
///
/// # Errors
/// When the system has no free port left.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = free_one()?;
    }
    Ok(ports)
}

fn free_one() -> Result<u16> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let span = u32::from(RANGE.end - RANGE.start);
    let start = std::process::id().wrapping_mul(7919);
    (0..span)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % span)
        .filter_map(|offset| u16::try_from(offset).ok())
        .map(|offset| RANGE.start + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on 127.0.0.1")
}

/// Returns the ports that `dir` keeps under `name`, choosing free ones the first time, so that a
/// system taken up again is found where it was.
///
/// # Errors
/// When the folder cannot be written, or holds something else under that name.
pub fn kept<const N: usize>(dir: &Path, name: &str) -> Result<[u16; N]> {
    let ports = kept_list(dir, name, N)?;
    <[u16; N]>::try_from(ports)
        .map_err(|ports| anyhow::anyhow!("{name} has {} ports, not {N}", ports.len()))
}

/// Returns `count` ports as [`kept`] does.
///
/// # Errors
/// As [`kept`].
pub fn kept_list(dir: &Path, name: &str, count: usize) -> Result<Vec<u16>> {
    let file = dir.join("ports").join(format!("{name}.json"));
    if let Ok(bytes) = fs::read(&file) {
        let ports: Vec<u16> = serde_json::from_slice(&bytes)?;
        ensure!(
            ports.len() == count,
            "{} holds {} ports, not {count}",
            file.display(),
            ports.len()
        );
        return Ok(ports);
    }
    let ports = (0..count).map(|_| free_one()).collect::<Result<Vec<_>>>()?;
    fs::create_dir_all(dir.join("ports"))?;
    fs::write(&file, serde_json::to_vec(&ports)?)?;
    Ok(ports)
}
