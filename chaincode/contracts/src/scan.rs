//! Pages over private composite keys.
//!
//! Peers know no bookmarks for private data, so a page ends at a key and the next one starts
//! behind it. Only evaluated transactions scan: peers refuse private ranges beside writes.
//!
//! That key may be of an entry that the caller must not see, so a token holds it sealed:
//! AES-256-GCM-SIV under a key that is derived from the blinding key, with a fixed nonce, which
//! that mode allows where every endorser must come to equal bytes. The associated data names the
//! query and the viewer, so a token serves no one else and nothing else.

use std::collections::VecDeque;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use contract_interface::limits::PAGE_KEYS_SCANNED_MAX;
use contract_interface::names::collections;
use contract_interface::{Digest, ErrorCode, PageRequest, PageToken, canonical_json};
use fabric_shim::{KeyValue, create_composite_key};
use serde::Serialize;

use crate::actor::Viewer;
use crate::failure::Failure;
use crate::keys::Blinding;
use crate::ledger::Ledger;

/// The member of a filter that says which page; all pages of one query share the others.
const PAGE_MEMBER: &str = "page";

/// Which query a page token is for: transaction, filter and viewer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query(Digest);

impl Query {
    /// The query `transaction` with `filter`, made for `viewer`.
    pub(crate) fn new<F: Serialize>(
        transaction: &str,
        filter: &F,
        viewer: &Viewer,
    ) -> Result<Self, Failure> {
        let mut filter = serde_json::to_value(filter).map_err(|_| Failure::corrupt("a filter"))?;
        if let Some(members) = filter.as_object_mut() {
            members.remove(PAGE_MEMBER);
        }
        let query = canonical_json(&(transaction, filter, viewer.tag()))?;
        Ok(Self(Digest::of(&query)))
    }

    /// Seals where a page ended.
    pub(crate) fn seal(&self, blinding: &Blinding, place: &str) -> Result<PageToken, Failure> {
        let mut bytes = place.as_bytes().to_vec();
        let (key, nonce) = token_key(blinding)?;
        key.seal_in_place_append_tag(nonce, Aad::from(self.0.as_bytes()), &mut bytes)
            .map_err(|_| Failure::corrupt("a page token"))?;
        Ok(PageToken::from_bytes(&bytes))
    }

    /// Opens a token of this query.
    pub(crate) fn open(&self, blinding: &Blinding, token: &PageToken) -> Result<String, Failure> {
        let foreign = || {
            Failure::new(
                ErrorCode::PageTokenInvalid,
                "the page token is not of this query",
            )
        };
        let mut bytes = token.bytes().ok_or_else(foreign)?;
        let (key, nonce) = token_key(blinding)?;
        let place = key
            .open_in_place(nonce, Aad::from(self.0.as_bytes()), &mut bytes)
            .map_err(|_| foreign())?;
        String::from_utf8(place.to_vec()).map_err(|_| foreign())
    }
}

fn token_key(blinding: &Blinding) -> Result<(LessSafeKey, Nonce), Failure> {
    let key = UnboundKey::new(&AES_256_GCM_SIV, blinding.token_key())
        .map_err(|_| Failure::corrupt("the blinding key"))?;
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    Ok((LessSafeKey::new(key), nonce))
}

/// Keys with these leading attributes.
#[derive(Debug, Clone)]
pub(crate) struct Prefix {
    object_type: &'static str,
    attributes: Vec<String>,
    /// Attributes behind the prefix before which nothing is looked at.
    from: Option<String>,
    /// Attribute behind the prefix after which nothing is looked at.
    to: Option<String>,
}

impl Prefix {
    /// All keys with these leading attributes.
    pub(crate) fn new(object_type: &'static str, attributes: Vec<String>) -> Self {
        Self {
            object_type,
            attributes,
            from: None,
            to: None,
        }
    }

    /// Only those whose next attribute is not less than `from`.
    pub(crate) fn starting_at(self, from: Option<String>) -> Self {
        Self { from, ..self }
    }

    /// Only those whose next attribute is not more than `to`.
    pub(crate) fn ending_at(self, to: Option<String>) -> Self {
        Self { to, ..self }
    }

    /// Whether a key with this prefix comes after all that are wanted.
    fn is_passed_by(&self, key: &str) -> Result<bool, Failure> {
        let Some(to) = &self.to else {
            return Ok(false);
        };
        let mut attributes = self.attributes();
        attributes.push(to);
        let last = create_composite_key(self.object_type, &attributes)?;
        Ok(key > last.as_str() && !key.starts_with(&last))
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
    ledger: &'a Ledger<'a>,
    query: Query,
    prefixes: VecDeque<Prefix>,
    after: Option<String>,
    open: Option<fabric_shim::StateIterator<'a>>,
    last: Option<String>,
    scanned: usize,
}

impl<'a> Scan<'a> {
    /// Starts where the page's token says.
    pub(crate) fn new(
        ledger: &'a Ledger<'a>,
        prefixes: Vec<Prefix>,
        page: &PageRequest,
        query: Query,
    ) -> Result<Self, Failure> {
        let mut prefixes = VecDeque::from(prefixes);
        let mut after = None;
        if let Some(token) = &page.page_token {
            let key = query.open(&ledger.blinding, token)?;
            while let Some(prefix) = prefixes.front()
                && !key.starts_with(&prefix.text()?)
            {
                prefixes.pop_front();
            }
            after = Some(key);
        }
        Ok(Self {
            ledger,
            query,
            prefixes,
            after,
            open: None,
            last: None,
            scanned: 0,
        })
    }

    /// The next key and value; none at the end, or when enough keys were looked at for one page.
    pub(crate) async fn next(&mut self) -> Result<Option<KeyValue>, Failure> {
        if self.scanned >= PAGE_KEYS_SCANNED_MAX {
            return Ok(None);
        }
        let found = self.advance().await?;
        if let Some(found) = &found {
            self.scanned += 1;
            self.last = Some(found.key.clone());
        }
        Ok(found)
    }

    /// The next key and value of the prefix at hand, else of the next one.
    async fn advance(&mut self) -> Result<Option<KeyValue>, Failure> {
        loop {
            let Some(prefix) = self.prefixes.front() else {
                return Ok(None);
            };
            let iterator = match &mut self.open {
                Some(iterator) => iterator,
                None => {
                    let after = match self.after.take() {
                        Some(after) => after,
                        None => prefix.first()?,
                    };
                    let iterator = self
                        .ledger
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
                Some(found) if !prefix.is_passed_by(&found.key)? => return Ok(Some(found)),
                _ => {
                    self.close().await?;
                    self.prefixes.pop_front();
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Failure> {
        if let Some(iterator) = self.open.take() {
            iterator.close().await?;
        }
        Ok(())
    }

    /// The token with which the next page goes on; none if all keys were looked at.
    pub(crate) async fn finish(mut self) -> Result<Option<PageToken>, Failure> {
        let Some(last) = self.last.take() else {
            return Ok(None);
        };
        let more = self.advance().await?.is_some();
        self.close().await?;
        more.then(|| self.query.seal(&self.ledger.blinding, &last))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use contract_interface::{MspId, Salt};

    use super::*;

    fn blinding(byte: u8) -> Blinding {
        let mut bytes = [byte; 32];
        bytes[0] = 0;
        Blinding::new(&Blinding::secret_from(&Salt::from_bytes(bytes).unwrap()))
    }

    fn query(transaction: &str, items: u32, msp_id: &str) -> Query {
        let viewer = Viewer::Oracle {
            msp_id: msp_id.parse::<MspId>().unwrap(),
        };
        let filter = serde_json::json!({"patient": 1, "page": {"page_size": items}});
        Query::new(transaction, &filter, &viewer).unwrap()
    }

    #[test]
    fn a_token_shows_nothing_and_serves_its_query_on_its_channel_only() {
        let place = "\0read~patient\0secret\x002026\0";
        let mine = query("a:List", 1, "Org1MSP");
        let token = mine.seal(&blinding(1), place).unwrap();
        let bytes = token.bytes().unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        assert_eq!(mine.seal(&blinding(1), place).unwrap(), token);
        let more_items = query("a:List", 2, "Org1MSP");
        assert_eq!(more_items.open(&blinding(1), &token).unwrap(), place);
        for (query, blinding) in [
            (query("a:Other", 1, "Org1MSP"), blinding(1)),
            (query("a:List", 1, "Org2MSP"), blinding(1)),
            (mine, blinding(2)),
        ] {
            assert!(query.open(&blinding, &token).is_err());
        }
        for n in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            let token = PageToken::from_bytes(&changed);
            assert!(mine.open(&blinding(1), &token).is_err());
        }
        let short = PageToken::from_bytes(&bytes[..10]);
        assert!(mine.open(&blinding(1), &short).is_err());
    }

    /// Computed by Python's `cryptography` (AESGCMSIV) from the README's words.
    #[test]
    fn a_token_is_what_the_readme_says() {
        let token = query("a:List", 1, "Org1MSP")
            .seal(&blinding(1), "\0read\0x\0")
            .unwrap();
        assert_eq!(token.to_string(), "4t777Py91-ytAeehF0bZdb1PJ-rCQC76");
    }
}
