//! The `salus` command, as its users run it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    binaries,
    consortium::Person,
    process::{Spec, run},
    system::System,
};

pub(super) fn salus(system: &System, person: &Person) -> Result<Spec> {
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
