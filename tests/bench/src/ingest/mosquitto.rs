//! Mosquitto, with its persistence on, for comparison.

use std::{fs, path::Path, path::PathBuf};

use anyhow::{Context as _, Result};
use salus_tests::{
    binaries, ports,
    process::{Process, Spec, until_listening},
};

use super::usage;

/// A running mosquitto.
pub(super) struct Mosquitto {
    process: Process,
    address: String,
}

impl Mosquitto {
    /// Whether the program is here.
    pub(super) fn is_here() -> bool {
        program().is_some()
    }

    /// Starts it with its data in `dir`.
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let [port] = ports::free()?;
        let address = format!("127.0.0.1:{port}");
        let config = dir.join("mosquitto.conf");
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n\
             persistence true\npersistence_location {}/\nautosave_interval 1\n\
             max_inflight_messages 100\nlog_dest none\nuser root\n",
            dir.display()
        );
        fs::write(&config, text)?;
        let program = program().context("mosquitto is not here")?;
        let spec = Spec::new("mosquitto", &program, dir).option("-c", config);
        let mut process = Process::start(spec)?;
        until_listening(&mut process, &address).await?;
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Processor time it has used, seconds.
    pub(super) fn processor_seconds(&self) -> f64 {
        usage::processor_seconds(&self.process)
    }

    pub(super) async fn stop(self) -> Result<()> {
        self.process.stop().await?;
        Ok(())
    }
}

fn program() -> Option<PathBuf> {
    // Debian keeps it where daemons are, which is not on everybody's PATH.
    let debian = PathBuf::from("/usr/sbin/mosquitto");
    binaries::outside("mosquitto").or_else(|| debian.is_file().then_some(debian))
}
