//! A provision of a Consent, read.

use std::collections::BTreeSet;

use contract_interface::{
    ContextId, Decision, GrantPeriod, Grantee, RecordId, RecordType, UtcTime,
    access::{Author, SecurityLabel},
};

use super::{
    codes::{self, PurposeOfUse},
    dates,
    elements::{Element, Obstacles},
    references::{References, Target},
};

/// Nested provisions of one Consent, at most.
const NESTED_MAX: usize = 64;

/// Who a provision is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Actor {
    Grantee(Grantee),
    /// Those whose certificate allows them to declare an emergency.
    Emergency,
}

/// Which data, as alternatives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) records: Vec<RecordId>,
    pub(super) contexts: Vec<ContextId>,
    pub(super) authors: Vec<Author>,
}

impl Data {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.contexts.is_empty() && self.authors.is_empty()
    }
}

/// A provision; what it does not say is empty or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Provision {
    pub(super) path: String,
    pub(super) decision: Decision,
    pub(super) start: Option<UtcTime>,
    pub(super) end: Option<UtcTime>,
    pub(super) actors: Vec<Actor>,
    pub(super) purposes: BTreeSet<PurposeOfUse>,
    pub(super) labels: BTreeSet<SecurityLabel>,
    pub(super) types: Vec<RecordType>,
    pub(super) data_period: Option<GrantPeriod>,
    pub(super) data: Data,
    pub(super) nested: Vec<Self>,
}

impl Provision {
    /// Reads a provision, with those nested in it if it is the root.
    pub(super) fn read(
        mut element: Element<'_>,
        is_root: bool,
        references: &References,
        obstacles: &mut Obstacles,
    ) -> Self {
        element.pass_over(&["id"]);
        let (start, end) = period(&mut element, "period", obstacles);
        let (from, until) = period(&mut element, "dataPeriod", obstacles);
        let provision = Self {
            path: element.path.clone(),
            decision: decision(&mut element, obstacles),
            start,
            end,
            actors: actors(&mut element, references, obstacles),
            purposes: purposes(&mut element, obstacles),
            labels: labels(&mut element, obstacles),
            types: types(&mut element, obstacles),
            data_period: (from.is_some() || until.is_some()).then_some(GrantPeriod { from, until }),
            data: data(&mut element, references, obstacles),
            nested: if is_root {
                nested(&mut element, references, obstacles)
            } else {
                vec![]
            },
        };
        element.finish(obstacles);
        provision
    }

    /// A nested provision with what it leaves unsaid taken from the root.
    pub(super) fn within(&self, root: &Self) -> Self {
        fn or<T: Clone>(own: &T, roots: &T, is_empty: bool) -> T {
            if is_empty { roots.clone() } else { own.clone() }
        }
        Self {
            path: self.path.clone(),
            decision: self.decision,
            start: self.start.or(root.start),
            end: self.end.or(root.end),
            actors: or(&self.actors, &root.actors, self.actors.is_empty()),
            purposes: or(&self.purposes, &root.purposes, self.purposes.is_empty()),
            labels: or(&self.labels, &root.labels, self.labels.is_empty()),
            types: or(&self.types, &root.types, self.types.is_empty()),
            data_period: self.data_period.or(root.data_period),
            data: or(&self.data, &root.data, self.data.is_empty()),
            nested: vec![],
        }
    }
}

fn decision(element: &mut Element<'_>, obstacles: &mut Obstacles) -> Decision {
    match element.text("type", obstacles) {
        Some("permit") => Decision::Permit,
        Some("deny") => Decision::Deny,
        _ => {
            obstacles.add(&element.path_of("type"), "is neither permit nor deny");
            Decision::Deny
        }
    }
}

/// Start and end of a Period; the end is the second after it.
fn period(
    element: &mut Element<'_>,
    name: &str,
    obstacles: &mut Obstacles,
) -> (Option<UtcTime>, Option<UtcTime>) {
    let Some(mut period) = element.element(name, obstacles) else {
        return (None, None);
    };
    let mut date = |name: &str, read: fn(&str) -> Option<UtcTime>, obstacles: &mut Obstacles| {
        let text = period.text(name, obstacles)?;
        let time = read(text);
        if time.is_none() {
            obstacles.add(&period.path_of(name), format!("{text:?} is no date"));
        }
        time
    };
    let start = date("start", dates::begin, obstacles);
    let end = date("end", dates::after, obstacles);
    if matches!((start, end), (Some(start), Some(end)) if end <= start) {
        obstacles.add(&period.path, "ends before it starts");
    }
    period.pass_over(&["id"]);
    period.finish(obstacles);
    (start, end)
}

fn actors(
    element: &mut Element<'_>,
    references: &References,
    obstacles: &mut Obstacles,
) -> Vec<Actor> {
    let mut actors = Vec::new();
    for mut actor in element.elements("actor", obstacles) {
        actor.pass_over(&["id"]);
        if let Some(mut role) = actor.element("role", obstacles) {
            let path = role.path.clone();
            let codes = role.concept(obstacles);
            role.finish(obstacles);
            if !codes.contains(&(codes::PARTICIPATION, codes::RECIPIENT)) {
                obstacles.add(&path, "a grant is about who receives data (IRCP)");
            }
        }
        let path = actor.path_of("reference");
        let reference = actor.element("reference", obstacles);
        actors.extend(references.resolve(
            reference,
            &path,
            "say which participant, organisation or role it is, or emergency",
            |target| match target {
                Target::Emergency => Some(Actor::Emergency),
                other => other.grantee().map(Actor::Grantee),
            },
            obstacles,
        ));
        actor.finish(obstacles);
    }
    actors
}

fn purposes(element: &mut Element<'_>, obstacles: &mut Obstacles) -> BTreeSet<PurposeOfUse> {
    codings(element, "purpose", obstacles, |system, code| {
        codes::purpose(system, code).map(|purpose| vec![purpose])
    })
}

fn labels(element: &mut Element<'_>, obstacles: &mut Obstacles) -> BTreeSet<SecurityLabel> {
    codings(element, "securityLabel", obstacles, codes::labels)
}

fn codings<T: Ord>(
    element: &mut Element<'_>,
    name: &str,
    obstacles: &mut Obstacles,
    read: impl Fn(&str, &str) -> Result<Vec<T>, String>,
) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    for mut coding in element.elements(name, obstacles) {
        match coding.coding(obstacles).map(|(s, c)| read(s, c)) {
            Some(Ok(meanings)) => found.extend(meanings),
            Some(Err(problem)) => obstacles.add(&coding.path, problem),
            None => {}
        }
        coding.finish(obstacles);
    }
    found
}

fn types(element: &mut Element<'_>, obstacles: &mut Obstacles) -> Vec<RecordType> {
    let mut types = Vec::new();
    for mut concept in element.elements("code", obstacles) {
        let path = concept.path.clone();
        for (system, code) in concept.concept(obstacles) {
            match (system, code.parse()) {
                (codes::LOINC | codes::RECORD_TYPE, Ok(record_type)) => types.push(record_type),
                _ => obstacles.add(
                    &path,
                    format!("{system}|{code} is no record type: these are LOINC codes"),
                ),
            }
        }
        concept.finish(obstacles);
    }
    types.sort();
    types.dedup();
    types
}

fn data(element: &mut Element<'_>, references: &References, obstacles: &mut Obstacles) -> Data {
    let mut data = Data::default();
    for mut item in element.elements("data", obstacles) {
        item.pass_over(&["id"]);
        let meaning = item.text("meaning", obstacles).unwrap_or_default();
        let path = item.path_of("reference");
        let reference = item.element("reference", obstacles);
        match meaning {
            "instance" => data.records.extend(references.resolve(
                reference,
                &path,
                "say which record:ID it is",
                |target| match target {
                    Target::Record(id) => Some(*id),
                    _ => None,
                },
                obstacles,
            )),
            "related" => data.contexts.extend(references.resolve(
                reference,
                &path,
                "say which context:ID it is",
                |target| match target {
                    Target::Context(id) => Some(id.clone()),
                    _ => None,
                },
                obstacles,
            )),
            "authoredby" => data.authors.extend(references.resolve(
                reference,
                &path,
                "say which participant, device or organisation it is",
                Target::author,
                obstacles,
            )),
            other => obstacles.add(
                &item.path_of("meaning"),
                format!("{other:?} is none of instance, related, authoredby"),
            ),
        }
        item.finish(obstacles);
    }
    data.records.sort();
    data.records.dedup();
    data.contexts.sort();
    data.contexts.dedup();
    data.authors.sort();
    data.authors.dedup();
    data
}

fn nested(
    element: &mut Element<'_>,
    references: &References,
    obstacles: &mut Obstacles,
) -> Vec<Provision> {
    let children = element.elements("provision", obstacles);
    if children.len() > NESTED_MAX {
        obstacles.add(
            &element.path_of("provision"),
            format!("has more than {NESTED_MAX} items"),
        );
        return vec![];
    }
    children
        .into_iter()
        .map(|child| Provision::read(child, false, references, obstacles))
        .collect()
}
