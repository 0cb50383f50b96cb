//! Subscriptions, sessions that are kept, sessions that are taken over.

use crate::ingest::mqtt::testing::{Rig, connect, packet, subscribe, text};
use crate::ingest::topic;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_hears_its_own_receipts_only() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    for level in [4, 5] {
        let mut client = rig.connected(level, "hr-1").await;
        let filters = [
            (own.as_str(), 2),
            ("v1/devices/hr-2/receipts", 0),
            ("#", 0),
            ("$share/g/v1/devices/hr-1/receipts", 1),
        ];
        let ack = client.ask(&subscribe(level, 3, &filters)).await.unwrap();
        let codes = &ack[ack.len() - 4..];
        match level {
            4 => assert_eq!(codes, [1, 0x80, 0x80, 0x80]),
            _ => assert_eq!(codes, [1, 0x87, 0x87, 0x9e]),
        }
        for count in 0..30_u8 {
            rig.delivery.publish(own.clone(), vec![count]).unwrap();
            rig.delivery
                .publish(topic::receipts("hr-2"), vec![99])
                .unwrap();
        }
        let mut pkids = Vec::new();
        for count in 0..30_u8 {
            let message = client.packet().await.unwrap();
            assert_eq!(message[0], 0x32);
            assert_eq!(message.last(), Some(&count));
            let at = 4 + own.len();
            pkids.push([message[at], message[at + 1]]);
        }
        // Acknowledged in the wrong order, which the router would not bear.
        for [high, low] in pkids.into_iter().rev() {
            client.send(&[0x40, 2, high, low]).await;
        }
        client.send(&[0x40, 2, 0x77, 0x77]).await;
        rig.delivery.publish(own.clone(), vec![200]).unwrap();
        assert_eq!(client.packet().await.unwrap().last(), Some(&200));
        let mut body = vec![0, 4];
        if level == 5 {
            body.push(0);
        }
        body.extend(text(&own));
        let ack = client.ask(&packet(0xa2, &body)).await.unwrap();
        assert_eq!(&ack[..1], [0xb0]);
        client.send(&[0xe0, 0]).await;
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_session_hears_what_it_missed() {
    let rig = Rig::start().await;
    let own = topic::receipts("hr-1");
    let mut client = rig.plain().await;
    let ack = client.ask(&connect(4, "hr-1", 0, 60)).await.unwrap();
    assert_eq!(ack, [0x20, 2, 0, 0]);
    client.ask(&subscribe(4, 1, &[(&own, 1)])).await.unwrap();
    client.send(&[0xe0, 0]).await;
    assert_eq!(client.packet().await, None);
    rig.delivery.publish(own.clone(), vec![42]).unwrap();
    let mut client = rig.plain().await;
    let ack = client.ask(&connect(4, "hr-1", 0, 60)).await.unwrap();
    assert_eq!(ack, [0x20, 2, 1, 0], "session present");
    assert_eq!(client.packet().await.unwrap().last(), Some(&42));
    // A clean session forgets.
    let mut client = rig.plain().await;
    let ack = client.ask(&connect(4, "hr-1", 2, 60)).await.unwrap();
    assert_eq!(ack, [0x20, 2, 0, 0]);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_takes_the_session_over() {
    let rig = Rig::start().await;
    let mut first = rig.connected(5, "hr-1").await;
    let mut second = rig.connected(5, "hr-1").await;
    let bye = first.packet().await.unwrap();
    assert_eq!((bye[0], bye[2]), (0xe0, 0x8e));
    assert_eq!(second.ask(&[0xc0, 0]).await.unwrap(), [0xd0, 0]);
    rig.stop().await;
}
