//! What the runner says to whoever wants to try by hand.

use std::path::PathBuf;

use serde_json::json;

use super::Cast;
use crate::{binaries, system::System};

/// What someone needs to publish and query by hand.
#[must_use]
pub fn by_hand(system: &System, cast: &Cast) -> Vec<String> {
    let patient = &cast.patients[0];
    let home = |path: PathBuf| path.display().to_string();
    let (_, port) = system.mqtt_address().rsplit_once(':').unwrap_or_default();
    let signcert = cast
        .provider
        .certificate_file()
        .map(home)
        .unwrap_or_default();
    let observation = json!({
        "resourceType": "Observation",
        "status": "final",
        "code": { "coding": [{ "system": "http://loinc.org", "code": "8867-4" }] },
        "effectiveDateTime": "2026-01-01T12:00:00Z",
        "valueQuantity": {
            "value": 72, "unit": "/min", "system": "http://unitsofmeasure.org", "code": "/min",
        },
    });
    vec![
        format!(
            "mosquitto_pub -h localhost -p {port} -V 5 -q 1 -i {id} --cafile {ca} --cert {cert} --key {key} \
             -t v1/devices/{id}/observations -m '{observation}'",
            id = patient.device.id,
            ca = home(system.consortium.oracle_ca_file()),
            cert = home(patient.device.file("client.crt")),
            key = home(patient.device.file("client.key")),
        ),
        format!(
            "curl --cacert {ca} --cert {signcert} --key {key} 'https://localhost:{rest}/v1/records?patient={patient}'",
            ca = home(system.consortium.oracle_ca_file()),
            key = home(cast.provider.home.join("msp/keystore/priv_sk")),
            rest = system.rest_address().rsplit(':').next().unwrap_or_default(),
            patient = patient.pseudonym,
        ),
        format!(
            "{} --profile {} records read --patient {} --purpose TREAT",
            binaries::ours("salus").map(home).unwrap_or_default(),
            home(cast.provider.profile.clone()),
            patient.pseudonym,
        ),
    ]
}
