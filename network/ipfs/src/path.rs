//! The paths that commands take: a CID, `/ipfs/CID`, and names below it.

use cid::Cid;

use crate::{Store, StoreError, block, read};

/// Longest chain of names below a CID.
const MAX_SEGMENTS: usize = 256;

/// A content path; it names nothing on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ContentPath {
    root: Cid,
    segments: Vec<String>,
}

/// A text that is no content path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    /// Not even a CID.
    #[error("invalid path {0:?}: path does not have enough components")]
    TooShort(String),
    /// The CID does not parse.
    #[error("invalid path {path:?}: invalid cid: {reason}")]
    Cid {
        /// The path as given.
        path: String,
        /// The parser's words.
        reason: String,
    },
    /// A name is empty, `.` or `..`, or there are too many.
    #[error("invalid path {0:?}: invalid segment")]
    Segment(String),
}

impl ContentPath {
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let below = text.strip_prefix("/ipfs/");
        let mut parts = below.unwrap_or(text).trim_end_matches('/').split('/');
        let root = parts.next().unwrap_or_default();
        let root = Cid::try_from(root).map_err(|error| match below {
            None => PathError::TooShort(text.to_owned()),
            Some(_) => PathError::Cid {
                path: text.to_owned(),
                reason: error.to_string(),
            },
        })?;
        let segments: Vec<String> = parts.map(str::to_owned).collect();
        let valid = |segment: &String| !matches!(segment.as_str(), "" | "." | "..");
        if segments.len() > MAX_SEGMENTS || !segments.iter().all(valid) {
            return Err(PathError::Segment(text.to_owned()));
        }
        Ok(Self { root, segments })
    }

    /// Follows the names through directories to the CID that the path means.
    pub(crate) fn resolve(&self, store: &Store) -> Result<Cid, StoreError> {
        self.segments
            .iter()
            .try_fold(self.root, |cid, name| match cid.codec() {
                block::DAG_PB => read::directory_entry(store, &cid, name),
                _ => Err(StoreError::NoSuchLink {
                    name: name.clone(),
                    cid,
                }),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am";

    #[test]
    fn paths_that_parse() {
        for (text, segments) in [
            (CID.to_owned(), vec![]),
            (format!("/ipfs/{CID}"), vec![]),
            (format!("/ipfs/{CID}/"), vec![]),
            (format!("{CID}/a/b c"), vec!["a", "b c"]),
        ] {
            let path = ContentPath::parse(&text).unwrap();
            assert_eq!(path.root.to_string(), CID);
            assert_eq!(path.segments, segments);
        }
    }

    #[test]
    fn paths_that_do_not() {
        for text in [
            "".to_owned(),
            "nocid".to_owned(),
            "../../etc/passwd".to_owned(),
            "/etc/passwd".to_owned(),
            "/ipfs/".to_owned(),
            "/ipns/example".to_owned(),
            format!("{CID}/../x"),
            format!("{CID}/./x"),
            format!("{CID}//x"),
            format!("{CID}{}", "/a".repeat(MAX_SEGMENTS + 1)),
            format!("{CID}\0"),
        ] {
            assert!(ContentPath::parse(&text).is_err(), "{text}");
        }
    }
}
