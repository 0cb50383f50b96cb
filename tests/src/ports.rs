//! Free TCP ports for programs that must be told theirs before they start.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use anyhow::{Context, Result};

/// Returns `N` different ports that are free on the loopback address now.
///
/// All are held until the last is chosen, so one call never names a port twice. Another program
/// may still take one before it is used; starting the process then fails and says so.
///
/// # Errors
/// When the system has no free port left.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Returns the ports that `dir` keeps under `name`, choosing free ones the first time, so that a
/// system taken up again is found where it was.
///
/// # Errors
/// When the folder cannot be written, or holds something else under that name.
pub fn kept<const N: usize>(dir: &Path, name: &str) -> Result<[u16; N]> {
    let file = dir.join("ports").join(format!("{name}.json"));
    if let Ok(bytes) = fs::read(&file) {
        let ports: Vec<u16> = serde_json::from_slice(&bytes)?;
        return <[u16; N]>::try_from(ports)
            .map_err(|ports| anyhow::anyhow!("{} holds {} ports", file.display(), ports.len()));
    }
    let ports = free::<N>()?;
    fs::create_dir_all(dir.join("ports"))?;
    fs::write(&file, serde_json::to_vec(&ports[..])?)?;
    Ok(ports)
}
