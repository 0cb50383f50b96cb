//! DICOM files are known by their content: 128 bytes of anything, then `DICM` (PS3.10, 7.1). Pure.

/// Media type of a DICOM file (RFC 3240).
pub(crate) const DICOM: &str = "application/dicom";
/// Bytes at a content's beginning that say whether it is one.
pub(crate) const HEAD_BYTES: usize = 132;
const MAGIC: &[u8] = b"DICM";
const OCTET_STREAM: &str = "application/octet-stream";
/// A DICOM file may be a TIFF at the same time: the 128 bytes are for that.
const DUAL: &str = "image/tiff";

/// What the first bytes of a content say about its media type (without parameters, in lower case).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing against it.
    AsNamed,
    /// It was sent as bytes of any kind and is a DICOM file.
    Dicom,
    /// It was sent as something that it is not.
    Mismatch,
}

/// Compares a content's first bytes, at least [`HEAD_BYTES`] if it has as many, with its media type.
pub(crate) fn judge(essence: &str, head: &[u8]) -> Verdict {
    let dicom = head.get(HEAD_BYTES - MAGIC.len()..HEAD_BYTES) == Some(MAGIC);
    match (essence, dicom) {
        (DICOM | DUAL, true) => Verdict::AsNamed,
        (OCTET_STREAM, true) => Verdict::Dicom,
        (DICOM, false) | (_, true) => Verdict::Mismatch,
        (_, false) => Verdict::AsNamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dicom_file_is_known_and_nothing_else_taken_for_one() {
        let file = [&[0; 128][..], b"DICM", &[2, 0]].concat();
        let other = [&[0; 128][..], b"DICX"].concat();
        for (essence, head, verdict) in [
            (DICOM, &file[..], Verdict::AsNamed),
            (DICOM, &file[..132], Verdict::AsNamed),
            (DICOM, &file[..131], Verdict::Mismatch),
            (DICOM, &other, Verdict::Mismatch),
            (DICOM, b"DICM", Verdict::Mismatch),
            (DICOM, b"", Verdict::Mismatch),
            (OCTET_STREAM, &file, Verdict::Dicom),
            (OCTET_STREAM, &other, Verdict::AsNamed),
            (DUAL, &file, Verdict::AsNamed),
            (DUAL, &other, Verdict::AsNamed),
            ("image/png", &file, Verdict::Mismatch),
            ("image/png", &other, Verdict::AsNamed),
        ] {
            assert_eq!(judge(essence, head), verdict, "{essence} {}", head.len());
        }
    }

    /// Files of a scanner and an electrocardiograph, where they lie beside the project.
    #[test]
    fn real_files_are_known() {
        use std::io::Write as _;
        for name in ["ct-small.dcm", "ecg-12lead.dcm"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
            let Ok(file) = std::fs::read(std::path::Path::new(folder).join(name)) else {
                let line = format!("SKIPPED real_files_are_known: {name} is absent");
                writeln!(std::io::stderr(), "{line}").unwrap();
                continue;
            };
            assert_eq!(judge(DICOM, &file), Verdict::AsNamed, "{name}");
            assert_eq!(judge(OCTET_STREAM, &file), Verdict::Dicom, "{name}");
        }
    }
}
