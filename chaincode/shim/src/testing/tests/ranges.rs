//! Ranges, phantoms, portions and pages.

use fabric_protos::kvrwset::range_query_info::ReadsInfo;

use super::*;

#[tokio::test]
async fn a_range_skips_composite_keys_and_is_noted_with_its_versions() {
    let (ledger, chaincode) = ledger();
    let composite = create_composite_key("t", &["a"]).unwrap();
    put(
        &ledger,
        &chaincode,
        &[("a", "1"), ("b", "2"), (&composite, "3")],
    )
    .await;
    let all = ledger.simulate(&chaincode, count("", "", 10)).await;
    assert_eq!(answer(&all), "2");
    let info = public_set(&all).range_queries_info.remove(0);
    assert_eq!(
        (
            info.start_key.as_str(),
            info.end_key.as_str(),
            info.itr_exhausted
        ),
        ("\u{1}", "", true)
    );
    let Some(ReadsInfo::RawReads(reads)) = info.reads_info else {
        panic!("not raw reads");
    };
    assert_eq!(reads.kv_reads.len(), 2);
    let bounded = ledger.simulate(&chaincode, count("a", "b", 10)).await;
    assert_eq!(answer(&bounded), "1");
}

#[tokio::test]
async fn phantoms_are_found_inside_what_was_read() {
    let (ledger, chaincode) = ledger();
    put(&ledger, &chaincode, &[("a", "1"), ("c", "2"), ("e", "3")]).await;
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], ValidationCode);
    let cases: &[Case<'_>] = &[
        (
            "an added key",
            &[("b", "x")],
            ValidationCode::PhantomReadConflict,
        ),
        (
            "a changed key",
            &[("c", "x")],
            ValidationCode::PhantomReadConflict,
        ),
        (
            "a deleted key",
            &[("a", "")],
            ValidationCode::PhantomReadConflict,
        ),
        (
            "a key behind the range",
            &[("e", "x")],
            ValidationCode::Valid,
        ),
    ];
    for (name, change, expected) in cases {
        let (ledger, chaincode) = self::ledger();
        put(&ledger, &chaincode, &[("a", "1"), ("c", "2"), ("e", "3")]).await;
        let reader = ledger
            .simulate(&chaincode, count("a", "e", 10).argument("result"))
            .await;
        put(&ledger, &chaincode, change).await;
        assert_eq!(ledger.commit(&[reader]), [*expected], "{name}");
    }
}

#[tokio::test]
async fn long_ranges_come_in_portions_and_are_summarised() {
    let (ledger, chaincode) = ledger();
    let pairs: Vec<(String, String)> = (0..250)
        .map(|n| (format!("k{n:03}"), "v".to_owned()))
        .collect();
    ledger
        .invoke(&chaincode, Tx::submit("Put").json(&pairs))
        .await;
    let all = ledger.simulate(&chaincode, count("", "", 1000)).await;
    assert_eq!(answer(&all), "250");
    let info = public_set(&all).range_queries_info.remove(0);
    let Some(ReadsInfo::ReadsMerkleHashes(summary)) = info.reads_info else {
        panic!("not a summary");
    };
    // 250 reads are four full nodes of 51 and one of 46.
    assert_eq!(
        (
            summary.max_degree,
            summary.max_level,
            summary.max_level_hashes.len()
        ),
        (50, 1, 5)
    );
    // Stopping early leaves the range open at the last key that the ledger has handed out.
    let some = ledger.simulate(&chaincode, count("", "", 5)).await;
    let info = public_set(&some).range_queries_info.remove(0);
    assert_eq!((info.end_key.as_str(), info.itr_exhausted), ("k100", false));
    let reader = ledger
        .simulate(&chaincode, count("", "", 1000).argument("result"))
        .await;
    put(&ledger, &chaincode, &[("k1000", "x")]).await;
    assert_eq!(
        ledger.commit(&[reader]),
        [ValidationCode::PhantomReadConflict]
    );
}

#[tokio::test]
async fn pages_follow_one_another_by_bookmark() {
    let (ledger, chaincode) = ledger();
    put(&ledger, &chaincode, &[("a", "1"), ("b", "2"), ("c", "3")]).await;
    let page = |bookmark: &str| Tx::submit("Page").argument("2").argument(bookmark);
    let first = ledger.simulate(&chaincode, page("")).await;
    assert_eq!(answer(&first), r#"[["a","b"],2,"c"]"#);
    let info = public_set(&first).range_queries_info.remove(0);
    assert_eq!((info.end_key.as_str(), info.itr_exhausted), ("b", false));
    let second = ledger.simulate(&chaincode, page("c")).await;
    assert_eq!(answer(&second), r#"[["c"],1,""]"#);
    for write in ["true", "false"] {
        let refused = ledger.simulate(&chaincode, page("").argument(write)).await;
        assert!(
            refused.response.message.contains("unsuppored transaction"),
            "{refused:?}"
        );
    }
    let none = ledger
        .simulate(&chaincode, Tx::submit("Page").argument("0").argument(""))
        .await;
    assert_eq!(none.response.status, 400);
}
