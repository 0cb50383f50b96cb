//! `salus policies`.

use anyhow::{Context as _, Result};
use contract_interface::{
    PageRequest, PolicyId,
    access::{Policy, PolicyEntry, PolicyFilter},
};
use salus::{Client, signing};

use crate::{
    args::{PoliciesList, PoliciesSet, PoliciesWithdraw},
    grants::from_now,
    output::Output,
    wording,
};

pub(crate) async fn set(client: &Client, args: &PoliciesSet, out: Output) -> Result<()> {
    let now = signing::now()?;
    let grantee = args.rule.to.clone().context("no grantee")?;
    let policy = Policy {
        policy_id: PolicyId::from_bytes(signing::random()?),
        rule: args.rule.rule(grantee),
        valid_from: match args.valid_from {
            Some(time) => time,
            None => from_now(now)?,
        },
        valid_until: match args.valid_until {
            Some(until) => Some(until.from(now)?),
            None => None,
        },
    };
    policy
        .validate()
        .map_err(|error| anyhow::anyhow!("the policy is not {}", error.expected))?;
    let policy_id = policy.policy_id;
    let recorded = client.set_policy(policy).await?;
    out.recorded(
        &[("policy_id", &policy_id.to_string())],
        &recorded,
        &format!("policy {policy_id} set"),
    )?;
    Ok(())
}

pub(crate) async fn withdraw(client: &Client, args: &PoliciesWithdraw, out: Output) -> Result<()> {
    let recorded = client.withdraw_policy(args.policy).await?;
    out.recorded(
        &[("policy_id", &args.policy.to_string())],
        &recorded,
        &format!("policy {} withdrawn", args.policy),
    )?;
    Ok(())
}

pub(crate) async fn list(client: &Client, args: &PoliciesList, out: Output) -> Result<()> {
    let msp_id = match &args.organization {
        Some(msp_id) => msp_id.clone(),
        None => client.me().await?.msp_id,
    };
    let filter = PolicyFilter {
        msp_id,
        page: PageRequest::default(),
    };
    let policies = client.policies(filter).await?;
    let heads = [
        "POLICY", "SAYS", "TO", "DATA", "PURPOSES", "FROM", "UNTIL", "STATUS",
    ];
    out.list(&policies, heads, |entry: &PolicyEntry| {
        let policy = &entry.policy;
        [
            policy.policy_id.to_string(),
            wording::decision(policy.rule.decision).to_owned(),
            wording::grantee(&policy.rule.grantee),
            wording::data(&policy.rule),
            wording::purposes(&policy.rule),
            policy.valid_from.to_string(),
            policy
                .valid_until
                .map_or_else(|| "open end".to_owned(), wording::end),
            format!("{:?}", entry.status).to_lowercase(),
        ]
    })?;
    Ok(())
}
