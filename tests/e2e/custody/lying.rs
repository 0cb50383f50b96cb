//! An oracle that lies about whose key it shows, and a patient's client that does not believe it.
//!
//! The oracle's place is taken by a server with its certificate, which passes everything on and
//! changes what the lie changes.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use contract_interface::ParticipantId;
use fabric_mspgen::{Kind, Organization, UserProfile};
use salus::key_proof;
use salus_tests::{
    consortium::{self, Person},
    oracle::Custody,
    story::{self, WaitFor},
    system::{Platform, Setup},
};
use sealed_object::PrivateKey;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::wraps;
use crate::support::{Running, heart_rate, publish};

/// Changes the answer to a path.
type Lie = Box<dyn Fn(&str, &mut Value) + Send>;

/// What the lying oracle says, and what it is sent.
#[derive(Default)]
struct Told {
    lie: Option<Lie>,
    posted: Vec<String>,
}

/// A server that passes on what a patient asks to the honest oracle.
struct Liar {
    told: Arc<Mutex<Told>>,
    /// The patient, with a profile that names the lying oracle.
    patient: Person,
    server: JoinHandle<()>,
}

impl Liar {
    async fn before(running: &Arc<Running>, patient: &Person) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let honest = running.system.oracle.rest().rsplit_once(':').unwrap().1;
        let profile = fs::read_to_string(&patient.profile).unwrap();
        let lied_to = profile.replace(
            &format!("https://localhost:{honest}"),
            &format!("https://localhost:{port}"),
        );
        assert_ne!(lied_to, profile);
        let profile = running.file("lied-to.toml", &lied_to);
        let told = Arc::new(Mutex::new(Told::default()));
        let acceptor = acceptor(&running.system.oracle.home);
        let (passing, honest_patient) = (Arc::clone(running), patient.clone());
        let told_here = Arc::clone(&told);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up is no failure of the server.
                let _ = serve(&acceptor, stream, &passing, &honest_patient, &told_here).await;
            }
        });
        Self {
            told,
            patient: Person {
                profile,
                ..patient.clone()
            },
            server,
        }
    }

    fn says(&self, lie: impl Fn(&str, &mut Value) + Send + 'static) {
        *self.told.lock().unwrap() = Told {
            lie: Some(Box::new(lie)),
            posted: vec![],
        };
    }

    /// Has the patient hand over keys to whom the oracle lies about; the client must refuse with
    /// these words, and send no wrap.
    async fn is_found_out(&self, running: &Running, args: &[&str], words: &str) {
        let said = story::salus_list(&running.system, &self.patient, args).await;
        let said = format!("{:#}", said.expect_err(words));
        assert!(said.contains(words), "{words}: {said}");
        let posted = self.told.lock().unwrap().posted.clone();
        assert!(
            !posted.iter().any(|path| path.ends_with("/wraps")),
            "{words}: a wrap was sent"
        );
    }
}

fn acceptor(oracle_home: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(oracle_home.join("rest/server.crt"))
        .unwrap()
        .collect::<Result<Vec<_>, _>>()
        .unwrap();
    let key = PrivateKeyDer::from_pem_file(oracle_home.join("rest/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Answers one request, and closes.
async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    running: &Running,
    patient: &Person,
    told: &Mutex<Told>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(acceptor.accept(stream).await?);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    let (method, path) = (method.to_owned(), path.to_owned());
    let (mut length, mut content_type) = (0, String::new());
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "content-type" => value.clone_into(&mut content_type),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let answer = match method.as_str() {
        "POST" => running.post(patient, &path, &content_type, &body).await,
        _ => running.curl(patient, &path, &[]).await,
    };
    let said = {
        let mut told = told.lock().unwrap();
        if method == "POST" {
            told.posted.push(path.clone());
        }
        match (
            serde_json::from_str::<Value>(&answer.body),
            told.lie.as_ref(),
        ) {
            (Ok(mut said), Some(lie)) => {
                lie(&path, &mut said);
                said.to_string()
            }
            _ => answer.body,
        }
    };
    let head = format!(
        "HTTP/1.1 {} Said\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        answer.status,
        said.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(said.as_bytes()).await?;
    stream.shutdown().await
}

/// Someone who would be taken for the provider: signs for the provider's ID with a certificate and
/// an encryption key of its own.
fn entry_of(person: &Person, id: ParticipantId, key: &Value) -> Value {
    let identity = person.signing_identity().unwrap();
    let jwk = serde_json::from_value(key.clone()).unwrap();
    json!({
        "certificate": identity.certificate().pem(),
        "encryption_key": key,
        "key_proof": key_proof::sign(&identity, id, &jwk).unwrap(),
    })
}

/// A lie that puts members in the place of a participant's own.
fn about(path: String, members: Value) -> impl Fn(&str, &mut Value) + Send + 'static {
    move |asked, said| {
        if asked == path {
            for (name, value) in members.as_object().unwrap() {
                said[name] = value.clone();
            }
        }
    }
}

#[tokio::test]
async fn a_lying_oracle_gets_no_key() {
    lie_and_be_found_out(Platform::EMBEDDED).await;
}

async fn lie_and_be_found_out(platform: Platform) {
    let setup = Setup {
        custody: Custody::Patient,
        ..Setup::of(platform)
    };
    let running = Arc::new(Running::start_with(&setup, 1).await);
    let patient = running.cast.patients[0].clone();
    let line = heart_rate(62, 1);
    let record = publish(&running, &patient, &[line], WaitFor::Receipts).await[0];
    let id = running.cast.provider_id;
    let liar = Liar::before(&running, &patient.person).await;
    let (grantee, name) = (format!("participant:{id}"), name_of(&running.cast.provider));
    let give = [
        "grants",
        "give",
        "--to",
        &grantee,
        "--purpose",
        "TREAT",
        "--expect",
        &name,
    ];
    let path = format!("/v1/participants/{id}");
    let own = PrivateKey::generate(3072).unwrap();
    let own: Value = serde_json::from_str(&own.public_key().to_jwk()).unwrap();
    let own = json!({ "kty": own["kty"], "n": own["n"], "e": own["e"] });

    // A key of the oracle's own in the provider's entry, as it was possible before.
    liar.says(about(path.clone(), json!({ "encryption_key": own })));
    liar.is_found_out(&running, &give, "it is for another key")
        .await;
    // With a proof by the oracle's own certificate, and with that certificate.
    let oracle = entry_of(&running.system.oracle.identity, id, &own);
    let proof = json!({ "encryption_key": own, "key_proof": oracle["key_proof"] });
    liar.says(about(path.clone(), proof));
    let words = "another than the certificate's key has signed it";
    liar.is_found_out(&running, &give, words).await;
    liar.says(about(path.clone(), oracle));
    liar.is_found_out(&running, &give, "none that Org2MSP vouches for")
        .await;
    // With a CA that calls itself like the provider's.
    let forged = forged(running.dir.path(), &running.cast.provider);
    liar.says(about(path.clone(), entry_of(&forged, id, &own)));
    liar.is_found_out(&running, &give, "none that Org2MSP vouches for")
        .await;
    // With someone genuine of the provider's organisation, who plays along.
    let accomplice = running
        .system
        .consortium
        .enrol("dr-moriarty", 1, &[("salus.role", "provider")])
        .unwrap();
    liar.says(about(path.clone(), entry_of(&accomplice, id, &own)));
    liar.is_found_out(&running, &give, "this is not whom you expect")
        .await;
    // With someone else's whole entry, under that one's own ID.
    let other = ParticipantId::from_bytes([0x42; 16]);
    liar.says(about(path.clone(), json!({ "participant_id": other })));
    liar.is_found_out(&running, &give, "was asked for").await;
    // Who does not say whom to expect is asked, and nothing happens where nobody can be.
    liar.says(|_, _| {});
    liar.is_found_out(&running, &give[..6], "say that this is whom you mean")
        .await;
    // With a gate that nobody has registered.
    liar.says(move |asked, said| {
        if asked.ends_with("/wraps") {
            said["gate"] = own.clone();
        }
    });
    liar.is_found_out(&running, &give, "the oracle's gate")
        .await;
    assert_eq!(wraps(&running, record).await.wraps.len(), 1);

    // The same calls, while it tells the truth, hand the key over.
    liar.says(|_, _| {});
    let given = running.salus(&liar.patient, &give).await;
    assert!(given["grant_id"].is_string());
    assert_eq!(wraps(&running, record).await.wraps.len(), 2);

    // Without the other organisation's CA in the profile, not even then.
    let profile = fs::read_to_string(&patient.person.profile).unwrap();
    let lines = profile.lines().filter(|line| !line.starts_with("anchors"));
    let unpinned: Vec<&str> = lines.collect();
    assert_ne!(unpinned.len(), profile.lines().count());
    let unpinned = Person {
        profile: running.file("unpinned.toml", &unpinned.join("\n")),
        ..patient.person.clone()
    };
    let said = story::salus_list(&running.system, &unpinned, &give).await;
    let said = format!("{:#}", said.unwrap_err());
    assert!(
        said.contains("pins no CA of Org2MSP") && said.contains("anchors ="),
        "{said}"
    );
    liar.server.abort();
    assert!(liar.server.await.unwrap_err().is_cancelled());
    let running = Arc::into_inner(running).expect("the server is gone");
    running.system.stop().await.unwrap();
}

/// The common name in someone's certificate.
pub(super) fn name_of(person: &Person) -> String {
    let identity = person.signing_identity().unwrap();
    let name = identity.certificate().subject_common_name();
    name.unwrap().to_owned()
}

/// The provider's double, by a CA that only calls itself like the provider's.
fn forged(dir: &Path, provider: &Person) -> Person {
    let home = dir.join("forged");
    let msp_id = provider.msp_id.parse().unwrap();
    let organization = Organization::create(&home, msp_id, "org2.example.com", Kind::Peer).unwrap();
    let profile = UserProfile {
        attributes: [("salus.role".to_owned(), "provider".to_owned())].into(),
        ..UserProfile::default()
    };
    let user = organization.issue_user("dr-house", &profile).unwrap();
    let keys = home.join("keys");
    consortium::write_keys(&keys).unwrap();
    Person {
        home: user,
        keys,
        ..provider.clone()
    }
}
