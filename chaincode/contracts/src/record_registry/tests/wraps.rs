//! Changes to wraps, and every one that is refused.

use contract_interface::access::{Delegation, DelegationBasis, Power};
use contract_interface::names::{collections, transactions, transient};
use contract_interface::record::{ErasureBasis, WrapChange, WrapChanges, WrapsChanged};
use contract_interface::{
    ChangeWraps, Delegate, DelegationId, EraseRecord, ErrorCode, Grant, GrantId, Grantee, Jwk,
    KeyWrap, Purpose, RecordId, RecordPrivate, RecordWraps, RotateKey, Rule,
};
use fabric_msp::jws;
use fabric_shim::testing::{Tx, ValidationCode};

use crate::testing::Who::*;
use crate::testing::*;

const JWE: &str = "h.k.i.c.t";

fn plain(key: &Jwk) -> KeyWrap {
    KeyWrap::plain(key.thumbprint(), JWE.to_owned())
}

fn gated(key: &Jwk, gate: &Jwk, grant_id: Option<GrantId>) -> KeyWrap {
    KeyWrap {
        gate: Some(gate.thumbprint()),
        grant_id,
        ..plain(key)
    }
}

async fn rotate(world: &mut World, who: Who, key: &Jwk) {
    let request = world.request(RotateKey {
        encryption_key: key.clone(),
        key_proof: who.proof(key),
    });
    let tx = world.signed(who, &request);
    world.ok(Oracle1, tx).await;
}

/// A channel on which everyone has a key.
async fn with_keys() -> World {
    let mut world = World::populated().await;
    for who in [
        Oracle1,
        Oracle2,
        Patient,
        OtherPatient,
        Guardian,
        Provider1,
        Provider3,
    ] {
        rotate(&mut world, who, &who.key()).await;
    }
    world
}

/// Registers the `n`th record, wrapped for these.
async fn registered(world: &mut World, n: u32, holders: &[Who]) -> RecordPrivate {
    let record = world.record(n);
    let wraps = RecordWraps {
        record_id: record.record_id,
        wraps: holders.iter().map(|who| plain(&who.key())).collect(),
    };
    let tx = register_raw(&[entry(&record)], std::slice::from_ref(&record), &[wraps]);
    world.ok(Oracle1, tx).await;
    record
}

async fn in_custody_of_the_organization() -> (World, RecordPrivate) {
    let mut world = with_keys().await;
    let record = registered(&mut world, 1, &[Patient, Oracle1]).await;
    (world, record)
}

async fn in_custody_of_the_patient() -> (World, RecordPrivate) {
    let mut world = with_keys().await;
    let record = registered(&mut world, 1, &[Patient]).await;
    (world, record)
}

fn changes(record_id: RecordId, remove: &[&Jwk], add: &[KeyWrap]) -> WrapChanges {
    WrapChanges {
        changes: vec![WrapChange {
            record_id,
            remove: remove.iter().map(|key| key.thumbprint()).collect(),
            add: add.to_vec(),
        }],
    }
}

fn change(world: &mut World, changes: &WrapChanges) -> Tx {
    world
        .salted(transactions::CHANGE_WRAPS)
        .transient(transient::WRAP_CHANGES, json(changes))
}

fn signed_change(world: &mut World, signer: Who, changes: &WrapChanges) -> Tx {
    let request = world.request(ChangeWraps {
        changes: changes.clone(),
    });
    let jws = jws::sign(signer.identity(), &json(&request)).unwrap();
    change(world, changes).transient(transient::REQUEST, jws)
}

async fn changed(world: &mut World, tx: Tx) -> (u32, u32) {
    let result: WrapsChanged = world.get(Oracle1, tx).await;
    (result.changed, result.unchanged)
}

async fn kept(world: &mut World, id: RecordId) -> Vec<KeyWrap> {
    let tx = query_text(transactions::GET_WRAPS, &id);
    let wraps: RecordWraps = world.get(Oracle1, tx).await;
    wraps.wraps
}

fn permit(who: Who) -> Rule {
    Rule::permit(Grantee::Participant(who.id()), vec![Purpose::Treat])
}

async fn granted(world: &mut World, rule: Rule) -> Grant {
    world.give(Patient, rule).await
}

async fn guardian(world: &mut World, powers: &[Power]) {
    let delegation = Delegation {
        delegation_id: DelegationId::from_bytes(world.random_id()),
        patient: Patient.pseudonym(),
        guardian: Guardian.id(),
        powers: powers.to_vec(),
        basis: DelegationBasis::Patient,
        valid_from: world.time(0),
        valid_until: world.time(3600),
    };
    let request = world.request(Delegate { delegation });
    let tx = world.signed(Patient, &request);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn a_grants_wrap_comes_with_it_and_goes_with_it() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let id = record.record_id;
    let grant = granted(&mut world, permit(Provider1)).await;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant.grant_id));
    let add = changes(id, &[], std::slice::from_ref(&wrap));
    let tx = change(&mut world, &add);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    let tx = change(&mut world, &add);
    assert_eq!(changed(&mut world, tx).await, (0, 1));
    assert_eq!(kept(&mut world, id).await.last(), Some(&wrap));

    let remove = changes(id, &[&Provider1.key()], &[]);
    let tx = change(&mut world, &remove);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
    let tx = world.revoke_access(Patient, grant.grant_id);
    world.ok(Oracle1, tx).await;
    let tx = change(&mut world, &add);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let tx = change(&mut world, &remove);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    let tx = change(&mut world, &remove);
    assert_eq!(changed(&mut world, tx).await, (0, 1));
    assert_eq!(kept(&mut world, id).await.len(), 2);
}

#[tokio::test]
async fn an_expired_grant_keeps_no_wrap() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let grant = granted(&mut world, permit(Provider1)).await;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant.grant_id));
    let add = changes(record.record_id, &[], &[wrap]);
    let tx = change(&mut world, &add);
    world.ok(Oracle1, tx).await;
    world.now += 3600;
    let tx = change(&mut world, &add);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let remove = changes(record.record_id, &[&Provider1.key()], &[]);
    let tx = change(&mut world, &remove);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
}

#[tokio::test]
async fn wraps_that_nothing_allows_are_refused() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let gate = Oracle1.key();
    let provider = Provider1.key();
    let good = granted(&mut world, permit(Provider1)).await.grant_id;
    let denial = Rule::deny(Grantee::Participant(Provider1.id()));
    let denial = granted(&mut world, denial).await.grant_id;
    let mut narrow = permit(Provider1);
    narrow.types = vec!["8310-5".parse().unwrap()];
    let narrow = granted(&mut world, narrow).await.grant_id;
    let wide = Grantee::Organization("Org1MSP".parse().unwrap());
    let wide = Rule::permit(wide, vec![Purpose::Treat]);
    let wide = granted(&mut world, wide).await.grant_id;
    let others = world.give(OtherPatient, permit(Provider1)).await.grant_id;
    let unknown = GrantId::from_bytes([9; 16]);
    let mut plain_with_grant = plain(&provider);
    plain_with_grant.grant_id = Some(good);
    for (n, wrap) in [
        plain(&provider),
        plain(&OtherPatient.key()),
        plain(&Oracle2.key()),
        plain(&key("never registered")),
        plain_with_grant,
        gated(&provider, &gate, None),
        gated(&provider, &Oracle2.key(), Some(good)),
        gated(&provider, &Patient.key(), Some(good)),
        gated(&provider, &key("never registered"), Some(good)),
        gated(&Provider3.key(), &gate, Some(good)),
        gated(&key("never registered"), &gate, Some(good)),
        gated(&provider, &gate, Some(denial)),
        gated(&provider, &gate, Some(narrow)),
        gated(&provider, &gate, Some(wide)),
        gated(&provider, &gate, Some(others)),
        gated(&provider, &gate, Some(unknown)),
        gated(&Guardian.key(), &gate, None),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = changes(record.record_id, &[], &[wrap]);
        let tx = change(&mut world, &asked);
        let result = world.simulate(Oracle1, tx).await;
        let code = ErrorCode::parse_message(&result.response.message).0;
        assert_eq!(code, Some(ErrorCode::Forbidden), "case {n}");
    }
    let wrap = gated(&provider, &gate, Some(good));
    let asked = changes(record.record_id, &[], &[wrap]);
    let tx = change(&mut world, &asked);
    world.ok(Oracle1, tx).await;
}

#[tokio::test]
async fn malformed_changes_are_refused() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let id = record.record_id;
    let invalid = ErrorCode::InvalidArgument;
    let grant = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant));
    let twice = WrapChanges {
        changes: [changes(id, &[], &[]), changes(id, &[], &[])]
            .into_iter()
            .flat_map(|changes| changes.changes)
            .collect(),
    };
    let short = KeyWrap {
        jwe: "h.k.i.c".to_owned(),
        ..wrap.clone()
    };
    for bad in [
        WrapChanges { changes: vec![] },
        twice,
        changes(id, &[], &[short]),
    ] {
        let tx = change(&mut world, &bad);
        world.refused(Oracle1, tx, invalid).await;
    }
    let many = changes(id, &[], &vec![wrap.clone(); 65]);
    let tx = change(&mut world, &many);
    world.refused(Oracle1, tx, ErrorCode::LimitExceeded).await;
    let none = world.salted(transactions::CHANGE_WRAPS);
    world.refused(Oracle1, none, invalid).await;
    // A gated wrap does not take the place of the patient's own.
    let rule = Rule::permit(Grantee::Participant(Patient.id()), vec![Purpose::Treat]);
    let own = granted(&mut world, rule).await.grant_id;
    let closing = gated(&Patient.key(), &Oracle1.key(), Some(own));
    let tx = change(&mut world, &changes(id, &[], &[closing]));
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
}

#[tokio::test]
async fn only_the_registrars_oracle_changes_wraps() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let asked = changes(record.record_id, &[], &[plain(&Patient.key())]);
    for who in [Oracle2, Admin1, Auditor1, Patient, Provider1] {
        let tx = change(&mut world, &asked);
        world.refused(who, tx, ErrorCode::Forbidden).await;
    }
    let unknown = changes(RecordId::from_bytes([9; 16]), &[], &[]);
    let tx = change(&mut world, &unknown);
    world.refused(Oracle1, tx, ErrorCode::RecordNotFound).await;
}

#[tokio::test]
async fn an_oracles_new_key_takes_the_place_of_its_old_one() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let id = record.record_id;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let tx = change(&mut world, &changes(id, &[], &[wrap]));
    world.ok(Oracle1, tx).await;
    let early = changes(id, &[&Oracle1.key()], &[]);
    let tx = change(&mut world, &early);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;

    let new = key("the oracle's second");
    rotate(&mut world, Oracle1, &new).await;
    let replaced = [plain(&new), gated(&Provider1.key(), &new, Some(grant_id))];
    let tx = change(&mut world, &changes(id, &[&Oracle1.key()], &replaced));
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    let expected = [plain(&Patient.key()), replaced[1].clone(), plain(&new)];
    assert_eq!(kept(&mut world, id).await, expected);
}

#[tokio::test]
async fn what_only_the_patient_holds_changes_by_the_patients_word() {
    let (mut world, record) = in_custody_of_the_patient().await;
    let id = record.record_id;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let asked = changes(id, &[], std::slice::from_ref(&wrap));
    let tx = change(&mut world, &asked);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    for signer in [Provider1, OtherPatient, Guardian, Admin1, Oracle1] {
        let tx = signed_change(&mut world, signer, &asked);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    }
    // The oracle cannot let itself in.
    let itself = changes(id, &[], &[plain(&Oracle1.key())]);
    let tx = change(&mut world, &itself);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    // What is signed is what is done.
    let signed = signed_change(&mut world, Patient, &asked);
    let other = signed.transient(transient::WRAP_CHANGES, json(&itself));
    world
        .refused(Oracle1, other, ErrorCode::InvalidArgument)
        .await;
    let tx = signed_change(&mut world, Patient, &asked);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
}

#[tokio::test]
async fn a_guardian_with_the_power_to_grant_signs_for_the_patient() {
    let (mut world, record) = in_custody_of_the_patient().await;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let asked = changes(record.record_id, &[], &[wrap]);
    guardian(&mut world, &[Power::Read]).await;
    let tx = signed_change(&mut world, Guardian, &asked);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    world.now += 1;
    guardian(&mut world, &[Power::Grant]).await;
    let tx = signed_change(&mut world, Guardian, &asked);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
}

#[tokio::test]
async fn one_word_is_for_one_patient() {
    let (mut world, record) = in_custody_of_the_patient().await;
    let mut others = world.record(2);
    others.patient = OtherPatient.pseudonym();
    let others = super::sources::submitted(&mut world, &others, OtherPatient, None);
    let wraps = RecordWraps {
        record_id: others.record_id,
        wraps: vec![plain(&OtherPatient.key())],
    };
    let tx = register_raw(&[entry(&others)], std::slice::from_ref(&others), &[wraps]);
    world.ok(Oracle1, tx).await;
    let mut both = changes(record.record_id, &[], &[plain(&Patient.key())]);
    both.changes
        .extend(changes(others.record_id, &[], &[plain(&OtherPatient.key())]).changes);
    let tx = signed_change(&mut world, Patient, &both);
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
}

/// Else a copy of another record's wrap would have the oracle open that record's key.
#[tokio::test]
async fn no_word_of_a_patient_brings_a_wrap_for_an_oracle() {
    for (mut world, record) in [
        in_custody_of_the_organization().await,
        in_custody_of_the_patient().await,
    ] {
        let stolen = KeyWrap {
            jwe: "another.records.wrap.for.oracle".to_owned(),
            ..plain(&Oracle1.key())
        };
        let before = kept(&mut world, record.record_id).await;
        let asked = changes(record.record_id, &[], &[stolen]);
        let tx = signed_change(&mut world, Patient, &asked);
        world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
        assert_eq!(kept(&mut world, record.record_id).await, before);
    }
}

#[tokio::test]
async fn a_gated_wrap_serves_the_record_for_which_it_came_first() {
    let (mut world, record) = in_custody_of_the_patient().await;
    let second = registered(&mut world, 2, &[Patient]).await.record_id;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let both = |one: &KeyWrap, other: &KeyWrap| {
        let mut both = changes(record.record_id, &[], std::slice::from_ref(one));
        both.changes
            .extend(changes(second, &[], std::slice::from_ref(other)).changes);
        both
    };
    let tx = signed_change(&mut world, Patient, &both(&wrap, &wrap));
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let first = changes(record.record_id, &[], std::slice::from_ref(&wrap));
    let tx = signed_change(&mut world, Patient, &first);
    assert_eq!(changed(&mut world, tx).await, (1, 0));

    // The copy is refused even when the wrap is gone from its record.
    let copy = changes(second, &[], std::slice::from_ref(&wrap));
    let tx = signed_change(&mut world, Patient, &copy);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    let tx = world.revoke_access(Patient, grant_id);
    world.ok(Oracle1, tx).await;
    let remove = changes(record.record_id, &[&Provider1.key()], &[]);
    let tx = change(&mut world, &remove);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    let again = granted(&mut world, permit(Provider1)).await.grant_id;
    let copied = gated(&Provider1.key(), &Oracle1.key(), Some(again));
    let copy = changes(second, &[], std::slice::from_ref(&copied));
    let tx = signed_change(&mut world, Patient, &copy);
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;

    // Back to its own record it may come, and another wrap to the other.
    let other = KeyWrap {
        jwe: "h.k.i.c.another".to_owned(),
        ..copied.clone()
    };
    let tx = signed_change(&mut world, Patient, &both(&copied, &other));
    assert_eq!(changed(&mut world, tx).await, (2, 0));
}

#[tokio::test]
async fn upkeep_needs_no_word() {
    let (mut world, record) = in_custody_of_the_patient().await;
    let id = record.record_id;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let tx = signed_change(&mut world, Patient, &changes(id, &[], &[wrap]));
    world.ok(Oracle1, tx).await;

    // A new gate for the same grantee and grant.
    let new = key("the oracle's second");
    rotate(&mut world, Oracle1, &new).await;
    let anew = gated(&Provider1.key(), &new, Some(grant_id));
    let tx = change(&mut world, &changes(id, &[], std::slice::from_ref(&anew)));
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    let second = granted(&mut world, permit(Provider1)).await.grant_id;
    let other_grant = gated(&Provider1.key(), &new, Some(second));
    let tx = change(&mut world, &changes(id, &[], &[other_grant]));
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;

    let tx = world.revoke_access(Patient, grant_id);
    world.ok(Oracle1, tx).await;
    let tx = change(&mut world, &changes(id, &[&Provider1.key()], &[]));
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    assert_eq!(kept(&mut world, id).await, [plain(&Patient.key())]);
}

#[tokio::test]
async fn a_record_is_not_lost_with_its_patients_old_key() {
    let (mut world, record) = in_custody_of_the_patient().await;
    let id = record.record_id;
    let new = key("the patient's second");
    rotate(&mut world, Patient, &new).await;
    let old = Patient.key();
    let tx = change(&mut world, &changes(id, &[&old], &[]));
    world.refused(Oracle1, tx, ErrorCode::Forbidden).await;
    // Nothing would be left, or nothing that opens alone.
    let tx = signed_change(&mut world, Patient, &changes(id, &[&old], &[]));
    world.refused(Oracle1, tx, ErrorCode::InvalidArgument).await;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let tx = signed_change(&mut world, Patient, &changes(id, &[&old], &[wrap]));
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
    let tx = signed_change(&mut world, Patient, &changes(id, &[&old], &[plain(&new)]));
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    assert_eq!(kept(&mut world, id).await, [plain(&new)]);
}

#[tokio::test]
async fn a_guardian_who_reads_has_a_wrap_while_the_delegation_lasts() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let id = record.record_id;
    guardian(&mut world, &[Power::Read]).await;
    let wrap = gated(&Guardian.key(), &Oracle1.key(), None);
    let tx = change(&mut world, &changes(id, &[], &[wrap]));
    assert_eq!(changed(&mut world, tx).await, (1, 0));
    let remove = changes(id, &[&Guardian.key()], &[]);
    let tx = change(&mut world, &remove);
    world.refused(Oracle1, tx, ErrorCode::StateConflict).await;
    world.now += 3600;
    let tx = change(&mut world, &remove);
    assert_eq!(changed(&mut world, tx).await, (1, 0));
}

#[tokio::test]
async fn an_erased_record_gets_no_wraps_not_even_late() {
    let (mut world, record) = in_custody_of_the_organization().await;
    let id = record.record_id;
    let grant_id = granted(&mut world, permit(Provider1)).await.grant_id;
    let wrap = gated(&Provider1.key(), &Oracle1.key(), Some(grant_id));
    let add = changes(id, &[], &[wrap]);
    let erase = world.request(EraseRecord {
        record_id: id,
        basis: ErasureBasis::PatientRequest,
    });
    let erase = world.signed(Patient, &erase);
    let late = change(&mut world, &add);
    // Endorsed before the erasure, ordered after it.
    let block = [
        world.simulate(Oracle1, erase).await,
        world.simulate(Oracle1, late).await,
    ];
    let codes = world.ledger.commit(&block);
    assert_eq!(
        codes,
        [ValidationCode::Valid, ValidationCode::MvccReadConflict]
    );
    let keys = world.ledger.private_keys(collections::KEYS);
    assert_eq!(keys, [] as [String; 0]);
    let tx = change(&mut world, &add);
    world.refused(Oracle1, tx, ErrorCode::RecordNotFound).await;
}
