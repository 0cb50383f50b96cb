//! What the file says: every key optional, its plain TOML type, no key unknown.

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOrganization {
    pub(super) msp_id: Option<String>,
    pub(super) custody: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) role: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    pub(super) msp_dir: Option<String>,
    pub(super) encryption_key_file: Option<String>,
    pub(super) previous_encryption_key_files: Option<Vec<String>>,
    pub(super) encryption_public_key_files: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFabric {
    pub(super) channel: Option<String>,
    pub(super) chaincode: Option<String>,
    pub(super) endpoints: Option<Vec<RawEndpoint>>,
    pub(super) tls_ca_file: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEndpoint {
    pub(super) address: Option<String>,
    pub(super) server_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIpfs {
    pub(super) api: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMqtt {
    pub(super) listen: Option<String>,
    pub(super) websocket_listen: Option<String>,
    pub(super) certificate_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) client_msp_dir: Option<String>,
    pub(super) insecure_listen: Option<String>,
    pub(super) device_messages_per_second: Option<u32>,
    pub(super) device_burst: Option<u32>,
    pub(super) organization_messages_per_second: Option<u32>,
    pub(super) organization_burst: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRest {
    pub(super) listen: Option<String>,
    pub(super) certificate_file: Option<String>,
    pub(super) key_file: Option<String>,
    pub(super) organizations: Option<Vec<RawCallerOrganization>>,
    pub(super) open_for_readers: Option<bool>,
    pub(super) concurrent_requests: Option<u64>,
    pub(super) request_timeout: Option<String>,
    pub(super) max_body: Option<String>,
    pub(super) idle_timeout: Option<String>,
    pub(super) stall_timeout: Option<String>,
    pub(super) refusal_log: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCallerOrganization {
    pub(super) msp_id: Option<String>,
    pub(super) msp_dir: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHealth {
    pub(super) listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEnrolment {
    pub(super) ca_certificate_file: Option<String>,
    pub(super) ca_key_file: Option<String>,
    pub(super) dir: Option<String>,
    pub(super) validity: Option<String>,
    pub(super) token_lifetime: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJournal {
    pub(super) dir: Option<String>,
    pub(super) max_bytes: Option<String>,
    pub(super) fsync_window: Option<String>,
    pub(super) objects_max_bytes: Option<String>,
    pub(super) objects_expiry: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPipeline {
    pub(super) segment_readings: Option<u64>,
    pub(super) segment_bytes: Option<String>,
    pub(super) segment_age: Option<String>,
    pub(super) register_batch: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawJobs {
    pub(super) interval: Option<String>,
    pub(super) tick_interval: Option<String>,
}
