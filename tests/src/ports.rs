//! Free TCP ports for programs that must be told theirs before they start.

use std::net::{Ipv4Addr, TcpListener};

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
