//! Any other bytes.

use super::*;

#[test]
fn any_bytes() {
    let now = "2026-01-02T03:04:05Z";
    let scan = [&[0; 128][..], b"DICM", &[2, 0]].concat();
    for content_type in ["application/dicom", "application/octet-stream"] {
        check(&of_type(content_type), &scan, Ok(("dicom", None, now, now)));
        let decoded = decode(&of_type(content_type), &scan, received()).unwrap();
        assert_eq!(decoded.content_type, "application/dicom");
    }
    let mismatch = Err("content-type-mismatch");
    check(&of_type("application/dicom"), b"\0\xff", mismatch);
    check(&of_type("image/png"), &scan, mismatch);
    check(&of_type("image/PNG"), b"\0", Ok(("image", None, now, now)));
    check(
        &of_type("application/vnd.x+y"),
        b"\0",
        Ok(("vnd-x-y", None, now, now)),
    );
    let hints = Hints {
        code: Some("11524-6".to_owned()),
        time: Some(AT.to_owned()),
        sequence: Some(0),
        ..of_type("text/csv; header=present")
    };
    check(&hints, b"a,b", Ok(("11524-6", Some(0), AT, AT)));
    for bad in [
        "",
        "text",
        "text/",
        "/csv",
        "te xt/csv",
        "text/c\u{e9}",
        "a/b\n",
    ] {
        check(&of_type(bad), b"x", Err("content-type-malformed"));
    }
    let hints = Hints {
        code: Some("a b".to_owned()),
        ..of_type("image/png")
    };
    check(&hints, b"x", Err("payload-member-type"));
    assert!(
        decode(&of_type("image/png"), b"x", received())
            .unwrap()
            .opaque
    );
}
