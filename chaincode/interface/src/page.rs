//! Lists come in pages.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::ParseError;
use crate::limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, PAGE_TOKEN_BYTES_MAX};
use crate::text::serde_as_text;

/// Where a page ended: opaque to callers, who give it back with the same filter.
#[derive(Clone, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// The token with these bytes inside: where the list ended, sealed by the contract, since the
    /// key of an entry that was passed over is not for the caller to know.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The bytes inside; the contract checks that they are of its making.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(&self.0).ok()
    }
}

impl FromStr for PageToken {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let good = text.len() <= PAGE_TOKEN_BYTES_MAX
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError::new("a page token"))
        }
    }
}

impl fmt::Display for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PageToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageToken(..)")
    }
}

serde_as_text!(PageToken);

/// Which page of a list, and how large.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageRequest {
    /// Items, 1 to [`PAGE_ITEMS_MAX`]; [`PAGE_ITEMS_DEFAULT`] if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_size: Option<u16>,
    /// The token of the page before; absent for the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_token: Option<PageToken>,
}

impl PageRequest {
    /// The number of items asked for.
    ///
    /// # Errors
    ///
    /// If it is 0 or more than [`PAGE_ITEMS_MAX`].
    pub fn items(&self) -> Result<usize, ParseError> {
        match self.page_size.unwrap_or(PAGE_ITEMS_DEFAULT) {
            items @ 1..=PAGE_ITEMS_MAX => Ok(usize::from(items)),
            _ => Err(ParseError::new("a page size of 1 to 200")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_carries_its_bytes() {
        let token = PageToken::from_bytes(b"\0record\xff");
        assert_eq!(token.bytes().as_deref(), Some(&b"\0record\xff"[..]));
        assert_eq!(token.to_string().parse::<PageToken>().unwrap(), token);
        for bad in ["a b", "a=", "é", &"a".repeat(PAGE_TOKEN_BYTES_MAX + 1)] {
            assert!(bad.parse::<PageToken>().is_err(), "{bad}");
        }
    }

    #[test]
    fn page_size_is_bounded() {
        for (size, items) in [
            (None, Some(50)),
            (Some(0), None),
            (Some(200), Some(200)),
            (Some(201), None),
        ] {
            let page = PageRequest {
                page_size: size,
                page_token: None,
            };
            assert_eq!(page.items().ok(), items, "{size:?}");
        }
    }
}
