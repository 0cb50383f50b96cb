//! Opened readings as one FHIR Bundle.

use contract_interface::segment;
use http::StatusCode;
use serde_json::value::RawValue;

use crate::api::problem::Problem;

/// Media type of one FHIR resource.
const FHIR: &str = "application/fhir+json";
/// What stands before the entries.
const HEAD: &[u8] = br#"{"resourceType":"Bundle","type":"collection","entry":["#;

/// A Bundle of type collection with each resource's bytes as they were received; only white space
/// around a resource is left out.
///
/// # Errors
///
/// A 406 problem when a reading is no FHIR resource, a 500 problem when the segment is malformed.
pub(crate) fn of(content_type: &str, opened: Vec<u8>) -> Result<Vec<u8>, Problem> {
    let mut bundle = Vec::with_capacity(opened.len() + opened.len() / 8 + HEAD.len());
    bundle.extend_from_slice(HEAD);
    if content_type == segment::MEDIA_TYPE {
        for (index, item) in segment::decode(&opened).enumerate() {
            let item = item.map_err(Problem::internal)?.item;
            push(&mut bundle, index, &item.content_type, &item.payload)?;
        }
    } else {
        push(&mut bundle, 0, content_type, &opened)?;
    }
    bundle.extend_from_slice(b"]}");
    Ok(bundle)
}

fn push(
    bundle: &mut Vec<u8>,
    index: usize,
    content_type: &str,
    payload: &[u8],
) -> Result<(), Problem> {
    let is_fhir = content_type
        .split(';')
        .next()
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(FHIR));
    let resource = is_fhir
        .then(|| serde_json::from_slice::<&RawValue>(payload).ok())
        .flatten()
        .filter(|resource| resource.get().starts_with('{'))
        .ok_or_else(not_fhir)?;
    if index > 0 {
        bundle.push(b',');
    }
    bundle.extend_from_slice(br#"{"resource":"#);
    bundle.extend_from_slice(resource.get().as_bytes());
    bundle.push(b'}');
    Ok(())
}

fn not_fhir() -> Problem {
    Problem::new(
        StatusCode::NOT_ACCEPTABLE,
        "NOT_FHIR",
        format!(
            "This record holds readings that are not FHIR resources. Ask for {} instead.",
            segment::MEDIA_TYPE
        ),
    )
}

#[cfg(test)]
mod tests {
    use contract_interface::segment::SegmentItem;

    use super::*;

    fn item(content_type: &str, payload: &str) -> SegmentItem {
        SegmentItem {
            device_id: "d1".parse().expect("a device ID"),
            seq: Some(1),
            received_ms: 0,
            content_type: content_type.to_owned(),
            payload: payload.as_bytes().to_vec(),
        }
    }

    #[test]
    fn resources_keep_their_bytes() {
        let odd = r#"{"resourceType":"Observation", "valueQuantity":{"value":1.50},"id":"é"}"#;
        let opened = segment::encode(&[
            item(FHIR, odd),
            item("application/fhir+json; charset=utf-8", " {\"a\":1}\n"),
        ]);
        let bundle = of(segment::MEDIA_TYPE, opened).expect("all FHIR");
        let expected = format!(
            r#"{{"resourceType":"Bundle","type":"collection","entry":[{{"resource":{odd}}},{{"resource":{{"a":1}}}}]}}"#
        );
        assert_eq!(String::from_utf8(bundle).expect("text"), expected);
    }

    #[test]
    fn a_single_resource_is_a_bundle_of_one() {
        let bundle = of(FHIR, b"{}".to_vec()).expect("FHIR");
        assert!(bundle.ends_with(br#""entry":[{"resource":{}}]}"#));
    }

    #[test]
    fn other_content_is_refused() {
        for (content_type, payload) in [
            ("application/json", "{}"),
            (FHIR, "[]"),
            (FHIR, "{"),
            ("image/png", "\u{0}"),
        ] {
            let opened = segment::encode(&[item(content_type, payload)]);
            let problem = of(segment::MEDIA_TYPE, opened).expect_err("no FHIR");
            assert_eq!(
                problem.status(),
                StatusCode::NOT_ACCEPTABLE,
                "{content_type}"
            );
        }
        assert!(of(segment::MEDIA_TYPE, vec![0xff]).is_err());
    }
}
