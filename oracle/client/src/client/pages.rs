//! Lists come in pages; callers get them whole.

use contract_interface::{
    Device, DevicePage, GrantEntry, GrantPage, PageRequest, PageToken, Participant,
    ParticipantPage, ReadEntry, ReadPage, Record, RecordPage,
    access::{
        AccessRequestEntry, AccessRequestPage, DelegationEntry, DelegationPage, EmergencyEntry,
        EmergencyPage, Notice, NoticePage, PolicyEntry, PolicyPage,
    },
    record::{RegisteredPage, RegisteredRecord},
};
use serde::de::DeserializeOwned;

use crate::{error::ClientError, http::Http};

/// Items of one list, at most: a list of more is asked for by period.
const ITEMS_MAX: usize = 1_000_000;

/// One page of a list.
pub(super) trait Page: DeserializeOwned {
    type Item;
    fn split(self) -> (Vec<Self::Item>, Option<PageToken>);
}

macro_rules! pages {
    ($($page:ident.$items:ident: $item:ident;)+) => {
        $(impl Page for $page {
            type Item = $item;
            fn split(self) -> (Vec<$item>, Option<PageToken>) {
                (self.$items, self.next_page_token)
            }
        })+
    };
}

pages! {
    ParticipantPage.participants: Participant;
    DevicePage.devices: Device;
    RecordPage.records: Record;
    RegisteredPage.records: RegisteredRecord;
    GrantPage.grants: GrantEntry;
    PolicyPage.policies: PolicyEntry;
    DelegationPage.delegations: DelegationEntry;
    AccessRequestPage.access_requests: AccessRequestEntry;
    EmergencyPage.emergencies: EmergencyEntry;
    NoticePage.notices: Notice;
    ReadPage.reads: ReadEntry;
}

/// The query of a list: the filter's members that are present.
pub(super) type Query<'a> = Vec<(&'a str, Option<String>)>;

/// Gets every page of the list at `path`, from the one that `page` names.
pub(super) async fn all<P: Page>(
    http: &Http,
    path: &str,
    mut query: Query<'_>,
    page: PageRequest,
) -> Result<Vec<P::Item>, ClientError> {
    query.push(("page_size", text(page.page_size)));
    query.push(("page_token", text(page.page_token)));
    let mut items = Vec::new();
    loop {
        let (more, next) = http.get::<P>(path, &query).await?.split();
        items.extend(more);
        let next = text(next);
        let token = query.last_mut().map(|(_, token)| token);
        match (token, next) {
            (Some(token), Some(next)) if items.len() < ITEMS_MAX => {
                if token.as_ref() == Some(&next) {
                    return Err(ClientError::Malformed {
                        what: "a page that leads on",
                    });
                }
                *token = Some(next);
            }
            (_, None) => return Ok(items),
            _ => return Err(ClientError::LongList { limit: ITEMS_MAX }),
        }
    }
}

/// What the query says of a member.
pub(super) fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}
