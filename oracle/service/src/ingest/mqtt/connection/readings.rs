//! A PUBLISH on its way to the journal, and what the device is told of it.

use bytes::Bytes;
use rumqttd::protocol::DisconnectReasonCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::refusal::MessageRefusal;
use super::super::status::Message;
use super::super::wire::{Incoming, Version, WireError};
use super::super::{refusal, reply};
use super::{Connection, End, Peer};

use crate::ingest::intake::Taken;
use crate::ingest::topic::{self, Target, TopicError};

/// A message that the journal is asked to keep.
pub(super) struct Asked {
    pub(super) qos: u8,
    pub(super) pkid: u16,
    pub(super) payload: Bytes,
    /// When the message was read.
    began: Instant,
    pub(super) result: Result<Taken, MessageRefusal>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) async fn on_publish(&mut self, publish: Incoming) -> Result<(), End> {
        let began = Instant::now();
        metrics::counter!("salus_mqtt_received_total").increment(1);
        self.messages += 1;
        let v5 = self.peer.version == Version::V5;
        let properties = publish.properties.as_ref();
        if properties.is_some_and(|p| p.topic_alias.is_some()) {
            let code = DisconnectReasonCode::TopicAliasInvalid;
            return Err(End::Tell(code, "topic-alias-not-supported"));
        }
        if publish.qos == 2 && self.peer.lease.memory.unreleased.contains(&publish.pkid) {
            // Sent again before its release: it is kept already.
            self.extend(reply::kept(2, publish.pkid));
            return Ok(());
        }
        if topic::is_status(&self.peer.device, &publish.topic) {
            self.on_status(publish, began).await;
            return Ok(());
        }
        if v5 && publish.retain && self.target(&publish.topic, properties).is_ok() {
            self.answer(&publish, began, Err(MessageRefusal::Retained));
            return Ok(());
        }
        let Incoming {
            qos, pkid, payload, ..
        } = publish;
        // Submitted here, one after the other, so that the journal has the order of the messages.
        let submitted = match self.target(&publish.topic, properties) {
            Ok(target) => {
                let Peer {
                    device, thumbprint, ..
                } = &self.peer;
                let intake = &self.front.intake;
                intake.take(device, *thumbprint, target, &payload).await
            }
            Err(error) => Err(error.into()),
        };
        self.asking_bytes += payload.len();
        let place = self.large.take();
        self.asking.push_back(Box::pin(async move {
            let result = match submitted {
                Ok(keeping) => keeping.outcome().await,
                Err(error) => Err(error),
            };
            let result = result.map_err(MessageRefusal::from);
            drop(place);
            Asked {
                qos,
                pkid,
                payload,
                began,
                result,
            }
        }));
        Ok(())
    }

    /// Retains and passes on what the device says of itself. It is waited for: what comes after it in the same topic
    /// must not overtake it.
    async fn on_status(&mut self, publish: Incoming, began: Instant) {
        let origin = self.peer.lease.link_name();
        let result = match Message::of(publish.clone()) {
            Ok(message) => {
                let statuses = &self.front.statuses;
                statuses.publish(&self.peer.device, message, &origin).await
            }
            Err(error) => Err(error),
        };
        let result = result.map(|()| Taken::Kept).map_err(MessageRefusal::from);
        self.answer(&publish, began, result);
    }

    /// Answers in its turn a message that is decided on.
    fn answer(
        &mut self,
        publish: &Incoming,
        began: Instant,
        result: Result<Taken, MessageRefusal>,
    ) {
        let asked = Asked {
            qos: publish.qos,
            pkid: publish.pkid,
            payload: publish.payload.clone(),
            began,
            result,
        };
        self.asking_bytes += asked.payload.len();
        self.asking.push_back(Box::pin(std::future::ready(asked)));
    }

    fn target(
        &self,
        topic: &[u8],
        properties: Option<&rumqttd::protocol::PublishProperties>,
    ) -> Result<Target, TopicError> {
        let mut target = topic::target(&self.peer.device, topic)?;
        if let Target::Reading(hints) = &mut target
            && let Some(properties) = properties
        {
            for (name, value) in &properties.user_properties {
                topic::apply_property(hints, name, value)?;
            }
            if let Some(content_type) = &properties.content_type {
                hints.content_type = Some(content_type.clone());
            }
        }
        Ok(target)
    }

    /// The intake has decided on the oldest message asked about.
    pub(super) async fn answered(&mut self, asked: Asked) -> Result<(), End> {
        self.asking_bytes -= asked.payload.len();
        match asked.result {
            Ok(taken) => {
                let outcome = match taken {
                    Taken::Kept => "kept",
                    Taken::Duplicate => "duplicate",
                };
                metrics::counter!("salus_mqtt_taken_total", "outcome" => outcome).increment(1);
                metrics::histogram!("salus_mqtt_acknowledge_seconds")
                    .record(asked.began.elapsed().as_secs_f64());
                self.kept(asked.qos, asked.pkid);
                Ok(())
            }
            Err(error) => {
                let refusing = self.refused(asked.qos, asked.pkid, &asked.payload, error);
                Box::pin(refusing).await
            }
        }
    }

    async fn refused(
        &mut self,
        qos: u8,
        pkid: u16,
        payload: &[u8],
        error: MessageRefusal,
    ) -> Result<(), End> {
        let name = error.name();
        metrics::counter!("salus_mqtt_refused_total", "reason" => name).increment(1);
        tracing::info!(device = %self.peer.device, reason = name, bytes = payload.len(), "message refused");
        let says_why = self.peer.version == Version::V5 && qos > 0;
        if !says_why && !refusal::is_temporary(&error) {
            let intake = &self.front.intake;
            intake.dead_letter(&self.peer.device, name, payload).await;
        }
        match (self.peer.version, qos) {
            (Version::V5, 1 | 2) => {
                self.put(reply::refused(qos, pkid, &error));
                Ok(())
            }
            _ => Err(End::Tell(refusal::disconnect(&error), name)),
        }
    }

    /// 3.1.1 has no way to say what is wrong with a packet; the dead letter has.
    pub(super) async fn letter_for_packet(&mut self, error: WireError) {
        let name = refusal::wire_name(error);
        metrics::counter!("salus_mqtt_refused_total", "reason" => name).increment(1);
        if self.peer.version == Version::V4 {
            let intake = &self.front.intake;
            intake.dead_letter(&self.peer.device, name, &[]).await;
        }
    }
}
