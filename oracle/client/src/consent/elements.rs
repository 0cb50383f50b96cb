//! Walking over a FHIR resource in JSON, so that no element is passed over: what nobody took is an
//! obstacle.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Obstacle;

/// What stands in the way, gathered over a whole resource.
#[derive(Debug, Default)]
pub(super) struct Obstacles(Vec<Obstacle>);

impl Obstacles {
    pub(super) fn add(&mut self, element: &str, problem: impl Into<String>) {
        self.0.push(Obstacle {
            element: element.to_owned(),
            problem: problem.into(),
        });
    }

    pub(super) fn into_vec(self) -> Vec<Obstacle> {
        self.0
    }
}

/// One element with its path; remembers which members were taken.
#[derive(Debug)]
pub(super) struct Element<'a> {
    pub(super) path: String,
    members: &'a Map<String, Value>,
    taken: BTreeSet<&'a str>,
}

impl<'a> Element<'a> {
    /// The element at `path`; nothing if `value` is no object.
    pub(super) fn new(path: String, value: &'a Value, obstacles: &mut Obstacles) -> Option<Self> {
        match value {
            Value::Object(members) => Some(Self {
                path,
                members,
                taken: BTreeSet::new(),
            }),
            _ => {
                obstacles.add(&path, "is not an object");
                None
            }
        }
    }

    pub(super) fn path_of(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// A member, whatever it is.
    pub(super) fn take(&mut self, name: &str) -> Option<&'a Value> {
        let (name, value) = self.members.get_key_value(name)?;
        self.taken.insert(name);
        Some(value)
    }

    /// Members that say nothing about who may do what.
    pub(super) fn pass_over(&mut self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// A member that is text.
    pub(super) fn text(&mut self, name: &str, obstacles: &mut Obstacles) -> Option<&'a str> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                obstacles.add(&self.path_of(name), "is not text");
                None
            }
        }
    }

    /// A member that is one element.
    pub(super) fn element(&mut self, name: &str, obstacles: &mut Obstacles) -> Option<Self> {
        let value = self.take(name)?;
        Element::new(self.path_of(name), value, obstacles)
    }

    /// A member that is a list of elements; empty if it is absent.
    pub(super) fn elements(&mut self, name: &str, obstacles: &mut Obstacles) -> Vec<Self> {
        let path = self.path_of(name);
        match self.take(name) {
            None => vec![],
            Some(Value::Array(items)) if !items.is_empty() => items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| Element::new(format!("{path}[{i}]"), item, obstacles))
                .collect(),
            Some(_) => {
                obstacles.add(&path, "is not a list of something");
                vec![]
            }
        }
    }

    /// A code: the element's `system` and `code`. Its `display` and `version` change nothing.
    pub(super) fn coding(&mut self, obstacles: &mut Obstacles) -> Option<(&'a str, &'a str)> {
        self.pass_over(&["id", "display", "version", "userSelected"]);
        let system = self.text("system", obstacles).unwrap_or_default();
        let code = self.text("code", obstacles);
        if code.is_none() {
            obstacles.add(&self.path, "has no code");
        }
        Some((system, code?))
    }

    /// The codes of a CodeableConcept; one at least.
    pub(super) fn concept(&mut self, obstacles: &mut Obstacles) -> Vec<(&'a str, &'a str)> {
        self.pass_over(&["id", "text"]);
        let codings = self.elements("coding", obstacles);
        if codings.is_empty() {
            obstacles.add(&self.path, "has no coding");
        }
        codings
            .into_iter()
            .filter_map(|mut coding| {
                let found = coding.coding(obstacles);
                coding.finish(obstacles);
                found
            })
            .collect()
    }

    /// Says which members nobody took.
    pub(super) fn finish(self, obstacles: &mut Obstacles) {
        for name in self.members.keys() {
            if !self.taken.contains(name.as_str()) {
                obstacles.add(&self.path_of(name), "a grant cannot say this");
            }
        }
    }
}
