//! The sections of what the process listens on: MQTT for devices, REST for people, and health.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::raw::{RawCallerOrganization, RawHealth, RawMqtt, RawRest};
use super::super::*;
use super::Sections;

const MESSAGES: RangeInclusive<u32> = 1..=1_000_000;
/// `[rest] concurrent_requests`: a number of requests.
const CONCURRENT_REQUESTS: RangeInclusive<u64> = 1..=65_536;
/// `[rest] max_body`.
const MAX_BODY: RangeInclusive<u64> = 1 << 10..=16 << 20;
/// `[rest] request_timeout`, `idle_timeout` and `stall_timeout`.
const REQUEST_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(600);

impl Sections {
    pub(super) fn mqtt(&mut self) -> Option<MqttConfig> {
        let raw: RawMqtt = self.section("mqtt")?;
        let listen = self.address("mqtt.listen", raw.listen);
        let certificate_file = self.path("mqtt.certificate_file", raw.certificate_file);
        let key_file = self.path("mqtt.key_file", raw.key_file);
        let client_msp_dir = self.path("mqtt.client_msp_dir", raw.client_msp_dir);
        let websocket_listen = match raw.websocket_listen {
            None => None,
            Some(text) => Some(self.address("mqtt.websocket_listen", Some(text))?),
        };
        let insecure_listen = match raw.insecure_listen {
            None => None,
            Some(text) => {
                let address = self.address("mqtt.insecure_listen", Some(text))?;
                if !address.ip().is_loopback() {
                    self.problem(
                        "mqtt.insecure_listen",
                        "must be a loopback address, since nothing on it is encrypted",
                    );
                }
                Some(address)
            }
        };
        let device_rate = self.message_rate(
            ["mqtt.device_messages_per_second", "mqtt.device_burst"],
            [raw.device_messages_per_second, raw.device_burst],
        );
        let organization_rate = self.message_rate(
            [
                "mqtt.organization_messages_per_second",
                "mqtt.organization_burst",
            ],
            [raw.organization_messages_per_second, raw.organization_burst],
        );
        Some(MqttConfig {
            listen: listen?,
            websocket_listen,
            certificate_file: certificate_file?,
            key_file: key_file?,
            client_msp_dir: client_msp_dir?,
            insecure_listen,
            device_rate,
            organization_rate,
        })
    }

    /// No number means no limit; a burst without a number limits nothing and is a mistake.
    pub(super) fn message_rate(
        &mut self,
        keys: [&str; 2],
        values: [Option<u32>; 2],
    ) -> Option<MessageRate> {
        let [per_second, burst] = values;
        let Some(per_second) = per_second else {
            if burst.is_some() {
                self.problem(keys[1], format!("needs {}", keys[0]));
            }
            return None;
        };
        let per_second = self.within(keys[0], per_second, &MESSAGES, u32::to_string)?;
        let burst = self.within(
            keys[1],
            burst.unwrap_or(per_second),
            &MESSAGES,
            u32::to_string,
        )?;
        Some(MessageRate {
            per_second: NonZeroU32::new(per_second)?,
            burst: NonZeroU32::new(burst)?,
        })
    }

    pub(super) fn rest(&mut self) -> Option<RestConfig> {
        let raw: RawRest = self.section("rest")?;
        let listen = self.address("rest.listen", raw.listen);
        let certificate_file = self.path("rest.certificate_file", raw.certificate_file);
        let key_file = self.path("rest.key_file", raw.key_file);
        let organizations = self.organizations(raw.organizations);
        let concurrent_requests = self.count(
            "rest.concurrent_requests",
            raw.concurrent_requests,
            DEFAULT_CONCURRENT_REQUESTS,
            &CONCURRENT_REQUESTS,
        );
        let request_timeout = self.duration(
            "rest.request_timeout",
            raw.request_timeout,
            DEFAULT_REQUEST_TIMEOUT,
            &REQUEST_TIMEOUT,
        );
        let max_body = self.size("rest.max_body", raw.max_body, DEFAULT_MAX_BODY, &MAX_BODY);
        let idle_timeout = self.duration(
            "rest.idle_timeout",
            raw.idle_timeout,
            DEFAULT_IDLE_TIMEOUT,
            &REQUEST_TIMEOUT,
        );
        let stall_timeout = self.duration(
            "rest.stall_timeout",
            raw.stall_timeout,
            DEFAULT_STALL_TIMEOUT,
            &REQUEST_TIMEOUT,
        );
        Some(RestConfig {
            listen: listen?,
            certificate_file: certificate_file?,
            key_file: key_file?,
            organizations: organizations?,
            open_for_readers: raw.open_for_readers.unwrap_or(false),
            concurrent_requests: concurrent_requests?,
            request_timeout: request_timeout?,
            max_body: max_body?,
            idle_timeout: idle_timeout?,
            stall_timeout: stall_timeout?,
            refusal_log: raw.refusal_log.map(|file| self.folder.join(file)),
        })
    }

    /// Absent, there is no such port; a wrong one is a problem.
    pub(super) fn health(&mut self) -> Option<SocketAddr> {
        let raw: RawHealth = self.section("health")?;
        let address = self.address("health.listen", Some(raw.listen?))?;
        if !address.ip().is_loopback() {
            self.problem(
                "health.listen",
                "must be a loopback address, since anybody who reaches it is answered",
            );
        }
        Some(address)
    }

    pub(super) fn organizations(
        &mut self,
        raw: Option<Vec<RawCallerOrganization>>,
    ) -> Option<Vec<CallerOrganization>> {
        let raw = raw.unwrap_or_default();
        if raw.is_empty() {
            self.problem(
                "rest.organizations",
                "missing; at least one organisation whose people may call, for example \
                 [{ msp_id = \"Org1MSP\", msp_dir = \"org1/msp\" }]",
            );
            return None;
        }
        let mut organizations: Vec<CallerOrganization> = Vec::with_capacity(raw.len());
        for (index, organization) in raw.into_iter().enumerate() {
            let id_key = format!("rest.organizations[{index}].msp_id");
            let msp_id = self.msp_id(&id_key, organization.msp_id);
            let dir_key = format!("rest.organizations[{index}].msp_dir");
            let msp_dir = self.path(&dir_key, organization.msp_dir);
            let (Some(msp_id), Some(msp_dir)) = (msp_id, msp_dir) else {
                continue;
            };
            if organizations.iter().any(|other| other.msp_id == msp_id) {
                self.problem(&id_key, "is named twice");
            }
            organizations.push(CallerOrganization { msp_id, msp_dir });
        }
        Some(organizations)
    }
}
