//! The text form of a signature policy: `AND('Org1MSP.peer', OR('Org2MSP.admin', …))`.
//!
//! Gates are `And`, `Or` and `OutOf` (also all lower and all upper case); `OutOf` takes a number
//! first. Principals are `'MSPID.role'` with role member, admin, client, peer or orderer.
//! Principals are numbered as Fabric numbers them, inner gates before the principals of the gate
//! around them, so that equal texts give equal bytes.

use fabric_protos::common::msp_principal::Classification;
use fabric_protos::common::msp_role::MspRoleType;
use fabric_protos::common::signature_policy::{NOutOf, Type};
use fabric_protos::common::{MspPrincipal, MspRole, SignaturePolicy, SignaturePolicyEnvelope};
use prost::Message;

use super::error::PolicyParseError;

/// Parses the text form of a policy.
///
/// # Errors
/// [`PolicyParseError`] names the place or the principal that is wrong.
pub fn parse_policy(text: &str) -> Result<SignaturePolicyEnvelope, PolicyParseError> {
    let mut parser = Parser { text, at: 0 };
    let gate = parser.gate(0)?;
    parser.skip_spaces();
    if parser.at != text.len() {
        return Err(parser.unexpected("the end"));
    }
    let mut identities = Vec::new();
    let rule = number(gate, &mut identities);
    Ok(SignaturePolicyEnvelope {
        version: 0,
        rule: Some(rule),
        identities,
    })
}

/// Gates inside gates that a policy may have.
const MAX_DEPTH: usize = 32;

/// A gate as written, before its principals have numbers.
struct Gate {
    threshold: i32,
    rules: Vec<Rule>,
}

enum Rule {
    Gate(Gate),
    Principal(MspPrincipal),
}

fn number(gate: Gate, identities: &mut Vec<MspPrincipal>) -> SignaturePolicy {
    enum Numbered {
        Done(SignaturePolicy),
        Principal(MspPrincipal),
    }
    let inner: Vec<Numbered> = gate
        .rules
        .into_iter()
        .map(|rule| match rule {
            Rule::Gate(gate) => Numbered::Done(number(gate, identities)),
            Rule::Principal(principal) => Numbered::Principal(principal),
        })
        .collect();
    let rules = inner
        .into_iter()
        .map(|rule| match rule {
            Numbered::Done(policy) => policy,
            Numbered::Principal(principal) => {
                let index = i32::try_from(identities.len()).unwrap_or(i32::MAX);
                identities.push(principal);
                SignaturePolicy {
                    r#type: Some(Type::SignedBy(index)),
                }
            }
        })
        .collect();
    SignaturePolicy {
        r#type: Some(Type::NOutOf(NOutOf {
            n: gate.threshold,
            rules,
        })),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn unexpected(&self, expected: &'static str) -> PolicyParseError {
        PolicyParseError::Unexpected {
            expected,
            at: self.at,
        }
    }

    fn skip_spaces(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes the character if it is next.
    fn take(&mut self, wanted: char) -> bool {
        self.skip_spaces();
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn word(&mut self) -> &'t str {
        self.skip_spaces();
        let rest = self.rest();
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn gate(&mut self, depth: usize) -> Result<Gate, PolicyParseError> {
        if depth == MAX_DEPTH {
            return Err(PolicyParseError::TooDeep { max: MAX_DEPTH });
        }
        let name = self.word();
        let kind = match name {
            "And" | "and" | "AND" => Kind::And,
            "Or" | "or" | "OR" => Kind::Or,
            "OutOf" | "outof" | "OUTOF" => Kind::OutOf,
            "" => return Err(self.unexpected("a gate")),
            token => {
                return Err(PolicyParseError::UnknownGate {
                    token: token.to_owned(),
                });
            }
        };
        if !self.take('(') {
            return Err(self.unexpected("("));
        }
        let counted = match kind {
            Kind::OutOf => Some(self.threshold()?),
            Kind::And | Kind::Or => None,
        };
        let rules = self.rules(depth)?;
        let all = i64::try_from(rules.len()).unwrap_or(i64::MAX);
        let threshold = match kind {
            Kind::And => all,
            Kind::Or => 1,
            Kind::OutOf => counted.unwrap_or(all),
        };
        match i32::try_from(threshold) {
            // Fabric lets a gate ask for one more than it has: a policy nobody can satisfy.
            Ok(n) if n >= 0 && threshold <= all + 1 && all > 0 => Ok(Gate {
                threshold: n,
                rules,
            }),
            _ => Err(PolicyParseError::Threshold {
                threshold,
                rules: rules.len(),
            }),
        }
    }

    fn threshold(&mut self) -> Result<i64, PolicyParseError> {
        let quote = ['\'', '"'].into_iter().find(|quote| self.take(*quote));
        let digits = self.word();
        let Ok(threshold) = digits.parse() else {
            return Err(self.unexpected("a number"));
        };
        if let Some(quote) = quote
            && !self.take(quote)
        {
            return Err(self.unexpected("the closing quote"));
        }
        if !self.take(',') {
            return Err(self.unexpected(","));
        }
        Ok(threshold)
    }

    fn rules(&mut self, depth: usize) -> Result<Vec<Rule>, PolicyParseError> {
        let mut rules = Vec::new();
        loop {
            let quote = ['\'', '"'].into_iter().find(|quote| self.take(*quote));
            rules.push(match quote {
                Some(quote) => Rule::Principal(self.principal(quote)?),
                None => Rule::Gate(self.gate(depth + 1)?),
            });
            if self.take(')') {
                return Ok(rules);
            }
            if !self.take(',') {
                return Err(self.unexpected(", or )"));
            }
        }
    }

    fn principal(&mut self, quote: char) -> Result<MspPrincipal, PolicyParseError> {
        let rest = self.rest();
        let Some(end) = rest.find(quote) else {
            return Err(self.unexpected("the closing quote"));
        };
        self.at += end + quote.len_utf8();
        principal(&rest[..end])
    }
}

#[derive(Clone, Copy)]
enum Kind {
    And,
    Or,
    OutOf,
}

fn principal(text: &str) -> Result<MspPrincipal, PolicyParseError> {
    let malformed = || PolicyParseError::Principal {
        principal: text.to_owned(),
    };
    let (msp_id, role) = text.rsplit_once('.').ok_or_else(malformed)?;
    let role = match role {
        "member" => MspRoleType::Member,
        "admin" => MspRoleType::Admin,
        "client" => MspRoleType::Client,
        "peer" => MspRoleType::Peer,
        "orderer" => MspRoleType::Orderer,
        _ => return Err(malformed()),
    };
    let well_formed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if msp_id.is_empty() || !msp_id.chars().all(well_formed) {
        return Err(malformed());
    }
    Ok(MspPrincipal {
        principal_classification: Classification::Role.into(),
        principal: MspRole {
            msp_identifier: msp_id.to_owned(),
            role: role.into(),
        }
        .encode_to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows a policy as `n[rule,…]` with principals by index, then the principals.
    fn show(text: &str) -> String {
        fn rule(policy: &SignaturePolicy) -> String {
            match policy.r#type.as_ref().unwrap() {
                Type::SignedBy(index) => index.to_string(),
                Type::NOutOf(gate) => {
                    let rules: Vec<_> = gate.rules.iter().map(rule).collect();
                    format!("{}[{}]", gate.n, rules.join(","))
                }
            }
        }
        match parse_policy(text) {
            Ok(policy) => {
                let principals: Vec<_> = policy
                    .identities
                    .iter()
                    .map(|principal| {
                        let role = MspRole::decode(principal.principal.as_slice()).unwrap();
                        format!("{}:{}", role.msp_identifier, role.role)
                    })
                    .collect();
                let rule = rule(policy.rule.as_ref().unwrap());
                format!("{rule} {}", principals.join(" "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn gates_become_thresholds() {
        for (text, expected) in [
            ("OR('A.member','B.peer')", "1[0,1] A:0 B:3"),
            ("AND('A.admin', \"B.client\")", "2[0,1] A:1 B:2"),
            (
                "OutOf(2,'A.peer','B.peer','C.orderer')",
                "2[0,1,2] A:3 B:3 C:4",
            ),
            ("outof('1', 'A.peer')", "1[0] A:3"),
            (
                "and( or('A.b.member') , 'C-1.peer')",
                "2[1[0],1] A.b:0 C-1:3",
            ),
            // Inner gates are numbered before the principals around them.
            (
                "OR('A.member',AND('B.member','C.member'))",
                "1[2,2[0,1]] B:0 C:0 A:0",
            ),
            ("OutOf(3,'A.peer','B.peer')", "3[0,1] A:3 B:3"),
            ("OutOf(0,'A.peer')", "0[0] A:3"),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
    }

    #[test]
    fn malformed_texts_are_refused_with_the_place() {
        for (text, expected) in [
            ("", "expected a gate at character 0 of the policy"),
            ("'A.member'", "expected a gate at character 0 of the policy"),
            (
                "XOR('A.member')",
                "unrecognized token 'XOR' in policy string",
            ),
            (
                "OR('A.member'",
                "expected , or ) at character 13 of the policy",
            ),
            (
                "OR('A.member') x",
                "expected the end at character 15 of the policy",
            ),
            ("OR('A')", "error parsing principal A"),
            ("OR('.member')", "error parsing principal .member"),
            ("OR('A.boss')", "error parsing principal A.boss"),
            ("OR('A B.peer')", "error parsing principal A B.peer"),
            ("OR()", "expected a gate at character 3 of the policy"),
            (
                "OutOf('A.member')",
                "expected a number at character 8 of the policy",
            ),
            (
                "OutOf(3,'A.peer')",
                "invalid t-out-of-n predicate, t 3, n 1",
            ),
            (
                "OR('A.member",
                "expected the closing quote at character 4 of the policy",
            ),
        ] {
            assert_eq!(show(text), expected, "{text}");
        }
        let deep = format!("{}'A.peer'{}", "OR(".repeat(40), ")".repeat(40));
        assert_eq!(show(&deep), "policy is nested deeper than 32 gates");
    }
}
