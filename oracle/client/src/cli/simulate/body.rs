//! Made-up patients: values that a device could have measured, as FHIR R4 Observations. Pure; the same seed makes the
//! same values.
//!
//! A patient has resting values drawn from what adults have. Around them values drift slowly, with the hour of the day
//! and with spells of activity, in which heart rate, breathing and blood pressure rise together and oxygen falls a
//! little. Glucose rises after three meals a day. An electrocardiogram is a row of beats, each five bell curves, at
//! the patient's heart rate and its small irregularity.

use contract_interface::UtcTime;
use serde_json::{Value, json};

const LOINC: &str = "http://loinc.org";
const UCUM: &str = "http://unitsofmeasure.org";
const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const DAY_SECONDS: f64 = 86_400.0;
/// Samples a second of an electrocardiogram.
const ECG_HERTZ: u32 = 250;
/// Seconds of one strip.
const ECG_SECONDS: u32 = 4;
/// A wave of a beat: when (share of the beat), how high (microvolts), how wide (share of the beat).
const WAVES: [(f64, f64, f64); 5] = [
    (0.20, 110.0, 0.025),  // P
    (0.36, -100.0, 0.010), // Q
    (0.39, 1000.0, 0.011), // R
    (0.42, -220.0, 0.010), // S
    (0.66, 280.0, 0.045),  // T
];

/// What a device measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    VitalSigns,
    Ecg,
    Glucose,
}

/// Random numbers for values, never for secrets: SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.unit() * (high - low)
    }

    /// About normal: mean 0, deviation 1, never beyond 6.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// True so many times in a thousand.
    pub(super) fn per_mille(&mut self, chances: u16) -> bool {
        self.next() % 1000 < u64::from(chances)
    }
}

/// A patient and the device that measures it.
#[derive(Debug, Clone)]
pub(super) struct Body {
    kind: Kind,
    dice: Dice,
    /// At rest: beats, breaths a minute; systolic and diastolic pressure; degrees; percent; milligrams a decilitre.
    heart: f64,
    breathing: f64,
    systolic: f64,
    diastolic: f64,
    temperature: f64,
    oxygen: f64,
    glucose: f64,
    /// From 0, at rest, to 1.
    activity: f64,
    /// Slow drift of everything, about -1 to 1.
    drift: f64,
    /// Which of the vital signs comes next.
    turn: usize,
}

impl Body {
    pub(super) fn new(kind: Kind, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        Self {
            kind,
            heart: dice.between(58.0, 82.0),
            breathing: dice.between(12.0, 17.0),
            systolic: dice.between(108.0, 135.0),
            diastolic: dice.between(66.0, 84.0),
            temperature: dice.between(36.3, 37.0),
            oxygen: dice.between(95.5, 98.5),
            glucose: dice.between(85.0, 125.0),
            activity: 0.0,
            drift: 0.0,
            turn: 0,
            dice,
        }
    }

    /// The next reading.
    pub(super) fn measure(&mut self, at: UtcTime, artefact: bool) -> Value {
        self.live(at);
        match self.kind {
            Kind::VitalSigns => self.vital_sign(at, artefact),
            Kind::Ecg => self.electrocardiogram(at, artefact),
            Kind::Glucose => self.blood_glucose(at, artefact),
        }
    }

    fn live(&mut self, at: UtcTime) {
        self.drift = 0.97 * self.drift + 0.06 * self.dice.normal();
        self.activity *= 0.8;
        let awake = hour_wave(at) > -0.3;
        if awake && self.dice.per_mille(40) {
            self.activity = self.dice.between(0.3, 1.0);
        }
    }

    fn heart_rate(&mut self, at: UtcTime) -> f64 {
        let noise = self.dice.normal();
        let rate = self.heart
            + 4.0 * hour_wave(at)
            + 5.0 * self.drift
            + 45.0 * self.activity
            + 1.2 * noise;
        rate.clamp(42.0, 175.0)
    }

    fn vital_sign(&mut self, at: UtcTime, artefact: bool) -> Value {
        self.turn += 1;
        let noise = self.dice.normal();
        match self.turn % 5 {
            1 => {
                let rate = match artefact {
                    true => self.dice.between(0.0, 20.0),
                    false => self.heart_rate(at),
                };
                quantity(at, "8867-4", "Heart rate", rate.round(), "/min")
            }
            2 => {
                let oxygen = match artefact {
                    true => self.dice.between(40.0, 70.0),
                    false => self.oxygen - 1.5 * self.activity + 0.4 * noise,
                };
                let oxygen = oxygen.round().min(100.0);
                quantity(at, "2708-6", "Oxygen saturation", oxygen, "%")
            }
            3 => {
                let breaths = match artefact {
                    true => self.dice.between(45.0, 70.0),
                    false => self.breathing + 8.0 * self.activity + 0.8 * noise,
                };
                let breaths = breaths.round().max(6.0);
                quantity(at, "9279-1", "Respiratory rate", breaths, "/min")
            }
            4 => {
                let degrees = match artefact {
                    true => self.dice.between(28.0, 33.0),
                    false => {
                        self.temperature + 0.25 * hour_wave(at) + 0.3 * self.activity + 0.05 * noise
                    }
                };
                quantity(at, "8310-5", "Body temperature", tenths(degrees), "Cel")
            }
            _ => self.blood_pressure(at, artefact),
        }
    }

    fn blood_pressure(&mut self, at: UtcTime, artefact: bool) -> Value {
        let noise = self.dice.normal();
        let rise = 5.0 * hour_wave(at) + 4.0 * self.drift + 2.0 * noise;
        let mut systolic = self.systolic + rise + 30.0 * self.activity;
        let diastolic = self.diastolic + 0.6 * rise + 6.0 * self.activity;
        if artefact {
            systolic = self.dice.between(240.0, 290.0);
        }
        let component = |code: &str, value: f64| {
            json!({
                "code": coding(code, ""),
                "valueQuantity": value_quantity(value.round(), "mm[Hg]"),
            })
        };
        json!({
            "resourceType": "Observation",
            "status": "final",
            "category": category(),
            "code": coding("85354-9", "Blood pressure"),
            "effectiveDateTime": at,
            "component": [component("8480-6", systolic), component("8462-4", diastolic)],
        })
    }

    fn blood_glucose(&mut self, at: UtcTime, artefact: bool) -> Value {
        let noise = self.dice.normal();
        let value = match artefact {
            true => self.dice.between(420.0, 600.0),
            false => {
                self.glucose + meals(at) + 6.0 * self.drift - 10.0 * self.activity + 2.0 * noise
            }
        };
        let value = value.round().clamp(40.0, 600.0);
        quantity(at, "2339-0", "Glucose", value, "mg/dL")
    }

    fn electrocardiogram(&mut self, at: UtcTime, artefact: bool) -> Value {
        let samples = self.strip(at, artefact);
        let data: Vec<String> = samples.iter().map(i32::to_string).collect();
        json!({
            "resourceType": "Observation",
            "status": "final",
            "category": category(),
            "code": coding("11524-6", "EKG study"),
            "effectiveDateTime": at,
            "valueSampledData": {
                "origin": value_quantity(0.0, "uV"),
                "period": 1000.0 / f64::from(ECG_HERTZ),
                "factor": 1.0,
                "dimensions": 1,
                "lowerLimit": -5000.0,
                "upperLimit": 5000.0,
                "data": data.join(" "),
            },
        })
    }

    /// Microvolts, sample by sample.
    fn strip(&mut self, at: UtcTime, artefact: bool) -> Vec<i32> {
        let rate = self.heart_rate(at);
        let mut beat = self.dice.unit();
        let mut seconds = 60.0 / rate;
        let samples = (0..ECG_HERTZ * ECG_SECONDS).map(|sample| {
            if artefact {
                // A loose electrode: the line hums and wanders.
                let hum =
                    (f64::from(sample) * std::f64::consts::TAU * 50.0 / f64::from(ECG_HERTZ)).sin();
                return (1500.0 * hum + 200.0 * self.dice.normal()).round() as i32;
            }
            beat += 1.0 / (f64::from(ECG_HERTZ) * seconds);
            if beat >= 1.0 {
                beat -= 1.0;
                seconds = 60.0 / rate * (1.0 + 0.03 * self.dice.normal() / 2.0);
            }
            let waves = WAVES.iter().map(|(when, high, wide)| {
                let far = (beat - when) / wide;
                high * (-0.5 * far * far).exp()
            });
            (waves.sum::<f64>() + 8.0 * self.dice.normal()).round() as i32
        });
        samples.collect()
    }
}

/// Lowest at four in the morning, highest at four in the afternoon: -1 to 1.
fn hour_wave(at: UtcTime) -> f64 {
    let day = at.unix_seconds().rem_euclid(86_400) as f64;
    -((day - 4.0 * 3600.0) / DAY_SECONDS * std::f64::consts::TAU).cos()
}

/// What meals at eight, one and seven add to glucose.
fn meals(at: UtcTime) -> f64 {
    let day = at.unix_seconds().rem_euclid(86_400) as f64 / 3600.0;
    let after = |meal: f64, peak: f64| {
        let hours = (day - meal).rem_euclid(24.0);
        // Highest an hour after the meal.
        peak * hours * (1.0 - hours).exp()
    };
    after(8.0, 45.0) + after(13.0, 55.0) + after(19.0, 50.0)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn coding(code: &str, display: &str) -> Value {
    match display {
        "" => json!({ "coding": [{ "system": LOINC, "code": code }] }),
        _ => json!({ "coding": [{ "system": LOINC, "code": code, "display": display }] }),
    }
}

fn category() -> Value {
    json!([{ "coding": [{ "system": CATEGORY, "code": "vital-signs" }] }])
}

/// Whole numbers are written as such.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

fn value_quantity(value: f64, unit: &str) -> Value {
    json!({ "value": number(value), "unit": unit, "system": UCUM, "code": unit })
}

fn quantity(at: UtcTime, code: &str, display: &str, value: f64, unit: &str) -> Value {
    json!({
        "resourceType": "Observation",
        "status": "final",
        "category": category(),
        "code": coding(code, display),
        "effectiveDateTime": at,
        "valueQuantity": value_quantity(value, unit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UtcTime {
        UtcTime::from_unix_seconds(1_800_000_000 + seconds).unwrap()
    }

    fn readings(kind: Kind, seed: u64, count: i64, artefact: bool) -> Vec<Value> {
        let mut body = Body::new(kind, seed);
        (0..count)
            .map(|n| body.measure(at(n * 300), artefact))
            .collect()
    }

    #[test]
    fn the_same_seed_makes_the_same_patient_and_another_seed_another() {
        for kind in [Kind::VitalSigns, Kind::Ecg, Kind::Glucose] {
            let first = readings(kind, 7, 20, false);
            assert_eq!(first, readings(kind, 7, 20, false), "{kind:?}");
            assert_ne!(first, readings(kind, 8, 20, false), "{kind:?}");
        }
    }

    /// What a reading says of a code, from all readings of many patients over days.
    fn values(kind: Kind, code: &str, artefact: bool) -> Vec<f64> {
        let mut found = Vec::new();
        for seed in 0..40 {
            for reading in readings(kind, seed, 600, artefact) {
                let whole = std::iter::once(&reading);
                let components = reading["component"].as_array().into_iter().flatten();
                for part in whole.chain(components) {
                    if part["code"]["coding"][0]["code"] == code {
                        found.extend(part["valueQuantity"]["value"].as_f64());
                    }
                }
            }
        }
        found
    }

    #[test]
    fn values_are_those_of_adults_and_artefacts_are_not() {
        for (kind, code, low, high) in [
            (Kind::VitalSigns, "8867-4", 42.0, 175.0),
            (Kind::VitalSigns, "2708-6", 90.0, 100.0),
            (Kind::VitalSigns, "9279-1", 6.0, 32.0),
            (Kind::VitalSigns, "8310-5", 35.5, 38.5),
            (Kind::VitalSigns, "8480-6", 80.0, 200.0),
            (Kind::VitalSigns, "8462-4", 45.0, 115.0),
            (Kind::Glucose, "2339-0", 50.0, 260.0),
        ] {
            let values = values(kind, code, false);
            assert!(values.len() > 1000, "{code}");
            let outside = values.iter().find(|value| !(low..=high).contains(*value));
            assert_eq!(outside, None, "{code}");
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            assert!(spread > 0.0, "{code} never changes");
        }
        for (kind, code, low, high) in [
            (Kind::VitalSigns, "8867-4", 42.0, 175.0),
            (Kind::VitalSigns, "2708-6", 90.0, 100.0),
            (Kind::VitalSigns, "8480-6", 80.0, 200.0),
            (Kind::Glucose, "2339-0", 50.0, 260.0),
        ] {
            let inside = values(kind, code, true)
                .into_iter()
                .find(|value| (low..=high).contains(value));
            assert_eq!(inside, None, "{code}");
        }
    }

    #[test]
    fn glucose_rises_after_meals_and_the_heart_slows_at_night() {
        let day = |hour: f64| UtcTime::from_unix_seconds((hour * 3600.0) as i64).unwrap();
        assert!(meals(day(9.0)) > 40.0);
        assert!(meals(day(9.0)) > meals(day(7.5)) + 20.0);
        assert!(hour_wave(day(4.0)) < -0.99 && hour_wave(day(16.0)) > 0.99);
    }

    /// As many beats as the heart rate says: peaks above half of an R wave.
    #[test]
    fn an_electrocardiogram_beats_at_the_patients_heart_rate() {
        for seed in 0..20 {
            let mut body = Body::new(Kind::Ecg, seed);
            let strip = body.strip(at(0), false);
            assert_eq!(strip.len(), 1000);
            let peaks = strip
                .windows(2)
                .filter(|pair| pair[0] < 500 && pair[1] >= 500)
                .count();
            let expected = 4.0 * body.heart / 60.0;
            assert!(
                (peaks as f64 - expected).abs() <= 2.0,
                "{seed}: {peaks}, {expected}"
            );
        }
        let reading = readings(Kind::Ecg, 1, 1, false).remove(0);
        let sampled = &reading["valueSampledData"];
        assert_eq!(sampled["period"], 4.0);
        let data = sampled["data"].as_str().unwrap();
        assert_eq!(data.split(' ').count(), 1000);
        assert!(reading.to_string().len() < 8 << 10);
    }
}
