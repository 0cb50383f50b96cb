//! From a Consent to grants.

use contract_interface::{
    Confidentiality, Decision, Grantee, Pseudonym, Purpose, Rule, UtcTime, access::SecurityLabel,
    limits::RULE_RECORDS_MAX,
};
use serde_json::Value;

use super::{
    ConsentError, Imported, Signer, Terms,
    codes::{self, PurposeOfUse},
    dates,
    elements::{Element, Obstacles},
    provision::{Actor, Data, Provision},
    references::{References, Target},
};

/// Members of a Consent that say nothing about who may do what.
const DESCRIPTIVE: [&str; 11] = [
    "resourceType",
    "id",
    "meta",
    "language",
    "text",
    "identifier",
    "category",
    "organization",
    "sourceAttachment",
    "sourceReference",
    "policy",
];

/// What a permit without purposes is for: everything but emergencies, which need no permit.
const ALL_BUT_EMERGENCIES: [Purpose; 5] = [
    Purpose::Treat,
    Purpose::Hpaymt,
    Purpose::Hoperat,
    Purpose::Hresch,
    Purpose::Patrqt,
];

/// Reads a FHIR R4 Consent (JSON) and says which grants express it.
///
/// # Errors
/// [`ConsentError::NotJson`]; [`ConsentError::Refused`] with every element that grants cannot
/// express or the table of references does not explain, and when the Consent is not active.
pub fn import(consent: &[u8], references: &References) -> Result<Imported, ConsentError> {
    let value: Value =
        serde_json::from_slice(consent).map_err(|source| ConsentError::NotJson { source })?;
    let mut obstacles = Obstacles::default();
    let imported = read(&value, references, &mut obstacles);
    let obstacles = obstacles.into_vec();
    match imported {
        Some(imported) if obstacles.is_empty() => Ok(imported),
        _ => Err(ConsentError::Refused { obstacles }),
    }
}

fn read(value: &Value, references: &References, obstacles: &mut Obstacles) -> Option<Imported> {
    let mut consent = Element::new("Consent".to_owned(), value, obstacles)?;
    if consent.take("resourceType").and_then(Value::as_str) != Some("Consent") {
        obstacles.add("resourceType", "is not Consent");
        return None;
    }
    consent.pass_over(&DESCRIPTIVE);
    let status = consent.text("status", obstacles).unwrap_or_default();
    if status != "active" {
        obstacles.add(
            "Consent.status",
            format!("is {status:?}: only an active Consent is given"),
        );
    }
    scope(&mut consent, obstacles);
    let (patient, signer) = people(&mut consent, references, obstacles);
    let date = consent.text("dateTime", obstacles).and_then(dates::begin);
    if date.is_none() {
        obstacles.add("Consent.dateTime", "is no date, or absent");
    }
    let root = match consent.element("provision", obstacles) {
        Some(element) => Some(Provision::read(element, true, references, obstacles)),
        None => {
            obstacles.add("Consent.provision", "is absent: nothing is said");
            None
        }
    };
    consent.finish(obstacles);
    let mut writer = Writer {
        given: date?,
        terms: vec![],
        remarks: vec![],
        obstacles,
    };
    writer.root(&root?);
    let Writer { terms, remarks, .. } = writer;
    Some(Imported {
        patient: patient?,
        signer: signer?,
        terms,
        remarks,
    })
}

fn scope(consent: &mut Element<'_>, obstacles: &mut Obstacles) {
    let codes = match consent.element("scope", obstacles) {
        Some(mut scope) => {
            let codes = scope.concept(obstacles);
            scope.finish(obstacles);
            codes
        }
        None => vec![],
    };
    if !codes.contains(&(codes::CONSENT_SCOPE, codes::PRIVACY)) {
        obstacles.add("Consent.scope", "is not patient-privacy");
    }
}

/// Whose consent it is, and who gave it.
fn people(
    consent: &mut Element<'_>,
    references: &References,
    obstacles: &mut Obstacles,
) -> (Option<Pseudonym>, Option<Signer>) {
    let patient = references
        .resolve(
            consent.element("patient", obstacles),
            "Consent.patient",
            "say which patient:PSEUDONYM it is",
            |target| match target {
                Target::Patient(id) => Some(*id),
                _ => None,
            },
            obstacles,
        )
        .into_iter()
        .next();
    let mut performers = Vec::new();
    for performer in consent.elements("performer", obstacles) {
        let path = performer.path.clone();
        performers.extend(references.resolve(
            Some(performer),
            &path,
            "say which participant it is",
            Target::person,
            obstacles,
        ));
    }
    let signer = match (&performers[..], patient) {
        (performers, Some(patient)) if performers.contains(&patient.into()) => {
            Some(Signer::Patient)
        }
        ([guardian], Some(_)) => Some(Signer::Guardian(*guardian)),
        _ => {
            obstacles.add(
                "Consent.performer",
                "is neither the patient nor one guardian",
            );
            None
        }
    };
    (patient, signer)
}

/// Writes grants for provisions.
struct Writer<'a> {
    given: UtcTime,
    terms: Vec<Terms>,
    remarks: Vec<String>,
    obstacles: &'a mut Obstacles,
}

impl Writer<'_> {
    fn root(&mut self, root: &Provision) {
        let nested: Vec<Provision> = root
            .nested
            .iter()
            .map(|provision| provision.within(root))
            .collect();
        match root.decision {
            Decision::Permit => self.permit(root, root, true),
            Decision::Deny => self.root_denial(root, &nested),
        }
        for provision in &nested {
            match (provision.decision, root.decision) {
                (Decision::Permit, _) => {
                    let base_permits = root.decision == Decision::Permit && root.actors.is_empty();
                    self.permit(provision, root, base_permits);
                }
                (Decision::Deny, Decision::Permit) => self.deny(provision),
                (Decision::Deny, Decision::Deny) => self
                    .obstacles
                    .add(&provision.path, "is a denial inside a denial"),
            }
        }
    }

    /// A denial at the root: it would beat the permits nested in it.
    fn root_denial(&mut self, root: &Provision, nested: &[Provision]) {
        let emergency = PurposeOfUse::Known(Purpose::Btg);
        let only_emergencies = nested
            .iter()
            .all(|provision| provision.purposes.iter().eq([&emergency]));
        if only_emergencies {
            let mut root = root.clone();
            if !nested.is_empty() && root.purposes.remove(&emergency) && root.purposes.is_empty() {
                self.obstacles
                    .add(&root.path, "denies emergencies and permits them");
            }
            self.deny(&root);
        } else {
            self.remarks.push(
                "Nothing is permitted but what a grant permits, so the refusal itself is not \
                 written as a denial, which would beat its exceptions. Other grants that stand \
                 are not ended by it."
                    .to_owned(),
            );
        }
    }

    fn deny(&mut self, provision: &Provision) {
        let (known, projects) = split(&provision.purposes);
        if !known.is_empty() || projects.is_empty() {
            self.write(provision, &known, None);
        }
        for project in projects {
            self.write(provision, &[Purpose::Hresch], Some(project));
        }
    }

    /// Permits; `base_permits` if what the root permits is open to everyone, and so to those in an
    /// emergency.
    fn permit(&mut self, provision: &Provision, root: &Provision, base_permits: bool) {
        let (mut known, projects) = split(&provision.purposes);
        if known.is_empty() && projects.is_empty() {
            known = ALL_BUT_EMERGENCIES.to_vec();
        }
        if known.contains(&Purpose::Btg) {
            known.retain(|purpose| *purpose != Purpose::Btg);
            self.emergency(provision, root, base_permits);
        }
        if !known.is_empty() {
            self.write(provision, &known, None);
        }
        for project in projects {
            self.write(provision, &[Purpose::Hresch], Some(project));
        }
    }

    /// Emergencies are open to staff whose certificate allows them, so that a permit needs no
    /// grant; what it leaves out needs a denial.
    fn emergency(&mut self, provision: &Provision, root: &Provision, base_permits: bool) {
        let for_staff = provision
            .actors
            .iter()
            .all(|actor| *actor == Actor::Emergency);
        if !for_staff {
            self.obstacles.add(
                &provision.path,
                "permits BTG to someone in particular: an emergency can be declared by everyone \
                 whose certificate allows it",
            );
        }
        if !provision.data.is_empty()
            || !provision.types.is_empty()
            || provision.data_period.is_some()
        {
            self.obstacles.add(
                &provision.path,
                "permits BTG for certain data only: an emergency can be limited by \
                 confidentiality only",
            );
        }
        self.remarks.push(format!(
            "{}: staff whose certificate allows it may declare an emergency (BTG) by the \
             consortium's rule, of which the patient and the privacy officers are told",
            provision.path
        ));
        let mut allowed = provision.labels.clone();
        if base_permits {
            if root.labels.is_empty() {
                return;
            }
            allowed.extend(root.labels.iter().cloned());
        }
        if allowed.is_empty() {
            return;
        }
        let left_out: Vec<SecurityLabel> =
            [Confidentiality::N, Confidentiality::R, Confidentiality::V]
                .map(SecurityLabel::Confidentiality)
                .into_iter()
                .filter(|label| !allowed.contains(label))
                .collect();
        let by_sensitivity = allowed
            .iter()
            .any(|label| matches!(label, SecurityLabel::Sensitivity(_)));
        if left_out.is_empty() {
            return;
        }
        if by_sensitivity {
            self.obstacles.add(
                &provision.path,
                "permits BTG by sensitivity: an emergency can be limited by confidentiality only",
            );
            return;
        }
        let denial = Rule {
            labels: left_out,
            purposes: vec![Purpose::Btg],
            ..Rule::deny(Grantee::Anyone)
        };
        self.push(provision, denial);
    }

    /// One grant for each grantee and each kind of data.
    fn write(
        &mut self,
        provision: &Provision,
        purposes: &[Purpose],
        project: Option<&contract_interface::ProjectCode>,
    ) {
        for grantee in self.grantees(provision) {
            let base = match provision.decision {
                Decision::Permit => Rule::permit(grantee, purposes.to_vec()),
                Decision::Deny => Rule {
                    purposes: purposes.to_vec(),
                    ..Rule::deny(grantee)
                },
            };
            let base = Rule {
                types: provision.types.clone(),
                labels: provision.labels.iter().cloned().collect(),
                data_period: provision.data_period,
                project: project.cloned(),
                ..base
            };
            for rule in by_data(&provision.data, &base) {
                self.push(provision, rule);
            }
        }
    }

    fn grantees(&mut self, provision: &Provision) -> Vec<Grantee> {
        if provision.actors.is_empty() {
            return vec![Grantee::Anyone];
        }
        let mut grantees = Vec::new();
        for actor in &provision.actors {
            match actor {
                Actor::Grantee(grantee) => grantees.push(grantee.clone()),
                Actor::Emergency => self.obstacles.add(
                    &provision.path,
                    "is about those who may declare an emergency, but not for BTG",
                ),
            }
        }
        grantees
    }

    fn push(&mut self, provision: &Provision, rule: Rule) {
        let terms = Terms {
            rule,
            valid_from: provision.start.unwrap_or(self.given),
            valid_until: provision.end.unwrap_or(UtcTime::MAX),
        };
        let grant = terms
            .clone()
            .grant(contract_interface::GrantId::from_bytes([0; 16]));
        match grant.validate() {
            Ok(()) => self.terms.push(terms),
            Err(error) => self.obstacles.add(
                &provision.path,
                format!("makes a grant that is not {}", error.expected),
            ),
        }
    }
}

/// What a provision names are alternatives, what a grant names must all be so.
fn by_data(data: &Data, base: &Rule) -> Vec<Rule> {
    if data.is_empty() {
        return vec![base.clone()];
    }
    let mut rules: Vec<Rule> = data
        .records
        .chunks(RULE_RECORDS_MAX)
        .map(|records| Rule {
            records: records.to_vec(),
            ..base.clone()
        })
        .collect();
    if !data.contexts.is_empty() {
        rules.push(Rule {
            contexts: data.contexts.clone(),
            ..base.clone()
        });
    }
    if !data.authors.is_empty() {
        rules.push(Rule {
            authors: data.authors.clone(),
            ..base.clone()
        });
    }
    rules
}

fn split<'a>(
    purposes: impl IntoIterator<Item = &'a PurposeOfUse>,
) -> (Vec<Purpose>, Vec<&'a contract_interface::ProjectCode>) {
    let (mut known, mut projects) = (vec![], vec![]);
    for purpose in purposes {
        match purpose {
            PurposeOfUse::Known(purpose) => known.push(*purpose),
            PurposeOfUse::Project(project) => projects.push(project),
        }
    }
    (known, projects)
}
