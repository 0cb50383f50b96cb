//! Notices: what someone is told without asking.
//!
//! Each lies under its blinded recipient in the order of its transaction's time: when its request
//! was signed would be up to a window earlier, behind what a reader of the list has seen. The notice that a grant has run out
//! is laid down when the grant is given, dated at the end of its validity, and shown from then on;
//! a revocation before takes it back. So listing needs no look at the grants, and costs what the
//! page holds.

use contract_interface::access::{Happening, Notice, NoticeFilter, NoticePage, Recipient};
use contract_interface::names::{collections, transactions};
use contract_interface::{
    Decision, Digest, GrantEntry, Grantee, NoticeId, Pseudonym, Salt, UtcTime, canonical_json,
};
use fabric_shim::{Stub, create_composite_key};

use crate::actor::Viewer;
use crate::failure::Failure;
use crate::input;
use crate::keys::object_types;
use crate::ledger::{self, Ledger};
use crate::scan::Query;

/// Lays a notice down.
pub(crate) async fn put(
    ledger: &Ledger<'_>,
    recipient: Recipient,
    patient: Pseudonym,
    at: UtcTime,
    happening: Happening,
    salt: &Salt,
) -> Result<(), Failure> {
    let mut notice = Notice {
        notice_id: NoticeId::from_bytes([0; NoticeId::BYTES]),
        recipient,
        patient,
        at,
        happening,
        salt: Some(*salt),
    };
    notice.notice_id = id_of(&notice)?;
    let key = ledger
        .blinding
        .notice(&notice.recipient, at, &notice.notice_id)?;
    ledger.put(collections::RECORDS, &key, &notice).await
}

/// The same notice has the same ID, whoever lays it down.
fn id_of(notice: &Notice) -> Result<NoticeId, Failure> {
    let told = (
        &notice.recipient,
        &notice.patient,
        &notice.at,
        &notice.happening,
    );
    let digest = Digest::of(&canonical_json(&told)?);
    Ok(NoticeId::from_bytes(*digest.as_bytes()))
}

/// Tells who holds a new grant of it, now and when it runs out. A denial is not told: that a
/// patient does not trust someone is the patient's own.
pub(crate) async fn grant_given(
    ledger: &Ledger<'_>,
    entry: &GrantEntry,
    now: UtcTime,
    salt: &Salt,
) -> Result<(), Failure> {
    if entry.grant.rule.decision == Decision::Deny {
        return Ok(());
    }
    let grant_id = entry.grant.grant_id;
    for (at, happening) in [
        (now, Happening::GrantGiven { grant_id }),
        (
            entry.grant.valid_until,
            Happening::GrantExpired { grant_id },
        ),
    ] {
        let recipient = holder(&entry.grant.rule.grantee);
        put(ledger, recipient, entry.patient, at, happening, salt).await?;
    }
    Ok(())
}

/// Tells who held a grant that it is revoked; it will not run out any more.
pub(crate) async fn grant_revoked(
    ledger: &Ledger<'_>,
    entry: &GrantEntry,
    at: UtcTime,
    salt: &Salt,
) -> Result<(), Failure> {
    if entry.grant.rule.decision == Decision::Deny {
        return Ok(());
    }
    let grant_id = entry.grant.grant_id;
    let recipient = holder(&entry.grant.rule.grantee);
    if at < entry.grant.valid_until {
        let expiry = Notice {
            notice_id: NoticeId::from_bytes([0; NoticeId::BYTES]),
            recipient: recipient.clone(),
            patient: entry.patient,
            at: entry.grant.valid_until,
            happening: Happening::GrantExpired { grant_id },
            salt: None,
        };
        let key = ledger
            .blinding
            .notice(&recipient, expiry.at, &id_of(&expiry)?)?;
        ledger
            .stub
            .del_private_data(collections::RECORDS, &key)
            .await?;
    }
    let happening = Happening::GrantRevoked { grant_id };
    put(ledger, recipient, entry.patient, at, happening, salt).await
}

/// Who holds what is given to a grantee. Of roles only providers can be named.
fn holder(grantee: &Grantee) -> Recipient {
    match grantee {
        Grantee::Participant(id) => Recipient::Participant(*id),
        Grantee::Organization(msp_id) | Grantee::Role { msp_id, .. } => {
            Recipient::Providers(msp_id.clone())
        }
        Grantee::Anyone => Recipient::Anyone,
    }
}

/// The viewer's notices, oldest first.
///
/// They are merged from what goes to the viewer by name and by what it is. A page looks at no more
/// than one key beyond its size for each of these.
pub(super) async fn list(stub: &Stub, filter: &NoticeFilter) -> Result<NoticePage, Failure> {
    let ledger = Ledger::open(stub).await?;
    let viewer = Viewer::of(&ledger).await?;
    let now = input::transaction_time(stub)?;
    let items = filter.page.items()?;
    let query = Query::new(transactions::LIST_NOTICES, filter, &viewer)?;
    let place = match &filter.page.page_token {
        Some(token) => Some(query.open(&ledger.blinding, token)?),
        None => None,
    };
    let start = Start {
        place: place.as_deref(),
        from: filter.from,
    };
    let mut notices = Vec::new();
    for recipient in recipients(&viewer)? {
        notices.extend(to(&ledger, &recipient, &start, now, items + 1).await?);
    }
    notices.sort_by_key(|notice| (notice.at, notice.notice_id));
    let more = notices.len() > items;
    notices.truncate(items);
    let next_page_token = match notices.last() {
        Some(last) if more => {
            let place = format!("{}{}", last.at, last.notice_id);
            Some(query.seal(&ledger.blinding, &place)?)
        }
        _ => None,
    };
    Ok(NoticePage {
        notices,
        next_page_token,
    })
}

/// As whom the viewer is told things.
fn recipients(viewer: &Viewer) -> Result<Vec<Recipient>, Failure> {
    Ok(match viewer {
        Viewer::Patient { participant, .. } => {
            vec![Recipient::Participant(participant.participant_id)]
        }
        Viewer::Provider { participant, .. } => vec![
            Recipient::Participant(participant.participant_id),
            Recipient::Providers(participant.msp_id.clone()),
            Recipient::Anyone,
        ],
        Viewer::Organization { msp_id } => vec![Recipient::PrivacyOfficers(msp_id.clone())],
        Viewer::Oracle { .. } => {
            return Err(Failure::forbidden("an oracle is told nothing for itself"));
        }
    })
}

/// Where a page starts in the notices of every recipient.
struct Start<'a> {
    /// Time and ID of the last notice of the page before.
    place: Option<&'a str>,
    from: Option<UtcTime>,
}

impl Start<'_> {
    /// The key behind which the page starts, for the notices under `part`.
    fn after(&self, part: &str) -> Result<String, Failure> {
        let from = self.from.map(|from| from.to_string());
        let attributes = match (self.place, &from) {
            (Some(place), _) => {
                let (at, id) = place
                    .split_at_checked(TIME_CHARS)
                    .ok_or_else(|| Failure::corrupt("a page token"))?;
                vec![part, at, id]
            }
            (None, Some(from)) => vec![part, from.as_str()],
            (None, None) => return Ok(String::new()),
        };
        Ok(create_composite_key(object_types::NOTICE, &attributes)?)
    }
}

/// Characters of a time's text.
const TIME_CHARS: usize = "2026-01-02T03:04:05Z".len();

/// Up to `count` notices to one recipient, up to `now`.
async fn to(
    ledger: &Ledger<'_>,
    recipient: &Recipient,
    start: &Start<'_>,
    now: UtcTime,
    count: usize,
) -> Result<Vec<Notice>, Failure> {
    let part = ledger.blinding.recipient(recipient);
    let mut found = ledger
        .stub
        .get_private_data_by_partial_composite_key_after(
            collections::RECORDS,
            object_types::NOTICE,
            &[&part],
            &start.after(&part)?,
        )
        .await?;
    let mut notices = Vec::new();
    while notices.len() < count
        && let Some(entry) = found.next().await?
    {
        let notice: Notice = ledger::parse("a notice", &entry.value)?;
        if notice.at > now {
            break;
        }
        notices.push(Notice {
            salt: None,
            ..notice
        });
    }
    found.close().await?;
    Ok(notices)
}
