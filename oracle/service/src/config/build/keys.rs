//! Keys by kind: what is missing, empty or out of its range becomes a problem with its name.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use fabric_msp::MspId;
use humantime_serde::re::humantime;
use serde::de::DeserializeOwned;

use super::super::*;
use super::Sections;

impl Sections {
    /// One of a few words; absent, the first of them.
    pub(super) fn mode<T>(&mut self, key: &str, value: Option<String>) -> Option<T>
    where
        T: FromStr<Err = UnknownMode> + Default,
    {
        match value {
            None => Some(T::default()),
            Some(text) => self.parsed(key, &text),
        }
    }

    pub(super) fn paths(&mut self, key: &str, values: Option<Vec<String>>) -> Vec<PathBuf> {
        let values = values.unwrap_or_default();
        let paths = values
            .into_iter()
            .enumerate()
            .filter_map(|(index, text)| self.path(&format!("{key}[{index}]"), Some(text)));
        paths.collect()
    }

    pub(super) fn problem(&mut self, key: &str, expected: impl Into<String>) {
        self.problems.push(KeyProblem {
            key: key.to_owned(),
            expected: expected.into(),
        });
    }

    /// Reads a whole section; an absent one is an empty one.
    pub(super) fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> Option<T> {
        if !self.figment.contains(name) {
            return Some(T::default());
        }
        match self.figment.extract_inner(name) {
            Ok(section) => Some(section),
            Err(errors) => {
                for error in errors {
                    let key = key_of(name, &error);
                    self.problem(&key, error.kind.to_string());
                }
                None
            }
        }
    }

    pub(super) fn required(&mut self, key: &str, value: Option<String>) -> Option<String> {
        match value {
            Some(text) if !text.is_empty() => Some(text),
            Some(_) => {
                self.problem(key, "is empty");
                None
            }
            None => {
                self.problem(key, "missing");
                None
            }
        }
    }

    pub(super) fn parsed<T>(&mut self, key: &str, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        text.parse()
            .map_err(|error: T::Err| self.problem(key, error.to_string()))
            .ok()
    }

    pub(super) fn msp_id(&mut self, key: &str, value: Option<String>) -> Option<MspId> {
        let text = self.required(key, value)?;
        self.parsed(key, &text)
    }

    pub(super) fn path(&mut self, key: &str, value: Option<String>) -> Option<PathBuf> {
        let text = self.required(key, value)?;
        Some(self.folder.join(text))
    }

    /// A channel's or a chaincode's name, in the letters Fabric allows for either.
    pub(super) fn name(
        &mut self,
        key: &str,
        value: Option<String>,
        default: &str,
    ) -> Option<String> {
        let text = self.required(key, Some(value.unwrap_or_else(|| default.to_owned())))?;
        if text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        {
            Some(text)
        } else {
            self.problem(key, "may hold letters, digits, '.', '-' and '_' only");
            None
        }
    }

    pub(super) fn address(&mut self, key: &str, value: Option<String>) -> Option<SocketAddr> {
        let text = value.unwrap_or_else(|| DEFAULT_LISTEN.to_owned());
        match text.parse() {
            Ok(address) => Some(address),
            Err(_) => {
                self.problem(key, "is not an address and port like 127.0.0.1:8443");
                None
            }
        }
    }

    pub(super) fn size(
        &mut self,
        key: &str,
        value: Option<String>,
        default: u64,
        allowed: &RangeInclusive<u64>,
    ) -> Option<u64> {
        let Some(text) = value else {
            return Some(default);
        };
        let bytes = self.parsed::<ByteSize>(key, &text)?.bytes();
        self.within(key, bytes, allowed, |bytes| format!("{bytes}B"))
    }

    pub(super) fn duration(
        &mut self,
        key: &str,
        value: Option<String>,
        default: Duration,
        allowed: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(text) = value else {
            return Some(default);
        };
        match humantime::parse_duration(&text) {
            Ok(duration) => self.within(key, duration, allowed, |duration| {
                humantime::format_duration(*duration).to_string()
            }),
            Err(_) => {
                self.problem(key, "is not a duration with its unit, for example \"5s\"");
                None
            }
        }
    }

    pub(super) fn count(
        &mut self,
        key: &str,
        value: Option<u64>,
        default: usize,
        allowed: &RangeInclusive<u64>,
    ) -> Option<usize> {
        let Some(number) = value else {
            return Some(default);
        };
        let number = self.within(key, number, allowed, u64::to_string)?;
        usize::try_from(number).ok()
    }

    pub(super) fn within<T: PartialOrd>(
        &mut self,
        key: &str,
        value: T,
        allowed: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if allowed.contains(&value) {
            return Some(value);
        }
        let (least, most) = (show(allowed.start()), show(allowed.end()));
        self.problem(key, format!("must be from {least} to {most}"));
        None
    }
}

/// Where in the file an error is. Figment puts the section behind the key's own path.
fn key_of(section: &str, error: &figment::Error) -> String {
    let mut key = section.to_owned();
    for part in error.path.iter().filter(|part| *part != section) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) {
            key.push_str(&format!("[{part}]"));
        } else {
            key.push('.');
            key.push_str(part);
        }
    }
    key
}
