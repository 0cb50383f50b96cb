//! Who and what the references of FHIR resources are in the consortium.

use std::{collections::BTreeMap, str::FromStr};

use contract_interface::{
    ContextId, DeviceId, Grantee, MspId, ParticipantId, Pseudonym, RecordId, Role, access::Author,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::elements::{Element, Obstacles};

/// What a reference means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Patient(Pseudonym),
    Participant(ParticipantId),
    Organization(MspId),
    Role {
        msp_id: MspId,
        role: Role,
    },
    Device(DeviceId),
    Record(RecordId),
    Context(ContextId),
    /// Those whose certificate allows them to declare an emergency.
    Emergency,
}

/// A table from references (`Practitioner/42`, or an absolute address) to what they mean.
///
/// Written as a JSON object: each value is one target or a list of them. A target is
/// `patient:PSEUDONYM`, `participant:ID`, `organization:MSP`, `role:MSP/provider`, `device:ID`,
/// `record:ID`, `context:ID` or `emergency`. References by identifier with a system such as
/// `urn:salus:participant` need no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References(BTreeMap<String, Vec<Target>>);

/// A table of references that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferencesError {
    /// It is no JSON object of texts or lists of texts.
    #[error("the table of references is not a JSON object of texts or lists of texts")]
    NotATable {
        /// Where and why.
        source: serde_json::Error,
    },
    /// A target has none of the forms.
    #[error(
        "{reference}: {target:?} is none of patient:PSEUDONYM, participant:ID, organization:MSP, \
         role:MSP/provider, device:ID, record:ID, context:ID, emergency"
    )]
    Target {
        /// Of which reference.
        reference: String,
        /// What it says.
        target: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Resources whose IDs are contexts.
const CONTEXTS: [&str; 3] = ["Encounter", "CarePlan", "EpisodeOfCare"];

/// Prefix of the systems of identifiers that need no table.
const SYSTEM_PREFIX: &str = "urn:salus:";
/// What organisations are called in the systems, as in the oracle's AuditEvents.
const MSP: &str = "msp";

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "emergency" {
            return Ok(Self::Emergency);
        }
        let (kind, rest) = text.split_once(':').ok_or(())?;
        match kind {
            "patient" => rest.parse().map(Self::Patient).map_err(drop),
            "participant" => rest.parse().map(Self::Participant).map_err(drop),
            "organization" => rest.parse().map(Self::Organization).map_err(drop),
            "role" => {
                let (msp_id, role) = rest.split_once('/').ok_or(())?;
                Ok(Self::Role {
                    msp_id: msp_id.parse().map_err(drop)?,
                    role: Role::from_text(role).ok_or(())?,
                })
            }
            "device" => rest.parse().map(Self::Device).map_err(drop),
            "record" => rest.parse().map(Self::Record).map_err(drop),
            "context" => rest.parse().map(Self::Context).map_err(drop),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Patient(id) => write!(f, "patient:{id}"),
            Self::Participant(id) => write!(f, "participant:{id}"),
            Self::Organization(id) => write!(f, "organization:{id}"),
            Self::Role { msp_id, role } => write!(f, "role:{msp_id}/{role}"),
            Self::Device(id) => write!(f, "device:{id}"),
            Self::Record(id) => write!(f, "record:{id}"),
            Self::Context(id) => write!(f, "context:{id}"),
            Self::Emergency => f.write_str("emergency"),
        }
    }
}

impl Target {
    /// The person, if it is one.
    pub(super) fn person(&self) -> Option<ParticipantId> {
        match self {
            Self::Participant(id) => Some(*id),
            Self::Patient(id) => Some((*id).into()),
            _ => None,
        }
    }

    /// Whom a rule can be about.
    pub(super) fn grantee(&self) -> Option<Grantee> {
        match self {
            Self::Organization(msp_id) => Some(Grantee::Organization(msp_id.clone())),
            Self::Role { msp_id, role } => Some(Grantee::Role {
                msp_id: msp_id.clone(),
                role: *role,
            }),
            _ => self.person().map(Grantee::Participant),
        }
    }

    /// Whose data a rule can be about.
    pub(super) fn author(&self) -> Option<Author> {
        match self {
            Self::Organization(msp_id) => Some(Author::Organization(msp_id.clone())),
            Self::Device(id) => Some(Author::Device(id.clone())),
            _ => self.person().map(Author::Participant),
        }
    }
}

impl FromStr for References {
    type Err = ReferencesError;

    fn from_str(json: &str) -> Result<Self, ReferencesError> {
        let raw: BTreeMap<String, OneOrMore> =
            serde_json::from_str(json).map_err(|source| ReferencesError::NotATable { source })?;
        let mut table = BTreeMap::new();
        for (reference, targets) in raw {
            let targets = match targets {
                OneOrMore::One(target) => vec![target],
                OneOrMore::More(targets) => targets,
            };
            let targets = targets
                .into_iter()
                .map(|target| {
                    target.parse().map_err(|()| ReferencesError::Target {
                        reference: reference.clone(),
                        target,
                    })
                })
                .collect::<Result<Vec<_>, _>>()?;
            table.insert(reference, targets);
        }
        Ok(Self(table))
    }
}

impl References {
    /// What a Reference means: by the table, or by an identifier of Salus's own. `choose` picks the
    /// meaning that fits; `what` says what would fit.
    pub(super) fn resolve<T>(
        &self,
        reference: Option<Element<'_>>,
        path: &str,
        what: &str,
        choose: impl Fn(&Target) -> Option<T>,
        obstacles: &mut Obstacles,
    ) -> Vec<T> {
        let Some(mut element) = reference else {
            obstacles.add(path, "names nobody and nothing");
            return vec![];
        };
        element.pass_over(&["id", "type", "display"]);
        let literal = element.text("reference", obstacles);
        let logical = element.element("identifier", obstacles);
        let path = element.path.clone();
        element.finish(obstacles);
        let (name, targets) = match (literal, logical) {
            (Some(literal), _) => (literal.to_owned(), self.literal(literal)),
            (None, Some(logical)) => by_identifier(logical, obstacles),
            (None, None) => (String::new(), None),
        };
        let Some(targets) = targets else {
            obstacles.add(
                &path,
                format!("{name:?} is not in the table of references: {what}"),
            );
            return vec![];
        };
        let found: Vec<T> = targets.iter().filter_map(choose).collect();
        if found.is_empty() {
            let meanings: Vec<String> = targets.iter().map(ToString::to_string).collect();
            obstacles.add(
                &path,
                format!("{name:?} is {}: {what}", meanings.join(", ")),
            );
        }
        found
    }

    /// What a literal reference means. Encounters, care plans and episodes are contexts by their
    /// own IDs if the table says nothing else.
    fn literal(&self, reference: &str) -> Option<Vec<Target>> {
        if let Some(targets) = self.0.get(reference) {
            return Some(targets.clone());
        }
        let (kind, id) = reference.split_once('/')?;
        let is_context = CONTEXTS.contains(&kind);
        is_context.then(|| Some(vec![Target::Context(id.parse().ok()?)]))?
    }

    /// The Reference to a target: by the table, or by identifier.
    pub(super) fn reference_to(&self, target: &Target) -> Value {
        let listed = self
            .0
            .iter()
            .find(|(_, targets)| targets.as_slice() == std::slice::from_ref(target));
        match listed {
            Some((reference, _)) => json!({ "reference": reference }),
            None => {
                let text = target.to_string();
                let (kind, value) = text.split_once(':').unwrap_or((&text, &text));
                let kind = if kind == "organization" { MSP } else { kind };
                json!({
                    "identifier": { "system": format!("{SYSTEM_PREFIX}{kind}"), "value": value },
                })
            }
        }
    }
}

fn by_identifier(
    mut identifier: Element<'_>,
    obstacles: &mut Obstacles,
) -> (String, Option<Vec<Target>>) {
    identifier.pass_over(&["id", "use", "type", "period", "assigner"]);
    let system = identifier.text("system", obstacles).unwrap_or_default();
    let value = identifier.text("value", obstacles).unwrap_or_default();
    identifier.finish(obstacles);
    let target = system
        .strip_prefix(SYSTEM_PREFIX)
        .map(|kind| if kind == MSP { "organization" } else { kind })
        .and_then(|kind| format!("{kind}:{value}").parse().ok());
    (
        format!("{system}|{value}"),
        target.map(|target| vec![target]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_come_back_as_they_are_written() {
        let id = "0a".repeat(16);
        for text in [
            &format!("patient:{id}"),
            &format!("participant:{id}"),
            "organization:Org1MSP",
            "role:Org1MSP/provider",
            "device:hr-1",
            &format!("record:{id}"),
            "context:enc-1",
            "emergency",
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), *text);
        }
        for bad in ["", "emergency:", "participant:x", "role:Org1MSP", "who:x"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_table_is_texts_or_lists() {
        let table: References = r#"{"Encounter/1": ["context:1", "device:d"], "D/2": "device:d"}"#
            .parse()
            .unwrap();
        assert_eq!(table.literal("Encounter/1").unwrap().len(), 2);
        let untold = Target::Context("7".parse().unwrap());
        assert_eq!(table.literal("CarePlan/7"), Some(vec![untold]));
        assert_eq!(table.literal("Practitioner/7"), None);
        let device = Target::Device("d".parse().unwrap());
        assert_eq!(
            table.reference_to(&device),
            json!({ "reference": "D/2" }),
            "not the one that means other things too"
        );
        let other = Target::Device("e".parse().unwrap());
        assert_eq!(
            table.reference_to(&other),
            json!({ "identifier": { "system": "urn:salus:device", "value": "e" } })
        );
        for (bad, why) in [
            ("[]", "JSON object"),
            (r#"{"a": 1}"#, "JSON object"),
            (r#"{"a": "b"}"#, "none of"),
        ] {
            let error = bad.parse::<References>().unwrap_err();
            assert!(error.to_string().contains(why), "{bad}: {error}");
        }
    }
}
