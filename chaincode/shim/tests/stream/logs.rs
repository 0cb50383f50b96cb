//! What the operator sees in the log.

use std::{io, sync::LazyLock, time::Duration};

use fabric_shim::Limits;
use tokio::sync::broadcast;

use crate::{
    peer::{self, Peer},
    probe::Probe,
};

/// All lines that this process logs.
static LINES: LazyLock<broadcast::Sender<String>> = LazyLock::new(|| {
    let (lines, _) = broadcast::channel(1024);
    tracing_subscriber::fmt()
        .with_writer(|| Line(String::new()))
        .init();
    lines
});

struct Line(String);

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // Between tests nobody listens.
        let _ = LINES.send(std::mem::take(&mut self.0));
    }
}

async fn logged(lines: &mut broadcast::Receiver<String>, text: &str) {
    loop {
        match lines.recv().await {
            Ok(line) if line.contains(text) => return,
            Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_peer_that_does_not_register_the_chaincode_is_mentioned() {
    let mut lines = LINES.subscribe();
    let limits = Limits {
        registration: Duration::ZERO,
        ..Limits::default()
    };
    let running = peer::serve(limits, Probe::silent()).await;
    let mut peer = Peer::dial(running.address).await;
    logged(&mut lines, "the peer has not confirmed the registration").await;
    // A late confirmation is still taken.
    peer.handshake(vec![]).await;
    peer.is_quiet().await;
}

#[tokio::test]
async fn a_panics_text_is_in_the_log() {
    let mut lines = LINES.subscribe();
    let running = peer::serve(Limits::default(), Probe::silent()).await;
    let mut peer = Peer::old(running.address).await;
    peer.invoke("tx", &["Panics", "this particular text"]).await;
    peer.completed("tx").await;
    logged(&mut lines, "this particular text").await;
}
