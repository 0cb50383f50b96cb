//! Pages over private composite keys.
//!
//! Peers know no bookmarks for private data, so a page ends at a key and the next one starts
//! behind it. Only evaluated transactions scan: peers refuse private ranges beside writes.

use std::collections::VecDeque;

use contract_interface::limits::PAGE_KEYS_SCANNED_MAX;
use contract_interface::names::collections;
use contract_interface::{ErrorCode, PageRequest, PageToken};
use fabric_shim::{KeyValue, Stub, create_composite_key};

use crate::failure::Failure;

/// Keys with these leading attributes.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    object_type: &'static str,
    attributes: Vec<String>,
    /// Attributes behind the prefix before which nothing is looked at.
    from: Option<String>,
}

impl Prefix {
    /// All keys with these leading attributes.
    pub(crate) fn new(object_type: &'static str, attributes: Vec<String>) -> Self {
        Self {
            object_type,
            attributes,
            from: None,
        }
    }

    /// Only those whose next attribute is not less than `from`.
    pub(crate) fn starting_at(self, from: Option<String>) -> Self {
        Self { from, ..self }
    }

    fn attributes(&self) -> Vec<&str> {
        self.attributes.iter().map(String::as_str).collect()
    }

    fn text(&self) -> Result<String, Failure> {
        Ok(create_composite_key(self.object_type, &self.attributes())?)
    }

    /// The key behind which the first page starts: less than all that are wanted.
    fn first(&self) -> Result<String, Failure> {
        match &self.from {
            None => Ok(String::new()),
            Some(from) => {
                let mut attributes = self.attributes();
                attributes.push(from);
                Ok(create_composite_key(self.object_type, &attributes)?)
            }
        }
    }
}

/// Walks through the keys of several prefixes, one after the other, in the collection `records`.
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    stub: &'a Stub,
    prefixes: VecDeque<Prefix>,
    after: Option<String>,
    open: Option<fabric_shim::StateIterator<'a>>,
    last: Option<String>,
    scanned: usize,
}

impl<'a> Scan<'a> {
    /// Starts where the page's token says.
    pub(crate) fn new(
        stub: &'a Stub,
        prefixes: Vec<Prefix>,
        page: &PageRequest,
    ) -> Result<Self, Failure> {
        let mut prefixes = VecDeque::from(prefixes);
        let mut after = None;
        if let Some(token) = &page.page_token {
            let foreign = || {
                Failure::new(
                    ErrorCode::PageTokenInvalid,
                    "the page token is not of this query",
                )
            };
            let key = token.key().ok_or_else(foreign)?;
            while let Some(prefix) = prefixes.front() {
                // A token from before `from` would widen the query.
                if key.starts_with(&prefix.text()?) && key >= prefix.first()? {
                    break;
                }
                prefixes.pop_front();
            }
            if prefixes.is_empty() {
                return Err(foreign());
            }
            after = Some(key);
        }
        Ok(Self {
            stub,
            prefixes,
            after,
            open: None,
            last: None,
            scanned: 0,
        })
    }

    /// The next key and value; none at the end, or when enough keys were looked at for one page.
    pub(crate) async fn next(&mut self) -> Result<Option<KeyValue>, Failure> {
        loop {
            if self.scanned >= PAGE_KEYS_SCANNED_MAX {
                return Ok(None);
            }
            let iterator = match &mut self.open {
                Some(iterator) => iterator,
                None => {
                    let Some(prefix) = self.prefixes.front() else {
                        return Ok(None);
                    };
                    let after = match self.after.take() {
                        Some(after) => after,
                        None => prefix.first()?,
                    };
                    let iterator = self
                        .stub
                        .get_private_data_by_partial_composite_key_after(
                            collections::RECORDS,
                            prefix.object_type,
                            &prefix.attributes(),
                            &after,
                        )
                        .await?;
                    self.open.insert(iterator)
                }
            };
            match iterator.next().await? {
                Some(found) => {
                    self.scanned += 1;
                    self.last = Some(found.key.clone());
                    return Ok(Some(found));
                }
                None => {
                    self.open = None;
                    self.prefixes.pop_front();
                }
            }
        }
    }

    /// The token with which the next page goes on; none if all keys were looked at.
    pub(crate) async fn finish(mut self) -> Result<Option<PageToken>, Failure> {
        let Some(last) = self.last.take() else {
            return Ok(None);
        };
        let more = match &mut self.open {
            Some(iterator) => iterator.next().await?.is_some() || self.prefixes.len() > 1,
            None => !self.prefixes.is_empty(),
        };
        if let Some(iterator) = self.open.take() {
            iterator.close().await?;
        }
        Ok(more.then(|| PageToken::from_key(&last)))
    }
}
