//! One run of a transaction, seen from the stream: what is on the wire, what waits.

use std::collections::VecDeque;

use super::{Outcome, Request, Waiter};

/// The requests and the result of one run.
#[derive(Debug)]
pub(super) struct Run<W> {
    pub(super) serial: u64,
    /// The request on the wire, and who waits for its reply.
    outstanding: Option<Option<W>>,
    queue: VecDeque<(Request, Option<W>)>,
    result: Option<Outcome>,
    cut_off: bool,
}

impl<W: Waiter> Run<W> {
    pub(super) fn new(serial: u64) -> Self {
        Self {
            serial,
            outstanding: None,
            queue: VecDeque::new(),
            result: None,
            cut_off: false,
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off
    }

    pub(super) fn enqueue(&mut self, request: Request, waiter: Option<W>) {
        self.queue.push_back((request, waiter));
    }

    /// The request to send now: none while another is on the wire. Requests that nobody waits
    /// for any more are dropped.
    pub(super) fn next_request(&mut self) -> Option<Request> {
        if self.outstanding.is_some() {
            return None;
        }
        while let Some((request, waiter)) = self.queue.pop_front() {
            if waiter.as_ref().is_some_and(Waiter::is_abandoned) {
                continue;
            }
            self.outstanding = Some(waiter);
            return Some(request);
        }
        None
    }

    /// The waiter of the request whose reply has come; `None` when no request is on the wire.
    pub(super) fn take_outstanding(&mut self) -> Option<Option<W>> {
        self.outstanding.take()
    }

    /// Keeps the result until the wire is free. What is queued has no effect any more: the peer
    /// closes a transaction's iterators itself.
    pub(super) fn finish(&mut self, outcome: Outcome) {
        self.queue.clear();
        self.result = Some(outcome);
    }

    /// The result, once nothing is on the wire. The inner `None` means that nobody takes it.
    pub(super) fn take_result(&mut self) -> Option<Option<Outcome>> {
        if self.outstanding.is_some() {
            return None;
        }
        let outcome = self.result.take()?;
        Some((!self.cut_off).then_some(outcome))
    }

    /// Lets no more requests through and no result out; yields those who wait.
    pub(super) fn cut_off(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.cut_off = true;
        let waiting = std::mem::take(&mut self.queue);
        let outstanding = self.outstanding.as_mut().and_then(Option::take);
        outstanding
            .into_iter()
            .chain(waiting.into_iter().filter_map(|(_, waiter)| waiter))
    }
}
