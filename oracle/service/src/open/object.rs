//! A sealed object on its way from the store to the reader.
//!
//! The store yields only bytes that match the CID. Here the whole is also compared with the hash
//! and size on the ledger: at once for a small object, so that a mismatch is a clean error; while
//! it streams for a large one, whose last chunk is held back until the hash is known to be right,
//! so that a wrong object never arrives whole.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use contract_interface::Digest;
use futures::{Stream, StreamExt};

use super::ReadError;
use crate::store::StoreError;

/// Bytes up to which an object is checked whole before its first byte goes out.
pub const WHOLE_OBJECT_BYTES_MAX: u64 = 1 << 20;

/// An object's verified bytes, at once or as they come.
pub struct Fetched {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, ReadError>> + Send + Sync>>,
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").finish_non_exhaustive()
    }
}

impl Fetched {
    /// The whole object in memory; the caller has looked at its size.
    ///
    /// # Errors
    ///
    /// [`ReadError::Store`] or [`ReadError::ObjectMismatch`].
    pub async fn collect(mut self) -> Result<Bytes, ReadError> {
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.stream.next().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole.freeze())
    }
}

impl Stream for Fetched {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

/// Compares a stream with what the ledger says of it; see the module docs.
pub(super) async fn verified<S>(stream: S, size: u64, sha256: Digest) -> Result<Fetched, ReadError>
where
    S: Stream<Item = Result<Bytes, StoreError>> + Send + Sync + 'static,
{
    let checked = Checked {
        stream: Box::pin(stream),
        hash: digest::Context::new(&digest::SHA256),
        left: size,
        sha256,
        held: None,
        ended: false,
    };
    let fetched = Fetched {
        stream: Box::pin(checked),
    };
    if size > WHOLE_OBJECT_BYTES_MAX {
        return Ok(fetched);
    }
    let whole = fetched.collect().await?;
    Ok(Fetched {
        stream: Box::pin(futures::stream::iter([Ok(whole)])),
    })
}

/// Hashes and counts what passes, one chunk behind.
struct Checked {
    stream: Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send + Sync>>,
    hash: digest::Context,
    /// Bytes still expected.
    left: u64,
    sha256: Digest,
    /// The last chunk that came, not yet given out.
    held: Option<Bytes>,
    ended: bool,
}

impl Checked {
    fn absorb(&mut self, chunk: &Bytes) -> Result<(), ReadError> {
        self.left = self
            .left
            .checked_sub(chunk.len() as u64)
            .ok_or(ReadError::ObjectMismatch)?;
        self.hash.update(chunk);
        Ok(())
    }

    fn is_right(&self) -> bool {
        self.left == 0 && self.hash.clone().finish().as_ref() == self.sha256.as_bytes()
    }
}

impl Stream for Checked {
    type Item = Result<Bytes, ReadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            match ready!(self.stream.as_mut().poll_next(context)) {
                Some(Ok(chunk)) => {
                    if let Err(error) = self.absorb(&chunk) {
                        self.ended = true;
                        self.held = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                    if let Some(before) = self.held.replace(chunk) {
                        return Poll::Ready(Some(Ok(before)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    self.held = None;
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    self.ended = true;
                    if !self.is_right() {
                        self.held = None;
                        return Poll::Ready(Some(Err(ReadError::ObjectMismatch)));
                    }
                }
            }
        }
        Poll::Ready(self.held.take().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(size: u64, hashed: &[u8], chunks: &[&'static [u8]]) -> (Vec<u8>, bool) {
        let stream: Vec<Result<Bytes, StoreError>> = chunks
            .iter()
            .map(|chunk| Ok(Bytes::from_static(chunk)))
            .collect();
        let mut checked = Checked {
            stream: Box::pin(futures::stream::iter(stream)),
            hash: digest::Context::new(&digest::SHA256),
            left: size,
            sha256: Digest::of(hashed),
            held: None,
            ended: false,
        };
        let mut arrived = Vec::new();
        while let Some(chunk) = checked.next().await {
            match chunk {
                Ok(chunk) => arrived.extend_from_slice(&chunk),
                Err(_) => return (arrived, false),
            }
        }
        (arrived, true)
    }

    #[tokio::test]
    async fn the_registered_object_passes_whole() {
        let table: [&[&'static [u8]]; 2] = [&[b"abcdef"], &[b"ab", b"cd", b"ef"]];
        for chunks in table {
            assert_eq!(
                check(6, b"abcdef", chunks).await,
                (b"abcdef".to_vec(), true)
            );
        }
        assert_eq!(check(0, b"", &[]).await, (Vec::new(), true));
    }

    #[tokio::test]
    async fn another_object_never_arrives_whole() {
        let table: [&[&'static [u8]]; 5] = [
            &[b"ab", b"cd", b"eX"],
            &[b"ab", b"cd"],
            &[b"ab", b"cd", b"ef", b"g"],
            &[b"Xb"],
            &[],
        ];
        for chunks in table {
            let (arrived, whole) = check(6, b"abcdef", chunks).await;
            assert!(!whole, "{chunks:?}");
            assert!(arrived.len() < chunks.concat().len().max(1), "{chunks:?}");
        }
    }
}
