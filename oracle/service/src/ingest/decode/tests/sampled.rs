//! Waveforms: FHIR SampledData and compact ones.

use super::*;

#[test]
fn a_waveform_covers_the_time_of_its_samples() {
    let sampled = |effective: &str, data: &str| {
        observation(&format!(
            r#","effectiveDateTime":"{effective}","valueSampledData":{{"origin":{{"value":0}},"period":500,"dimensions":1,"data":"{data}"}}"#
        ))
    };
    let five_seconds = "2025-06-01T10:00:04Z";
    let ten = "1 2 3 4 5 6 7 8 9 10";
    check(
        &Hints::default(),
        sampled(AT, ten).as_bytes(),
        Ok(("8867-4", None, AT, five_seconds)),
    );
    check(
        &Hints::default(),
        sampled(AT, "1").as_bytes(),
        Ok(("8867-4", None, AT, AT)),
    );
    let day = (
        "8867-4",
        None,
        "2025-06-01T00:00:00Z",
        "2025-06-01T23:59:59Z",
    );
    check(
        &Hints::default(),
        sampled("2025-06-01", ten).as_bytes(),
        Ok(day),
    );
    let compact = |rest: &str| {
        format!(
            r#"{{"time":"{AT}","code":"11524-6","unit":"mV","value":[1,2,3,4,5,6,7,8,9,10]{rest}}}"#
        )
    };
    let whole = ("11524-6", None, AT, five_seconds);
    check(
        &Hints::default(),
        compact(r#","interval_ms":500"#).as_bytes(),
        Ok(whole),
    );
    for wrong in ["0", "-1", "\"1\"", "1e12"] {
        let payload = compact(&format!(r#","interval_ms":{wrong}"#));
        check(
            &Hints::default(),
            payload.as_bytes(),
            Err("payload-member-type"),
        );
    }
    let single = format!(r#"{{"time":"{AT}","code":"a","unit":"mV","value":1,"interval_ms":5}}"#);
    check(
        &Hints::default(),
        single.as_bytes(),
        Err("payload-member-type"),
    );
    let binary = cbor(|e| {
        e.map(5).unwrap();
        e.str("time").unwrap().str(AT).unwrap();
        e.str("code").unwrap().str("11524-6").unwrap();
        e.str("unit").unwrap().str("mV").unwrap();
        e.str("interval_ms").unwrap().u16(2500).unwrap();
        e.str("value")
            .unwrap()
            .array(2)
            .unwrap()
            .f32(0.5)
            .unwrap()
            .i8(-1)
            .unwrap();
    });
    check(&of_type(CBOR), &binary, Ok(whole));
    let mixed = cbor(|e| {
        e.map(1)
            .unwrap()
            .str("value")
            .unwrap()
            .array(1)
            .unwrap()
            .str("x")
            .unwrap();
    });
    check(&of_type(CBOR), &mixed, Err("payload-member-type"));
}

/// Ten seconds of lead II at 1 kHz as an Observation and as a compact reading, where they lie beside the project.
#[test]
fn a_real_electrocardiogram_covers_its_ten_seconds() {
    use std::io::Write as _;
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/ecg-lead-ii.csv"
    );
    let Ok(text) = std::fs::read_to_string(file) else {
        let line = "SKIPPED a_real_electrocardiogram_covers_its_ten_seconds: the sample is absent";
        return writeln!(std::io::stderr(), "{line}").unwrap();
    };
    let lines = text.lines().skip(1);
    let values: Vec<&str> = lines
        .filter_map(|line| Some(line.split_once(',')?.1))
        .collect();
    assert_eq!(values.len(), 10_000);
    let end = "2025-06-01T10:00:09Z";
    let sampled = observation(&format!(
        r#","effectiveDateTime":"{AT}","valueSampledData":{{"origin":{{"value":0,"unit":"uV"}},"period":1,"dimensions":1,"data":"{}"}}"#,
        values.join(" ")
    ));
    let whole = Ok(("8867-4", None, AT, end));
    check(&Hints::default(), sampled.as_bytes(), whole);
    let compact = format!(
        r#"{{"time":"{AT}","code":"8867-4","unit":"uV","interval_ms":1,"value":[{}]}}"#,
        values.join(",")
    );
    check(&Hints::default(), compact.as_bytes(), whole);
}
