//! What is said of devices that come and go: enough to see it, nothing of what they send.

use std::io::Write;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{AT_LEAST_ONCE, OTHER, OWN};
use crate::ingest::mqtt::testing::{Rig, connect, publish, reading};

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One thread, because recorder and subscriber are a thread's.
#[tokio::test]
async fn connects_and_disconnects_are_counted_and_logged_without_payloads() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_env_filter("trace,rumqttd=off")
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);

    let rig = Rig::start().await;
    for level in [4, 5] {
        let mut client = rig.secure("hr-1").await.unwrap();
        client.ask(&connect(level, "x", 2, 60)).await.unwrap();
        let payload = reading(u64::from(level));
        let message = publish(level, AT_LEAST_ONCE, OWN, 1, &[], &payload);
        client.ask(&message).await.unwrap();
        client.send(&[0xe0, 0]).await;
        assert_eq!(client.packet().await, None);
    }
    // Refused: a payload that is none, a topic of another, a packet that is none.
    let mut client = rig.connected(4, "hr-2").await;
    let secret = publish(4, AT_LEAST_ONCE, OTHER, 1, &[], b"SECRET-PAYLOAD");
    assert_eq!(client.ask(&secret).await, None);
    let mut client = rig.connected(5, "hr-2").await;
    let secret = publish(5, AT_LEAST_ONCE, OWN, 1, &[], b"SECRET-PAYLOAD");
    client.ask(&secret).await.unwrap();
    let broken = publish(5, 6, OTHER, 1, &[], b"SECRET-PAYLOAD");
    assert_eq!(client.ask(&broken).await.unwrap()[2], 0x81);
    assert_eq!(client.packet().await, None);
    let mut client = rig.plain().await;
    client.ask(&connect(4, "nobody", 2, 60)).await.unwrap();
    drop(client);
    rig.stop().await;

    let metrics = recorder.handle().render();
    for line in [
        r#"salus_mqtt_connects_total{version="3.1.1"} 2"#,
        r#"salus_mqtt_connects_total{version="5"} 2"#,
        r#"salus_mqtt_disconnects_total{reason="left"} 2"#,
        r#"salus_mqtt_disconnects_total{reason="payload-not-json"} 1"#,
        r#"salus_mqtt_disconnects_total{reason="packet-malformed"} 1"#,
        r#"salus_mqtt_connects_refused_total{reason="device-not-authorized"} 1"#,
        r#"salus_mqtt_refused_total{reason="topic-not-allowed"} 1"#,
        r#"salus_mqtt_taken_total{outcome="kept"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let bytes = lines.0.lock().unwrap().clone();
    let log = String::from_utf8(bytes).unwrap();
    let said = |what: &str| {
        let lines = log.lines().filter(|line| line.contains(what));
        lines
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["fields"].clone())
            .collect::<Vec<_>>()
    };
    let connected = said("device connected");
    assert_eq!(connected.len(), 4);
    assert_eq!(connected[0]["device"], "hr-1");
    assert_eq!(connected[0]["version"], "3.1.1");
    assert_eq!(connected[0]["certified"], true);
    assert_eq!(connected[2]["certified"], false);
    let disconnected = said("device disconnected");
    assert_eq!(disconnected.len(), 4);
    assert_eq!(disconnected[0]["reason"], "left");
    assert_eq!(disconnected[0]["messages"], 1);
    assert_eq!(said("device refused").len(), 1);
    for secret in ["SECRET", "8867-4", "/min"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}
