//! The `salus` command, as its users run it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    binaries,
    consortium::Person,
    process::{Spec, run},
    system::System,
};

/// Runs the `salus` command as someone and returns the JSON that it prints.
///
/// # Errors
/// When it fails; what it said is quoted.
pub async fn salus(system: &System, person: &Person, args: &[&str]) -> Result<Value> {
    let output = run(with_args(system, person, args)?).await?;
    serde_json::from_str(output.trim()).with_context(|| format!("salus printed: {output}"))
}

/// Runs a command that lists, and returns what it lists.
///
/// # Errors
/// When it fails; what it said is quoted.
pub async fn salus_list(system: &System, person: &Person, args: &[&str]) -> Result<Vec<Value>> {
    let output = run(with_args(system, person, args)?).await?;
    let items: Result<Vec<Value>, _> = output.lines().map(serde_json::from_str).collect();
    items.with_context(|| format!("salus printed: {output}"))
}

fn with_args(system: &System, person: &Person, args: &[&str]) -> Result<Spec> {
    let spec = spec(system, person)?;
    Ok(args.iter().fold(spec, |spec, arg| spec.arg(arg)))
}

pub(super) fn spec(system: &System, person: &Person) -> Result<Spec> {
    Ok(Spec::new(
        &format!("salus-{}", person.name),
        &binaries::ours("salus")?,
        &system.dir,
    )
    .option("--profile", &person.profile)
    .arg("--json"))
}

pub(super) async fn run_json(spec: Spec) -> Result<Value> {
    let output = run(spec).await?;
    serde_json::from_str(output.trim()).with_context(|| format!("salus printed: {output}"))
}

pub(super) fn text(value: &Value, member: &str) -> Result<String> {
    Ok(value[member]
        .as_str()
        .with_context(|| format!("no {member} in {value}"))?
        .to_owned())
}
