//! Wills: what is published when a device is gone without saying so.
//!
//! A will goes to the device's own status topic only. It is discarded by a DISCONNECT of reason 0 and published after
//! every other end of the connection: at once, or after MQTT 5's Will Delay Interval, unless the session ends before
//! (then it is published with its end) or is resumed before (then it is forgotten). When the front stops, all
//! sessions end. A process that is killed publishes no wills.

use std::sync::Arc;
use std::time::Duration;

use contract_interface::DeviceId;
use rumqttd::protocol::{LastWill, LastWillProperties};
use tokio::sync::oneshot;

use super::Front;
use super::refusal::ConnectRefusal;
use super::status::{Message, StatusError};
use crate::ingest::topic;

/// A will as the CONNECT announced it.
#[derive(Debug)]
pub(super) struct Will {
    message: Message,
    delay: Duration,
}

impl Will {
    /// Checks a CONNECT's will.
    pub(super) fn accept(
        device: &DeviceId,
        will: LastWill,
        properties: Option<LastWillProperties>,
    ) -> Result<Self, ConnectRefusal> {
        if !topic::is_status(device, &will.topic) {
            return Err(ConnectRefusal::WillTopic);
        }
        let delay = properties.as_ref().and_then(|p| p.delay_interval);
        let message = Message::of_will(will, properties).map_err(|error| match error {
            StatusError::TooLarge => ConnectRefusal::WillTooLarge,
            _ => ConnectRefusal::WillMalformed,
        })?;
        Ok(Self {
            message,
            delay: Duration::from_secs(u64::from(delay.unwrap_or(0))),
        })
    }

    /// How long it waits after a connection whose session is kept for `kept`.
    fn wait(&self, kept: Option<Duration>) -> Duration {
        kept.map_or(Duration::ZERO, |kept| self.delay.min(kept))
    }
}

/// A will whose connection has ended.
#[derive(Debug)]
#[must_use]
pub(super) struct Due {
    will: Will,
    device: DeviceId,
    /// Name of the session it belongs to.
    session: String,
    wait: Duration,
    /// Rings when the session is resumed; breaks off when it ends.
    resumed: Option<oneshot::Receiver<()>>,
}

impl Due {
    /// The will of a session that is kept for so long; the other end is for the session.
    pub(super) fn new(
        will: Will,
        device: DeviceId,
        session: String,
        kept: Option<Duration>,
    ) -> (Self, Option<oneshot::Sender<()>>) {
        let wait = will.wait(kept);
        let (resume, resumed) = match wait.is_zero() {
            true => (None, None),
            false => {
                let (resume, resumed) = oneshot::channel();
                (Some(resume), Some(resumed))
            }
        };
        let due = Self {
            will,
            device,
            session,
            wait,
            resumed,
        };
        (due, resume)
    }

    /// Publishes it in its time, unless the session is resumed.
    pub(super) async fn publish(self, front: Arc<Front>) {
        if let Some(resumed) = self.resumed {
            tokio::select! {
                () = tokio::time::sleep(self.wait) => {}
                () = front.stopping.cancelled() => {}
                resumed = resumed => if resumed.is_ok() {
                    return;
                },
            }
        }
        metrics::counter!("salus_mqtt_wills_total").increment(1);
        let message = self.will.message;
        let published = front.statuses.publish(&self.device, message, &self.session);
        match published.await {
            Ok(()) => tracing::info!(device = %self.device, "will published"),
            Err(error) => {
                tracing::warn!(device = %self.device, %error, "a will could not be published");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rumqttd::protocol::QoS;

    use super::*;

    fn device() -> DeviceId {
        "hr-1".parse().unwrap()
    }

    fn will(topic: &str, bytes: usize) -> LastWill {
        LastWill {
            topic: Bytes::copy_from_slice(topic.as_bytes()),
            message: Bytes::from(vec![b'x'; bytes]),
            qos: QoS::ExactlyOnce,
            retain: true,
        }
    }

    fn delayed(seconds: u32) -> Option<LastWillProperties> {
        Some(LastWillProperties {
            delay_interval: Some(seconds),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        })
    }

    #[test]
    fn wills_are_for_the_own_status_topic_and_small() {
        let own = topic::status(&device());
        for (will, refusal) in [
            (will(&own, 10), None),
            (
                will("v1/devices/hr-2/status", 10),
                Some(ConnectRefusal::WillTopic),
            ),
            (
                will("v1/devices/hr-1/observations", 10),
                Some(ConnectRefusal::WillTopic),
            ),
            (will(&own, 9 << 10), Some(ConnectRefusal::WillTooLarge)),
        ] {
            let accepted = Will::accept(&device(), will, None);
            assert_eq!(accepted.err(), refusal);
        }
    }

    #[test]
    fn a_will_waits_no_longer_than_its_session_is_kept() {
        let hour = Duration::from_secs(3600);
        for (delay, kept, wait) in [
            (0, Some(hour), 0),
            (60, None, 0),
            (60, Some(hour), 60),
            (7200, Some(hour), 3600),
        ] {
            let will = will(&topic::status(&device()), 1);
            let will = Will::accept(&device(), will, delayed(delay)).unwrap();
            assert_eq!(will.wait(kept), Duration::from_secs(wait));
            let (due, resume) = Due::new(will, device(), String::new(), kept);
            assert_eq!(due.resumed.is_some(), wait > 0);
            assert_eq!(resume.is_some(), wait > 0);
        }
    }
}
