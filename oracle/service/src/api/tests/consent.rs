//! Signed requests other than reads: checked here before they cost a transaction.

use contract_interface::access::{
    AccessRequest, Delegation, DelegationBasis, Emergency, EmergencyReason, Grant, Grantee, Policy,
    Power, ReviewOutcome, Rule,
};
use contract_interface::{
    DeclareEmergency, Delegate, GrantAccess, RefuseAccess, RequestAccess, ReviewEmergency,
    RevokeDelegation, SetPolicy, WithdrawPolicy,
};
use futures::future::join_all;

use super::*;

const JOSE: &str = "application/jose";
const OTHER: &str = "ffeeddccbbaa99887766554433221100";

fn id<T: std::str::FromStr>() -> T {
    RECORD.parse().ok().expect("an ID")
}

fn after(time: UtcTime, seconds: i64) -> UtcTime {
    UtcTime::from_unix_seconds(time.unix_seconds() + seconds).expect("a time")
}

fn grant(valid_until: UtcTime) -> GrantAccess {
    GrantAccess {
        grant: Grant {
            grant_id: id(),
            rule: Rule::permit(Grantee::Anyone, vec![Purpose::Treat]),
            valid_from: clock::now(),
            valid_until,
            max_reads: None,
            in_reply_to: None,
        },
        patient: None,
    }
}

fn emergency(iat: UtcTime, seconds: i64) -> DeclareEmergency {
    DeclareEmergency {
        emergency: Emergency {
            emergency_id: id(),
            patient: id(),
            reason: EmergencyReason::Unresponsive,
            justification: "a.b.c.d.e".to_owned(),
            valid_until: after(iat, seconds),
        },
    }
}

fn delegation() -> Delegate {
    Delegate {
        delegation: Delegation {
            delegation_id: id(),
            patient: id(),
            guardian: OTHER.parse().expect("an ID"),
            powers: vec![Power::Read],
            basis: DelegationBasis::Patient,
            valid_from: clock::now(),
            valid_until: after(clock::now(), 1000),
        },
    }
}

fn access_request() -> RequestAccess {
    RequestAccess {
        request: AccessRequest {
            request_id: id(),
            patient: id(),
            types: vec![],
            data_period: None,
            purposes: vec![Purpose::Treat],
            project: None,
            wanted_until: clock::now(),
            message: None,
        },
    }
}

fn policy() -> SetPolicy {
    SetPolicy {
        policy: Policy {
            policy_id: id(),
            rule: Rule::deny(Grantee::Anyone),
            valid_from: clock::now(),
            valid_until: None,
        },
    }
}

/// A good request for every address that takes one, signed by `signer` at `iat`.
fn requests(world: &World, signer: &str, iat: UtcTime) -> Vec<(&'static str, String)> {
    let revocation = RevokeDelegation {
        delegation_id: id(),
        patient: id(),
        guardian: id(),
        end_grants: false,
    };
    let review = ReviewEmergency {
        emergency_id: id(),
        patient: id(),
        reader: id(),
        outcome: ReviewOutcome::Justified,
    };
    let grant = grant(after(clock::now(), 1000));
    vec![
        ("/v1/grants", world.sign(signer, CHANNEL, iat, grant)),
        (
            "/v1/grants/{id}/revocation",
            world.sign(
                signer,
                CHANNEL,
                iat,
                RevokeAccess {
                    grant_id: id(),
                    patient: Some(id()),
                },
            ),
        ),
        ("/v1/policies", world.sign(signer, CHANNEL, iat, policy())),
        (
            "/v1/policies/{id}/withdrawal",
            world.sign(signer, CHANNEL, iat, WithdrawPolicy { policy_id: id() }),
        ),
        (
            "/v1/delegations",
            world.sign(signer, CHANNEL, iat, delegation()),
        ),
        (
            "/v1/delegations/{id}/revocation",
            world.sign(signer, CHANNEL, iat, revocation),
        ),
        (
            "/v1/access-requests",
            world.sign(signer, CHANNEL, iat, access_request()),
        ),
        (
            "/v1/access-requests/{id}/refusal",
            world.sign(
                signer,
                CHANNEL,
                iat,
                RefuseAccess {
                    request_id: id(),
                    patient: None,
                },
            ),
        ),
        (
            "/v1/emergencies",
            world.sign(signer, CHANNEL, iat, emergency(iat, 3600)),
        ),
        (
            "/v1/emergencies/{id}/review",
            world.sign(signer, CHANNEL, iat, review),
        ),
    ]
}

fn at(template: &str, id: &str) -> String {
    template.replace("{id}", id)
}

#[tokio::test]
async fn good_requests_go_to_the_ledger() {
    let world = world();
    let requests = requests(&world, "provider", clock::now());
    let answers = requests.iter().map(|(template, jws)| {
        let path = at(template, RECORD);
        let world = &world;
        async move { world.post("provider", &path, JOSE, jws).await }
    });
    for answer in join_all(answers).await {
        refused(&answer, 503, "LEDGER_UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_request_serves_its_signer_its_address_and_its_moment() {
    let world = world();
    let now = clock::now();
    let good = requests(&world, "provider", now);
    let of_another = requests(&world, "colleague", now);
    let late = requests(&world, "provider", after(now, -400));
    for (index, (template, jws)) in good.iter().enumerate() {
        let path = at(template, RECORD);
        let other_action = &good[(index + 1) % good.len()].1;
        let table = [
            (other_action.as_str(), JOSE, 400, "MALFORMED_JWS"),
            (&of_another[index].1, JOSE, 403, "SIGNER_MISMATCH"),
            (&late[index].1, JOSE, 401, "REQUEST_EXPIRED"),
            (jws, "application/json", 415, "UNSUPPORTED_MEDIA_TYPE"),
            ("", JOSE, 400, "MALFORMED_JWS"),
        ];
        for (body, media_type, status, code) in table {
            let answer = world.post("provider", &path, media_type, body).await;
            refused(&answer, status, code);
        }
        let queried = format!("{path}?x=1");
        let answer = world.post("provider", &queried, JOSE, jws).await;
        refused(&answer, 400, "MALFORMED_REQUEST");
        if template.contains("{id}") {
            let answer = world
                .post("provider", &at(template, OTHER), JOSE, jws)
                .await;
            refused(&answer, 400, "REQUEST_MISMATCH");
            let answer = world.post("provider", &at(template, "zz"), JOSE, jws).await;
            refused(&answer, 404, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn what_no_contract_would_keep_does_not_get_there() {
    let world = world();
    let now = clock::now();
    let mut delegate = delegation();
    delegate.delegation.powers = vec![];
    let mut ask = access_request();
    ask.request.purposes = vec![];
    let mut set = policy();
    set.policy.valid_until = Some(after(now, -1));
    let sign = |body| world.sign("provider", CHANNEL, now, body);
    let table = [
        ("/v1/grants", sign(grant(after(now, -1000)))),
        ("/v1/policies", world.sign("provider", CHANNEL, now, set)),
        (
            "/v1/delegations",
            world.sign("provider", CHANNEL, now, delegate),
        ),
        (
            "/v1/access-requests",
            world.sign("provider", CHANNEL, now, ask),
        ),
        (
            "/v1/emergencies",
            world.sign("provider", CHANNEL, now, emergency(now, 5 * 3600)),
        ),
    ];
    for (path, jws) in table {
        let answer = world.post("provider", path, JOSE, &jws).await;
        refused(&answer, 400, "MALFORMED_REQUEST");
    }
}

#[tokio::test]
async fn lists_and_explanations_are_asked_for_rightly() {
    let world = world();
    let both =
        |path: &str, one: &str, other: &str| format!("{path}?{one}={RECORD}&{other}={RECORD}");
    for path in [
        both("/v1/delegations", "patient", "guardian"),
        both("/v1/access-requests", "patient", "requester"),
        both("/v1/emergencies", "patient", "patient_msp"),
        "/v1/access-requests?open_only=maybe".to_owned(),
        "/v1/notices?to=2026-01-02T03:04:05Z".to_owned(),
        "/v1/policies?msp_id=a%20b".to_owned(),
        format!("/v1/records/{RECORD}/access"),
        format!("/v1/records/{RECORD}/access?purpose=FUN"),
        format!("/v1/records/{RECORD}/access?purpose=TREAT&reader=me"),
        format!("/v1/records/{RECORD}/access?purpose=TREAT&project=a%20b"),
    ] {
        let answer = world.get(Some("provider"), &path).await;
        refused(&answer, 400, "MALFORMED_REQUEST");
    }
    for path in [
        "/v1/reads/zz",
        "/v1/grants/zz",
        "/v1/records/zz/access?purpose=TREAT",
    ] {
        refused(&world.get(Some("provider"), path).await, 404, "NOT_FOUND");
    }
}
