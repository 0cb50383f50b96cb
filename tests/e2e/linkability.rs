//! What the channel shows: PRIVACY.md lists it item by item, and here a whole ledger is taken
//! apart and held against the list. Then everything that is known of the patients, and only to
//! those who may know it, is looked for in the blocks: as text, as bytes, in hexadecimal and
//! base64, and under SHA-256.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use base64::{Engine as _, engine::general_purpose};
use contract_interface::Digest;
use salus_tests::{
    binaries,
    decoded::Decoded,
    ledger::Ledger,
    readings::{self, PatientReadings},
    story::{self, Cast},
    system::{CHAINCODE, Platform, System},
};

use crate::support::{Silent, is_here};

#[tokio::test]
async fn the_embedded_channel_shows_what_privacy_md_lists() {
    channel_shows_what_is_listed(Platform::EMBEDDED).await;
}

#[tokio::test]
async fn a_real_channel_shows_what_privacy_md_lists() {
    let test = "a_real_channel_shows_what_privacy_md_lists";
    if is_here(test, Platform::REAL) {
        channel_shows_what_is_listed(Platform::REAL).await;
    }
}

async fn channel_shows_what_is_listed(platform: Platform) {
    let dir = tempfile::tempdir().unwrap();
    let input = readings::generate(2, 12, 77);
    let mut system = System::start(platform, dir.path()).await.unwrap();
    let (_, cast) = story::play(&mut system, &input, &mut Silent).await.unwrap();
    let ledger = Ledger::connect(system.network.info(), 0).unwrap();
    let blocks = ledger.blocks().await.unwrap();
    system.stop().await.unwrap();

    let decoded = Decoded::of(&blocks, CHAINCODE).unwrap();
    everything_was_done(&decoded);
    everything_is_listed(&decoded);
    nothing_known_of_patients_is_there(&decoded, &secrets(&cast, &input));
    readers_are_in_the_directory_only(&decoded, &cast);
}

/// The job must have used what the table is about.
fn everything_was_done(decoded: &Decoded) {
    let functions: BTreeSet<&str> = decoded
        .pieces
        .iter()
        .filter_map(|piece| piece.function.rsplit(':').next())
        .collect();
    for wanted in [
        "RegisterParticipant",
        "RegisterDevice",
        "RegisterRecords",
        "RequestAccess",
        "GrantAccess",
        "AuthorizeRead",
        "DeclareEmergency",
        "ReviewEmergency",
        "EraseRecord",
        "ConfirmRemoval",
        "CompleteErasure",
        "Tick",
    ] {
        assert!(
            functions.contains(wanted),
            "no {wanted} among {functions:?}"
        );
    }
}

/// The rows of PRIVACY.md's table of the channel: `Function: place` to its members.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let path = binaries::workspace_root().join("PRIVACY.md");
    let text = fs::read_to_string(path).unwrap();
    let (_, after) = text.split_once("## What the channel shows").unwrap();
    let table = after.split("\n## ").next().unwrap();
    let mut rows = BTreeMap::new();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let members = quoted(cells[2]).map(str::to_owned).collect();
        for place in quoted(cells[1]) {
            rows.insert(place.to_owned(), BTreeSet::clone(&members));
        }
    }
    assert!(rows.len() > 20, "the table of PRIVACY.md was not found");
    rows
}

/// What stands between back-quotes.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn everything_is_listed(decoded: &Decoded) {
    let listed = listed();
    let mut missing = Vec::new();
    for ((function, place), members) in decoded.members() {
        let function = function.rsplit(':').next().unwrap_or_default();
        let row = listed
            .get(&format!("{function}: {place}"))
            .or_else(|| listed.get(&format!("any: {place}")));
        match row {
            None => missing.push(format!("`{function}: {place}`, with {members:?}")),
            Some(row) => missing.extend(
                members
                    .iter()
                    .filter(|member| !row.contains(*member) && !is_organization(member))
                    .map(|member| format!("`{member}` of `{function}: {place}`")),
            ),
        }
    }
    assert!(
        missing.is_empty(),
        "PRIVACY.md does not list {}",
        missing.join("; ")
    );
}

/// Whether a member's name is an organisation: a map from organisations to something.
fn is_organization(member: &str) -> bool {
    ["Org1MSP", "Org2MSP"].contains(&member)
}

/// A secret by name, in one of its forms.
struct Secret {
    what: String,
    bytes: Vec<u8>,
}

/// Everything about the patients that the channel must not show.
fn secrets(cast: &Cast, input: &[PatientReadings]) -> Vec<Secret> {
    let mut texts: BTreeSet<(String, String)> = BTreeSet::new();
    let mut add = |what: &str, text: &str| {
        texts.insert((what.to_owned(), text.to_owned()));
    };
    for patient in &cast.patients {
        add("pseudonym", &patient.pseudonym.to_string());
        add("patient's name", &patient.person.name);
        add("device", &patient.device.id);
        let certificate = fs::read_to_string(patient.person.certificate_file().unwrap()).unwrap();
        let middle: String = certificate.lines().skip(4).take(2).collect();
        add("patient's certificate", &middle);
        let key = fs::read_to_string(patient.person.public_key_file()).unwrap();
        let key: serde_json::Value = serde_json::from_str(&key).unwrap();
        add("patient's key", &key["n"].as_str().unwrap()[10..60]);
    }
    for patient in input {
        for observation in &patient.observations {
            let value: serde_json::Value = serde_json::from_str(observation).unwrap();
            let coding = &value["code"]["coding"][0];
            add("code", coding["code"].as_str().unwrap());
            add("code's display", coding["display"].as_str().unwrap());
            add("time", value["effectiveDateTime"].as_str().unwrap());
            add("day", &value["effectiveDateTime"].as_str().unwrap()[..10]);
            add("reading's ID", value["id"].as_str().unwrap());
        }
    }
    for purpose in ["TREAT", "HRESCH", "PATRQT", "NO_GRANT", "GRANTED"] {
        add("purpose or reason", purpose);
    }
    let mut secrets = Vec::new();
    for (what, text) in texts {
        if let Ok(bytes) = hex::decode(&text)
            && bytes.len() >= 8
        {
            secrets.push(Secret {
                what: format!("{what} {text} as bytes"),
                bytes,
            });
        }
        secrets.push(Secret {
            what: format!("{what} {text}"),
            bytes: text.into_bytes(),
        });
    }
    secrets
}

fn nothing_known_of_patients_is_there(decoded: &Decoded, secrets: &[Secret]) {
    for secret in secrets {
        for (form, needle) in forms(&secret.bytes) {
            for piece in &decoded.pieces {
                assert!(
                    !contains(&piece.bytes, &needle),
                    "{} ({form}) stands in `{}: {}`",
                    secret.what,
                    piece.function,
                    piece.place
                );
            }
            // Short texts turn up in signatures by chance; eight bytes do not.
            if needle.len() >= 8 {
                for block in &decoded.raw {
                    assert!(
                        !contains(block, &needle),
                        "{} ({form}) stands in a block",
                        secret.what
                    );
                }
            }
        }
    }
}

/// The forms in which a secret could stand in a block.
fn forms(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("as it is", secret.to_vec()),
        ("SHA-256", Digest::of(secret).as_bytes().to_vec()),
        (
            "SHA-256 in hexadecimal",
            Digest::of(secret).to_string().into_bytes(),
        ),
        (
            "SHA-256 of its JSON",
            Digest::of(&[b"\"", secret, b"\""].concat())
                .as_bytes()
                .to_vec(),
        ),
    ];
    if secret.len() >= 5 {
        forms.push(("hexadecimal", hex::encode(secret).into_bytes()));
        // At each of the three alignments, without the characters that hold bits of what stands
        // before and behind.
        for (shift, mixed) in [(0, 0), (1, 2), (2, 3)] {
            let shifted = [&vec![b' '; shift][..], secret].concat();
            let text = general_purpose::STANDARD_NO_PAD.encode(&shifted);
            let end = text.len() - usize::from(shifted.len() % 3 != 0);
            forms.push(("base64", text.as_bytes()[mixed..end].to_vec()));
        }
    }
    forms
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}

/// A reader is public as a member of the consortium, and nowhere else: not in what says that
/// someone read, was granted or was refused something.
fn readers_are_in_the_directory_only(decoded: &Decoded, cast: &Cast) {
    let id = cast.provider_id.to_string();
    for piece in &decoded.pieces {
        let directory = piece.function.ends_with("RegisterParticipant")
            || piece.function.ends_with("RotateKey");
        assert!(
            directory || !contains(&piece.bytes, id.as_bytes()),
            "the reader's ID stands in `{}: {}`",
            piece.function,
            piece.place
        );
    }
}
