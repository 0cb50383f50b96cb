use std::time::Duration;

use super::{Connection, PackageError, build, connection::parse_go_duration, package_id, parse};

#[test]
fn equal_input_gives_equal_bytes_and_comes_back() {
    let connection = Connection::plain("127.0.0.1:9999");
    let first = build("salus_1.0", &connection).unwrap();
    let second = build("salus_1.0", &connection).unwrap();
    assert_eq!(first, second);
    let package = parse(&first).unwrap();
    assert_eq!(package.metadata.label, "salus_1.0");
    assert_eq!(package.connection, connection);
    assert_eq!(package.package_id, package_id("salus_1.0", &first));
    assert!(package.package_id.starts_with("salus_1.0:"));
    assert_eq!(package.package_id.len(), "salus_1.0:".len() + 64);
}

#[test]
fn another_address_is_another_package() {
    let one = build("cc", &Connection::plain("127.0.0.1:1")).unwrap();
    let two = build("cc", &Connection::plain("127.0.0.1:2")).unwrap();
    assert_ne!(package_id("cc", &one), package_id("cc", &two));
}

#[test]
fn damaged_packages_are_refused() {
    assert!(matches!(parse(b""), Err(PackageError::Archive(_))));
    assert!(matches!(parse(b"not gzip"), Err(PackageError::Archive(_))));
    let whole = build("cc", &Connection::plain("127.0.0.1:1")).unwrap();
    assert!(parse(&whole[..whole.len() / 2]).is_err());
    for label in ["", "-x", "a b", "a/b", "ä"] {
        let result = build(label, &Connection::plain("x:1"));
        assert!(matches!(result, Err(PackageError::Label(_))), "{label}");
    }
}

#[test]
fn connection_json_as_others_write_it() {
    let table = [
        (r#"{"address":"a:1","dial_timeout":"10s"}"#, 10_000),
        (r#"{"address":"a:1","dial_timeout":1500000000}"#, 1_500),
        (r#"{"address":"a:1"}"#, 3_000),
    ];
    for (json, millis) in table {
        let connection: Connection = serde_json::from_str(json).unwrap();
        let expanded = connection.expand("peer0").unwrap();
        assert_eq!(
            expanded.dial_timeout,
            Duration::from_millis(millis),
            "{json}"
        );
    }
}

#[test]
fn the_peer_name_fills_the_template() {
    let connection = Connection::plain("{{.peername}}_cc:9999");
    let expanded = connection.expand("peer0.org1").unwrap();
    assert_eq!(expanded.address, "peer0.org1_cc:9999");
    assert!(Connection::plain("{{.port}}:1").expand("p").is_err());
    assert!(Connection::plain("{{.peername").expand("p").is_err());
    assert!(Connection::plain("").expand("p").is_err());
}

#[test]
fn tls_needs_its_certificates() {
    let mut connection = Connection::plain("a:1");
    connection.tls_required = true;
    assert!(connection.expand("p").is_err());
    connection.root_cert = "pem".to_owned();
    assert!(
        connection
            .expand("p")
            .unwrap()
            .tls
            .unwrap()
            .client
            .is_none()
    );
    connection.client_auth_required = true;
    assert!(connection.expand("p").is_err());
}

#[test]
fn go_durations() {
    let table = [
        ("", Some(0)),
        ("10s", Some(10_000)),
        ("1m30s", Some(90_000)),
        ("1.5s", Some(1_500)),
        ("250ms", Some(250)),
        ("5", None),
        ("5x", None),
        ("s", None),
    ];
    for (text, millis) in table {
        assert_eq!(
            parse_go_duration(text),
            millis.map(Duration::from_millis),
            "{text}"
        );
    }
}
