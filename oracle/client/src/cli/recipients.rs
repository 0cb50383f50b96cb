//! Making sure who gets keys, before anything is wrapped.
//!
//! Signatures show that a key is of someone whom the organisation's CA knows by a name. That this
//! is whom the patient means is for the patient to say: by the name, by the certificate that the
//! person gave, or when asked. Only where the CA vouches for the ID too, and the patient named the
//! ID, nothing is left to say.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail, ensure};
use contract_interface::ParticipantId;
use salus::{Client, custody, trust::Recipient};

use crate::{args::Whom, participants::read, terminal};

/// Longest answer to a question, bytes.
const ANSWER_BYTES_MAX: u64 = 64;

/// Who said which ID is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// Whoever runs this program.
    Here,
    /// The oracle.
    ByOracle,
}

/// Whoever has this ID, with a proven key, if it is whom the patient means.
pub(crate) async fn confirmed(
    client: &Client,
    id: &ParticipantId,
    named: Named,
    whom: &Whom,
) -> Result<Recipient> {
    let given = match &whom.certificate {
        Some(file) => Some(
            fabric_msp::Certificate::from_pem(read(file)?.as_bytes())
                .with_context(|| format!("{} is no certificate", file.display()))?,
        ),
        None => None,
    };
    let recipient = custody::recipient(client, id, given.as_ref()).await?;
    let is_sure = given.is_some() || (named == Named::Here && recipient.is_id_attested);
    if !is_sure {
        confirm(&recipient, &whom.expect)?;
    }
    Ok(recipient)
}

fn confirm(recipient: &Recipient, expected: &[String]) -> Result<()> {
    let name = recipient.name();
    let who = in_words(recipient);
    if !expected.is_empty() {
        ensure!(
            expected.iter().any(|expected| expected == name),
            "this is not whom you expect: {who}"
        );
        return Ok(());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        bail!(
            "the keys would go to {who}: say that this is whom you mean with --expect {name:?}, or \
             with --their-certificate and the file that the person gave you"
        );
    }
    let question = format!("The keys go to {who}. Is this whom you mean? [y/N] ");
    write!(io::stderr(), "{}", terminal::harmless(&question))?;
    io::stderr().flush()?;
    ensure!(
        is_yes(&mut io::stdin().lock())?,
        "nothing was handed over: you did not confirm {who}"
    );
    Ok(())
}

fn is_yes(answers: &mut impl io::BufRead) -> io::Result<bool> {
    let mut answer = String::new();
    io::Read::take(answers, ANSWER_BYTES_MAX).read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// The recipient as the CA knows it.
fn in_words(recipient: &Recipient) -> String {
    let participant = &recipient.participant;
    format!(
        "{} {:?}, certified by {} as {}, participant {}",
        participant.role,
        recipient.name(),
        participant.msp_id,
        recipient.certificate.subject(),
        participant.participant_id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for (answer, meant) in [
            ("y\n", true),
            ("Y", true),
            ("yes\n", true),
            ("\n", false),
            ("", false),
            ("no\n", false),
            ("yesterday\n", false),
        ] {
            assert_eq!(is_yes(&mut answer.as_bytes()).unwrap(), meant, "{answer:?}");
        }
    }
}
