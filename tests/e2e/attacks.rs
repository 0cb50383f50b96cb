//! Attacks, each refused, and each on record: as an entry of the ledger where a registered
//! certificate proves who asked, else as a line in the oracle's log of refusals.
//!
//! The attacker is [`Rogue`]: an oracle's certificate, a provider's, a patient's or an
//! administrator's, without the oracle's program. It chooses every byte and every time of what it
//! sends. [`requests`] attacks what people sign, [`time`] the clock, [`oracles`] the keys,
//! [`objects`] what the store holds, [`members`] private data, [`purge`] an erasure, [`versions`] a
//! denial.

mod members;
mod objects;
mod oracles;
mod purge;
mod requests;
mod time;
mod versions;

use std::fs;

use contract_interface::{
    AuthorizeRead, Decision, ErrorCode, Grant, GrantAccess, GrantId, Grantee, ParticipantId,
    Purpose, ReadDecision, ReadEntry, ReadFilter, ReadPage, ReasonCode, RecordId, RequestBody,
    Rule, UtcTime,
    names::{transactions, transient},
};
use fabric_gateway::Call;
use fabric_msp::SigningIdentity;
use salus::signing;
use salus_tests::{consortium::Person, ledger::Ledger, story::WaitFor, system::Platform};
use serde_json::Value;

use crate::{
    rogue::{Ordered, Refusal, Rogue},
    support::{Answer, Running, has, heart_rate, is_here, publish},
};

/// A consortium at work, and those who will break its rules.
pub(super) struct Scene {
    pub(super) running: Running,
    /// The first organisation's oracle, by its certificate.
    pub(super) oracle: Rogue,
    /// The second organisation's oracle, by its certificate, at its own peer.
    pub(super) other_oracle: Rogue,
    pub(super) other_oracle_keys: Person,
    /// A provider of the second organisation to whom nobody gave anything.
    pub(super) intruder: Person,
    pub(super) intruder_id: ParticipantId,
    /// A record of the first patient.
    pub(super) record: RecordId,
    /// A record of the second patient.
    pub(super) other_record: RecordId,
}

impl Scene {
    pub(super) async fn start(platform: Platform) -> Self {
        let running = Running::start(platform, 2).await;
        let info = running.system.network.info();
        let consortium = &running.system.consortium;
        let intruder = consortium
            .enrol("intruder", 1, &[("salus.role", "provider")])
            .unwrap();
        let other_oracle_keys = consortium.enrol_oracle("oracle2", 1).unwrap();
        let ledger = Ledger::connect(info, 1).unwrap();
        let intruder_id = ledger.register_provider(&intruder, None).await.unwrap();
        let mut records = Vec::new();
        for (patient, minute) in running.cast.patients.iter().zip(0..) {
            let lines = [heart_rate(60, minute), heart_rate(61, minute + 10)];
            let published = publish(&running, patient, &lines, WaitFor::Receipts).await;
            records.push(published[0]);
        }
        Self {
            oracle: Rogue::at(info, 0, &running.system.oracle.identity),
            other_oracle: Rogue::at(info, 1, &other_oracle_keys),
            other_oracle_keys,
            intruder,
            intruder_id,
            record: records[0],
            other_record: records[1],
            running,
        }
    }

    /// Connects anew, to peers that were started again.
    pub(super) fn reconnect(&mut self) {
        let info = self.running.system.network.info();
        self.oracle = Rogue::at(info, 0, &self.running.system.oracle.identity);
        self.other_oracle = Rogue::at(info, 1, &self.other_oracle_keys);
    }

    pub(super) fn patient(&self, number: usize) -> SigningIdentity {
        let person = &self.running.cast.patients[number].person;
        person.signing_identity().unwrap()
    }

    pub(super) fn provider(&self) -> SigningIdentity {
        self.running.cast.provider.signing_identity().unwrap()
    }

    /// A request to read the first patient's record for treatment.
    pub(super) fn read_request(&self) -> AuthorizeRead {
        read_of(self.record)
    }

    /// Submits a signed request as the first organisation's oracle does.
    pub(super) async fn carry(&self, transaction: &str, jws: &str) -> Result<Ordered, Refusal> {
        self.oracle.submit(carrying(transaction, jws)).await
    }

    /// Has a patient of the first organisation give a grant.
    pub(super) async fn give(&self, patient: usize, grant: &Grant) -> GrantId {
        let body = GrantAccess {
            grant: grant.clone(),
            patient: None,
        };
        let jws = self.oracle.sign(&self.patient(patient), body);
        let ordered = self.carry(transactions::GRANT_ACCESS, &jws).await;
        assert_eq!(ordered.unwrap().code, 0);
        grant.grant_id
    }

    /// Checks that a read was denied, for this reason, and that the ledger says so.
    pub(super) async fn denied(
        &self,
        case: &str,
        outcome: Result<Ordered, Refusal>,
        reason: ReasonCode,
    ) -> ReadEntry {
        let entry = self.recorded(case, outcome).await;
        assert_eq!(entry.reason, reason, "{case}");
        assert_eq!(entry.decision, Decision::Deny, "{case}");
        entry
    }

    /// What the ledger keeps of a decision on a read.
    pub(super) async fn recorded(
        &self,
        case: &str,
        outcome: Result<Ordered, Refusal>,
    ) -> ReadEntry {
        let ordered = outcome.unwrap_or_else(|refusal| panic!("{case}: {}", refusal.text));
        let decision: ReadDecision = ordered.json();
        assert_eq!(
            decision.read_id.to_string(),
            ordered.transaction_id,
            "{case}"
        );
        let call = Call::new(transactions::GET_READ).argument(decision.read_id.to_string());
        let entry = self.oracle.evaluate(call).await;
        let entry: ReadEntry = serde_json::from_slice(&entry.unwrap()).unwrap();
        assert_eq!(entry.decision, decision.decision, "{case}");
        entry
    }

    /// How many reads of the first patient's records the ledger knows.
    pub(super) async fn reads(&self) -> usize {
        let filter = ReadFilter {
            patient: Some(self.running.cast.patients[0].pseudonym),
            ..ReadFilter::default()
        };
        let call =
            Call::new(transactions::LIST_READS).argument(serde_json::to_vec(&filter).unwrap());
        let page = self.oracle.evaluate(call).await.unwrap();
        serde_json::from_slice::<ReadPage>(&page)
            .unwrap()
            .reads
            .len()
    }

    /// Asks the oracle's REST API for a record's content with a signed request.
    pub(super) async fn ask(&self, who: &Person, record: &RecordId, jws: &str) -> Answer {
        let header = format!("Salus-Read-Request: {jws}");
        let args = ["-H".to_owned(), header];
        self.running
            .curl(who, &format!("/v1/records/{record}/content"), &args)
            .await
    }

    /// Checks that the contract refuses a request whose signer nobody proved and keeps nothing of
    /// it, and that the oracle refuses the same over REST and keeps a line.
    pub(super) async fn refused_unproven(
        &self,
        case: &str,
        who: &Person,
        record: &RecordId,
        jws: &str,
        contract: ErrorCode,
        rest: &[&str],
    ) {
        let before = self.reads().await;
        let refusal = self.carry(transactions::AUTHORIZE_READ, jws).await;
        let refusal = refusal.expect_err(case);
        assert_eq!(refusal.code, Some(contract), "{case}: {}", refusal.text);
        self.refused_at_rest(case, who, record, jws, rest).await;
        assert_eq!(self.reads().await, before, "{case}");
    }

    /// Checks that the oracle refuses a request over REST and keeps a line of it.
    pub(super) async fn refused_at_rest(
        &self,
        case: &str,
        who: &Person,
        record: &RecordId,
        jws: &str,
        codes: &[&str],
    ) {
        let logged = self.refusals().len();
        let answer = self.ask(who, record, jws).await;
        assert!((400..500).contains(&answer.status), "{case}: {answer:?}");
        let code = answer.code();
        assert!(codes.contains(&code.as_str()), "{case}: {answer:?}");
        let lines = self.refusals();
        assert!(
            lines.len() > logged,
            "{case}: no line in the log of refusals"
        );
        let line = lines.last().unwrap().to_string();
        assert!(line.contains(&code), "{case}: {line} does not name {code}");
        assert!(
            !line.contains(jws),
            "{case}: the log holds the request itself"
        );
    }

    /// The oracle's log of refusals.
    pub(super) fn refusals(&self) -> Vec<Value> {
        let file = self.running.system.oracle.home.join("refusals.jsonl");
        let text = fs::read_to_string(file).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// A transaction that carries a signed request.
pub(super) fn carrying(transaction: &str, jws: &str) -> Call {
    Call::new(transaction).transient(transient::REQUEST, jws)
}

/// A request to read a record for treatment.
pub(super) fn read_of(record_id: RecordId) -> AuthorizeRead {
    AuthorizeRead {
        record_id,
        purpose: Purpose::Treat,
        project: None,
    }
}

/// A permit of everything to someone for treatment.
pub(super) fn permit(grantee: Grantee, from: UtcTime, until: UtcTime) -> Grant {
    Grant {
        grant_id: GrantId::from_bytes(signing::random().unwrap()),
        rule: Rule::permit(grantee, vec![Purpose::Treat]),
        valid_from: from,
        valid_until: until,
        max_reads: None,
        in_reply_to: None,
    }
}

/// So many seconds from now.
pub(super) fn seconds_from_now(seconds: i64) -> UtcTime {
    let now = signing::now().unwrap().unix_seconds();
    UtcTime::from_unix_seconds(now + seconds).unwrap()
}

/// Signs `body` with the key of `signer` in the name of `victim`'s certificate.
pub(super) fn sign_as<B: RequestBody>(
    rogue: &Rogue,
    signer: &SigningIdentity,
    victim: &SigningIdentity,
    body: B,
) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let thumbprint = URL_SAFE_NO_PAD.encode(victim.certificate().thumbprint());
    let header = format!(r#"{{"alg":"ES256","typ":"JOSE","x5t#S256":"{thumbprint}"}}"#);
    let payload = rogue.payload(signing::now().unwrap(), body);
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(payload)
    );
    let signature = signer.sign_es256(input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Changes the payload of a signed request and keeps its signature.
pub(super) fn alter(jws: &str, change: impl FnOnce(&mut Value)) -> String {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let parts: Vec<&str> = jws.split('.').collect();
    let mut payload: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    change(&mut payload);
    let payload = URL_SAFE_NO_PAD.encode(payload.to_string());
    format!("{}.{payload}.{}", parts[0], parts[2])
}

macro_rules! on_both {
    ($($embedded:ident, $real:ident => $attack:path;)+) => {
        $(
            #[tokio::test]
            async fn $embedded() {
                if has(stringify!($embedded), "curl") {
                    $attack(Platform::EMBEDDED).await;
                }
            }

            #[tokio::test]
            async fn $real() {
                if is_here(stringify!($real), Platform::REAL) && has(stringify!($real), "curl") {
                    $attack(Platform::REAL).await;
                }
            }
        )+
    };
}

on_both! {
    forged_requests_are_refused, forged_requests_are_refused_on_real_fabric => requests::attack;
    no_clock_is_turned_back, no_clock_is_turned_back_on_real_fabric => time::attack;
    keys_do_not_leave_before_a_read, keys_do_not_leave_before_a_read_on_real_fabric => oracles::attack;
    altered_objects_are_refused, altered_objects_are_refused_with_real_kubo => objects::attack;
    non_members_see_no_private_data, non_members_see_no_private_data_on_real_fabric => members::attack;
    a_denial_is_not_amended_away, a_denial_is_not_amended_away_on_real_fabric => versions::attack;
    a_late_purge_restores_nothing, a_late_purge_restores_nothing_on_real_fabric => purge::attack;
}
