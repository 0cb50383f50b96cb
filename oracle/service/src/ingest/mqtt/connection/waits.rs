//! What a connection waits for before it takes more: the time of a message above the rate, and a place for a large
//! packet.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rumqttd::protocol::DisconnectReasonCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::super::LARGE_PACKET_BYTES;
use super::super::pace::{Paid, Wait};
use super::super::wire::{self, Incoming};
use super::{Connection, End};

/// A PUBLISH that came too early.
pub(super) struct Held {
    pub(super) publish: Box<Incoming>,
    pub(super) until: Instant,
    pub(super) paid: Paid,
}

pub(super) type Waiting = Pin<Box<dyn Future<Output = Option<Place>> + Send>>;
/// One of the device's own places for large packets, and one of all devices'.
pub(super) type Place = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) async fn at_its_time(&mut self, publish: Box<Incoming>) -> Result<(), End> {
        self.pace(publish, Paid::default()).await?;
        match &self.held {
            None => self.above_since = None,
            Some(_) => metrics::counter!("salus_mqtt_delayed_total").increment(1),
        }
        Ok(())
    }

    /// Takes a PUBLISH if the rate allows; else it waits and nothing is read behind it.
    pub(super) async fn pace(&mut self, publish: Box<Incoming>, mut paid: Paid) -> Result<(), End> {
        match self.front.pace.pass(&self.peer.device, &mut paid) {
            Ok(()) => self.on_publish(*publish).await,
            Err(wait) => {
                self.above_rate(wait)?;
                let until = Instant::now() + wait.time();
                self.held = Some(Held {
                    publish,
                    until,
                    paid,
                });
                Ok(())
            }
        }
    }

    /// Other devices' messages are no fault of this one; its own for long are.
    pub(super) fn above_rate(&mut self, wait: Wait) -> Result<(), End> {
        if let Wait::Device(_) = wait {
            let since = *self.above_since.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.front.limits.above_rate {
                let code = DisconnectReasonCode::MessageRateTooHigh;
                return Err(End::Tell(code, "message-rate-too-high"));
            }
        }
        Ok(())
    }

    /// Asks for a place before the body of a large packet is read. Meanwhile the device waits in TCP.
    pub(super) fn want_place_for_large(&mut self) {
        let large = wire::announced(&self.input).is_some_and(|bytes| bytes > LARGE_PACKET_BYTES);
        if large && self.large.is_none() && self.large_wait.is_none() {
            let own = Arc::clone(&self.peer.lease.large);
            let shared = Arc::clone(&self.front.large);
            // The device's own first: one that waits for itself must not hold what others could use.
            self.large_wait = Some(Box::pin(async move {
                let own = own.acquire_owned().await.ok()?;
                Some((own, shared.acquire_owned().await.ok()?))
            }));
        }
    }
}

/// The message that waits for its time; never, if none does.
pub(super) async fn held_maybe(held: &mut Option<Held>) -> Held {
    if let Some(waiting) = held {
        tokio::time::sleep_until(waiting.until).await;
    }
    match held.take() {
        Some(held) => held,
        None => std::future::pending().await,
    }
}

/// The place waited for; never, if none is.
pub(super) async fn wait_maybe(waiting: &mut Option<Waiting>) -> Option<Place> {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}
