//! `salus anchors`.

use anyhow::Result;
use contract_interface::Digest;
use salus::{Profile, trust::Trust};
use serde::Serialize;

use crate::output::Output;

/// A pinned root CA.
#[derive(Debug, Serialize)]
struct Pinned {
    organization: String,
    sha256: String,
    subject: String,
}

/// Lists what the profile pins, to be compared with what the organisations themselves say.
pub(crate) fn list(profile: &Profile, out: Output) -> Result<()> {
    let trust = Trust::of(profile)?;
    let pinned: Vec<Pinned> = trust
        .roots()
        .map(|(msp_id, root)| Pinned {
            organization: msp_id.to_string(),
            sha256: Digest::from_bytes(root.thumbprint()).to_string(),
            subject: root.subject(),
        })
        .collect();
    out.list(&pinned, ["ORGANISATION", "SHA-256", "SUBJECT"], |anchor| {
        [
            anchor.organization.clone(),
            anchor.sha256.clone(),
            anchor.subject.clone(),
        ]
    })?;
    Ok(())
}
