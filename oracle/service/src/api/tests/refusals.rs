//! Refusals of which the ledger knows nothing, from the request to the auditor.

use super::*;

/// Requests that are refused, and the codes of what must be noted of them.
async fn refuse_some(world: &World) -> Vec<&'static str> {
    let mut tampered = world.read_request("provider");
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    world.read("provider", RECORD, &tampered).await;
    let foreign = world.read_request("colleague");
    world.read("provider", RECORD, &foreign).await;
    world.get(Some("revoked"), "/v1/reads").await;
    world.get(Some("stranger"), "/v1/notices").await;
    world.get(None, "/v1/records").await;
    let path = format!("/v1/participants/{RECORD}/key?pseudonym={RECORD}");
    world.post("provider", &path, "application/jose", "").await;
    world.get(Some("provider"), &format!("/v1/{RECORD}")).await;
    vec![
        "SIGNATURE_INVALID",
        "SIGNER_MISMATCH",
        "CERTIFICATE_REVOKED",
        "CERTIFICATE_REFUSED",
        "CERTIFICATE_REQUIRED",
        "MALFORMED_REQUEST",
        "NOT_FOUND",
    ]
}

#[tokio::test]
async fn auditors_see_who_was_refused_and_nothing_of_patients() {
    let world = world();
    let expected = refuse_some(&world).await;
    let answer = world.get(Some("auditor"), "/v1/audit/refusals").await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let page = answer.json();
    let lines = page["refusals"].as_array().expect("lines");
    let codes: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["code"].as_str())
        .collect();
    assert_eq!(codes, expected);
    assert_eq!((&page["intact"], &page["lost"]), (&true.into(), &0.into()));

    let thumbprint = |name: &str| hex::encode(world.people[name].certificate().thumbprint());
    assert_eq!(lines[0]["caller"], thumbprint("provider"));
    assert_eq!(lines[0]["msp_id"], "Org1MSP");
    assert_eq!(lines[0]["path"], "/v1/records/{id}/content");
    assert_eq!(lines[2]["caller"], thumbprint("revoked"));
    assert!(lines[2].get("msp_id").is_none(), "no MSP vouches for it");
    assert!(lines[4].get("caller").is_none());
    assert_eq!(lines[5]["path"], "/v1/participants/{id}/key");
    assert_eq!(lines[6]["path"], "-");

    let file = world.folder.path().join("audit").join("refusals.ndjson");
    let text = std::fs::read_to_string(file).expect("the log");
    assert_eq!(text.lines().count(), expected.len());
    assert!(!text.contains(RECORD), "{text}");
    let last = text.lines().last().expect("a line");
    assert_eq!(
        page["head"],
        contract_interface::Digest::of(last.as_bytes()).to_string()
    );
}

#[tokio::test]
async fn refusals_come_in_pages() {
    let world = world();
    let expected = refuse_some(&world).await;
    let first = world
        .get(Some("admin"), "/v1/audit/refusals?page_size=5")
        .await
        .json();
    assert_eq!(first["refusals"].as_array().map(Vec::len), Some(5));
    let token = first["next_page_token"].as_str().expect("a token");
    let path = format!("/v1/audit/refusals?page_size=5&page_token={token}");
    let rest = world.get(Some("admin"), &path).await.json();
    let left = rest["refusals"].as_array().expect("lines");
    assert_eq!(left.len(), expected.len() - 5);
    assert_eq!(left[0]["seq"], 6);
    assert!(rest.get("next_page_token").is_none());
    let later = world
        .get(
            Some("admin"),
            "/v1/audit/refusals?from=2999-01-01T00:00:00Z",
        )
        .await
        .json();
    assert_eq!(later["refusals"], serde_json::json!([]));
    let wrong = world
        .get(Some("admin"), "/v1/audit/refusals?page_token=abc")
        .await;
    refused(&wrong, 400, "MALFORMED_REQUEST");
}

#[tokio::test]
async fn the_log_is_for_the_own_organisations_overseers_alone() {
    let world = world();
    for caller in ["provider", "admin2"] {
        let answer = world.get(Some(caller), "/v1/audit/refusals").await;
        refused(&answer, 403, "AUDITOR_REQUIRED");
    }
    // What is good, or failed for want of a ledger, is no refusal.
    world.get(Some("provider"), "/healthz").await;
    world.get(Some("provider"), "/v1/reads").await;
    let page = world.get(Some("admin"), "/v1/audit/refusals").await.json();
    let lines = page["refusals"].as_array().expect("lines");
    assert_eq!(lines.len(), 2, "{page}");
}
