//! Tables for people, JSON for programs.

use std::io::{self, Write as _};

use salus::{ClientError, Recorded, publish::PublishError};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::terminal;

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints one result: `value` as a line of JSON, or the sentence.
    pub(crate) fn result(self, value: &impl Serialize, sentence: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        if self.json {
            writeln!(stdout, "{}", serde_json::to_string(value)?)
        } else {
            writeln!(stdout, "{}", terminal::harmless(sentence))
        }
    }

    /// Whether programs read what is printed.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Prints each item as a line of JSON.
    pub(crate) fn lines<T: Serialize>(self, items: &[T]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        for item in items {
            writeln!(stdout, "{}", serde_json::to_string(item)?)?;
        }
        Ok(())
    }

    /// Prints what a change did and where it is on the ledger.
    pub(crate) fn recorded(
        self,
        members: &[(&str, &str)],
        recorded: &Recorded,
        sentence: &str,
    ) -> io::Result<()> {
        let Recorded {
            transaction_id,
            block_number,
        } = recorded;
        let mut value: Map<String, Value> = members
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Value::from(*text)))
            .collect();
        value.insert("transaction_id".to_owned(), transaction_id.as_str().into());
        value.insert("block_number".to_owned(), (*block_number).into());
        let sentence = format!("{sentence}, transaction {transaction_id} in block {block_number}");
        self.result(&value, &sentence)
    }

    /// Says on standard error how far something is, to people only.
    pub(crate) fn progress(self, what: &str, done: usize, total: usize) {
        if !self.json {
            // Nothing is lost when standard error is closed.
            let _ = writeln!(io::stderr().lock(), "{what}: {done} of {total}");
        }
    }

    /// Prints a list: each item a line of JSON, or a table.
    pub(crate) fn list<T: Serialize, const N: usize>(
        self,
        items: &[T],
        heads: [&str; N],
        row: impl Fn(&T) -> [String; N],
    ) -> io::Result<()> {
        if self.json {
            return self.lines(items);
        }
        let mut stdout = io::stdout().lock();
        if items.is_empty() {
            return writeln!(stdout, "none");
        }
        let rows: Vec<[String; N]> = std::iter::once(heads.map(str::to_owned))
            .chain(items.iter().map(row))
            .collect();
        let widths: [usize; N] = std::array::from_fn(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        });
        for row in &rows {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(
                stdout,
                "{}",
                terminal::harmless(cells.join("  ").trim_end())
            )?;
        }
        Ok(())
    }
}

/// Prints an error with its causes on standard error, and what to do about it.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut stderr = io::stderr().lock();
    // Nothing is left to do when standard error itself is closed.
    let words = format!("salus: {error:#}");
    let _ = writeln!(stderr, "{}", terminal::harmless(&words));
    if let Some(advice) = advice(error) {
        let _ = writeln!(stderr, "       {advice}");
    }
}

fn advice(error: &anyhow::Error) -> Option<String> {
    if let Some(PublishError::TimedOut { .. }) = error.downcast_ref() {
        return Some("publish the same readings again: none is stored twice".to_owned());
    }
    let error = error.downcast_ref::<ClientError>()?;
    if error.denied_read().is_some() {
        return Some(
            "`salus records explain` lists every rule about it, and what each lacks".to_owned(),
        );
    }
    match error {
        ClientError::Unreachable { .. } => {
            Some("is the oracle running, and is the address in your profile right?".to_owned())
        }
        ClientError::NotReadings { .. } => Some("name a folder with --out DIR".to_owned()),
        ClientError::Integrity { .. } => {
            Some("keep what you have and tell your organisation's administrator".to_owned())
        }
        _ => None,
    }
}
