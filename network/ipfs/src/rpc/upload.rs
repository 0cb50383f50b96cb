//! Parts of an upload: what kind each is, and where it belongs.

use bytes::{Bytes, BytesMut};
use multer::Field;

use super::{
    answer::RpcError,
    request::{Files, Limits, Unparsed},
};

/// Input is gathered to this many bytes before it is hashed and written, so that a thread change
/// pays off.
const PIECE_BYTES: usize = 1 << 20;

/// A part of a multipart body, in Kubo's way of telling files from folders.
pub(crate) enum Part {
    File(Box<FilePart>),
    Folder(String),
}

pub(crate) struct FilePart {
    /// Path below the upload, without a leading slash; empty when the client gave none.
    pub(crate) path: String,
    field: Field<'static>,
    unparsed: Unparsed,
}

impl FilePart {
    /// The next piece of content, `None` at the end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, RpcError> {
        let mut gathered = BytesMut::new();
        while gathered.len() < PIECE_BYTES {
            match self.field.chunk().await? {
                Some(chunk) => {
                    self.unparsed.reset();
                    gathered.extend_from_slice(&chunk);
                }
                None => break,
            }
        }
        Ok((!gathered.is_empty()).then(|| gathered.freeze()))
    }
}

/// Iterates over the parts, within the limit on their number.
pub(crate) struct Parts {
    files: Files,
    left: usize,
    /// Kubo's name of the argument, for the error when there is no part at all.
    argument: &'static str,
    any: bool,
}

impl Parts {
    pub(crate) fn new(files: Files, limits: &Limits, argument: &'static str) -> Self {
        Self {
            files,
            left: limits.files,
            argument,
            any: false,
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Part>, RpcError> {
        let Some(field) = self.files.multipart.next_field().await? else {
            return if self.any {
                Ok(None)
            } else {
                Err(RpcError::NoFile(self.argument))
            };
        };
        self.any = true;
        self.files.unparsed.reset();
        self.left = self.left.checked_sub(1).ok_or(RpcError::BodyTooLarge)?;
        let path = path(field.file_name().unwrap_or_default())?;
        let content_type = field
            .content_type()
            .map(|mime| mime.essence_str().to_owned());
        match content_type.as_deref() {
            Some("application/x-directory") => Ok(Some(Part::Folder(path))),
            Some(other @ ("application/symlink" | "multipart/form-data" | "multipart/mixed")) => {
                Err(RpcError::FileType(other.to_owned()))
            }
            _ => Ok(Some(Part::File(Box::new(FilePart {
                path,
                field,
                unparsed: self.files.unparsed.clone(),
            })))),
        }
    }
}

/// Decodes a file name, which clients percent-encode so that it may hold slashes.
fn path(file_name: &str) -> Result<String, RpcError> {
    // A lone name is the key of a query without values.
    let decoded = form_urlencoded::parse(file_name.replace(['&', '='], "%26").as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default();
    let path = decoded.strip_prefix('/').unwrap_or(&decoded);
    let valid = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains('\0');
    if path.is_empty() || path.split('/').all(valid) {
        Ok(path.to_owned())
    } else {
        Err(RpcError::FileName(file_name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names() {
        for (name, expected) in [
            ("", Some("")),
            ("a", Some("a")),
            ("a%2Fb%20c+d", Some("a/b c d")),
            ("/a/b", Some("a/b")),
            ("a/../b", None),
            ("%2e%2e%2fetc%2fpasswd", None),
            ("a//b", None),
            ("a/", None),
            ("a%00b", None),
        ] {
            assert_eq!(path(name).ok().as_deref(), expected, "{name}");
        }
    }
}
