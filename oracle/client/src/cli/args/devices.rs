//! Devices, as administrators and installers see them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use contract_interface::{DeviceId, Pseudonym, UtcTime};

use super::forms::{Until, until};

#[derive(Debug, Subcommand)]
pub(crate) enum DevicesCommand {
    /// Make a one-time token with which a new device gets its certificate, bound to a patient. For
    /// administrators and installers.
    Enrol(DevicesEnrol),
    /// Make such a token for a device that is registered and is to get another key; it keeps its binding.
    Token(DevicesToken),
    /// Register a device that has a certificate, and bind it to a patient.
    Add(DevicesAdd),
    /// Bind a device to another patient; the binding before ends then.
    Bind(DevicesBind),
    /// End a device's binding: it measures nobody from then on.
    Unbind(DevicesUnbind),
    /// Take a device out of use; its connections end at once.
    Suspend(DevicesStatus),
    /// Take a suspended device into use again.
    Resume(DevicesStatus),
    /// Take a device out of use for good, as when it was stolen.
    Revoke(DevicesStatus),
    /// Show a device and its bindings.
    Show {
        /// The device ID.
        #[arg(long)]
        device: DeviceId,
    },
    /// List your organisation's devices.
    List,
}

/// Whom a device measures.
#[derive(Debug, Args)]
pub(crate) struct Measured {
    /// Whom it measures.
    #[arg(long, value_name = "PSEUDONYM")]
    pub(crate) patient: Pseudonym,
    /// From when it measures this patient; readings before are refused. Now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<UtcTime>,
}

#[derive(Debug, Args)]
pub(crate) struct TokenWishes {
    /// How long the token is good: 30m, 4h, 2d. As long as the oracle allows, if left out.
    #[arg(long, value_name = "WHILE", value_parser = lifetime)]
    pub(crate) lifetime: Option<Duration>,
    /// Write the token into this new file, for you alone, instead of printing it.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesEnrol {
    /// The device ID, which becomes the common name of its certificate.
    #[arg(long)]
    pub(crate) device: DeviceId,
    #[command(flatten)]
    pub(crate) measured: Measured,
    /// Until when, itself not included.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<UtcTime>,
    #[command(flatten)]
    pub(crate) token: TokenWishes,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesToken {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    #[command(flatten)]
    pub(crate) token: TokenWishes,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesAdd {
    /// The device ID: the common name of its certificate.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// The device's certificate (PEM).
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    #[command(flatten)]
    pub(crate) measured: Measured,
}

#[derive(Debug, Args)]
#[command(mut_arg("from", |from| from.help("From when. Now, if left out")))]
pub(crate) struct DevicesBind {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    #[command(flatten)]
    pub(crate) measured: Measured,
    /// Until when, itself not included.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<UtcTime>,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesUnbind {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// From when it measures nobody. Now, if left out.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<UtcTime>,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesStatus {
    /// The device ID.
    #[arg(long)]
    pub(crate) device: DeviceId,
    /// Since when, if that was earlier: readings before stay welcome. Not for `resume`.
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<UtcTime>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    match until(text)? {
        Until::Seconds(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds.unsigned_abs())),
        _ => Err(format!("{text:?} is no while like 30m, 4h, 2d")),
    }
}
