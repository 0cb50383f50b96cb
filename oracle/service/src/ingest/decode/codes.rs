//! LOINC codes by form and check digit, units by UCUM's grammar and atoms. Pure.
//!
//! A code that is wrong is marked, never dropped: what was measured stays true. That a well-formed LOINC code is
//! one that Regenstrief issued is not checked; the list has 100,000 of them and changes twice a year.

/// Digits before a LOINC code's hyphen.
const LOINC_DIGITS_MAX: usize = 7;
/// Characters of a unit that are looked at; the longest that UCUM's tables name has 34.
const UNIT_CHARS_MAX: usize = 64;
/// Parentheses inside parentheses of a unit.
const UNIT_DEPTH_MAX: usize = 8;

/// Whether a code has the form of a LOINC code: digits, a hyphen, one digit.
pub(super) fn looks_like_loinc(code: &str) -> bool {
    code.split_once('-').is_some_and(|(number, check)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits(number) && number.len() <= LOINC_DIGITS_MAX && digits(check) && check.len() == 1
    })
}

/// Whether a code can be a LOINC code: its form, and its check digit (modulus 10, as of payment cards).
pub(super) fn is_loinc(code: &str) -> bool {
    if !looks_like_loinc(code) {
        return false;
    }
    let digits = code.bytes().rev().filter(u8::is_ascii_digit);
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) => doubled / 10 + doubled % 10,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Units of vital signs, ECGs and blood glucose, as UCUM writes them: nearly every reading has one of them.
const USUAL_UNITS: [&str; 16] = [
    "/min", "mm[Hg]", "%", "Cel", "mg/dL", "mmol/L", "kg", "cm", "m", "kg/m2", "mV", "uV", "s",
    "ms", "1", "[degF]",
];

/// Whether a text is a UCUM unit, case-sensitive.
pub(super) fn is_ucum(unit: &str) -> bool {
    USUAL_UNITS.contains(&unit) || is_parsed_as_ucum(unit)
}

fn is_parsed_as_ucum(unit: &str) -> bool {
    let depth = unit.bytes().filter(|byte| *byte == b'(').count();
    (1..=UNIT_CHARS_MAX).contains(&unit.len())
        && depth <= UNIT_DEPTH_MAX
        && unit.bytes().all(|byte| (0x21..0x7f).contains(&byte))
        && octofhir_ucum::validate(unit).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_units_are_units() {
        for unit in USUAL_UNITS {
            assert!(is_parsed_as_ucum(unit), "{unit}");
        }
    }

    #[test]
    fn loinc_codes_are_known_by_form_and_check_digit() {
        // Vital signs, laboratory and documents, of loinc.org.
        for code in [
            "8867-4", "8480-6", "8462-4", "29463-7", "59408-5", "2708-6", "8310-5", "9279-1",
            "85354-9", "11502-2", "11524-6", "34133-9", "2339-0", "789-8", "72514-3", "100000-9",
        ] {
            assert!(is_loinc(code), "{code}");
        }
        for code in [
            "8867-5",
            "8876-4",
            "88674",
            "8867-",
            "-4",
            "8867-44",
            "x867-4",
            "8867-x",
            "",
            "12345678-5",
            "\u{664}-4",
            "8867 -4",
        ] {
            assert!(!is_loinc(code), "{code}");
        }
        // Every single wrong digit is found.
        for place in 0..4 {
            for digit in b'0'..=b'9' {
                let mut code = b"8867-4".to_vec();
                code[place] = digit;
                let code = String::from_utf8(code).unwrap();
                assert_eq!(is_loinc(&code), code == "8867-4", "{code}");
            }
        }
    }

    #[test]
    fn units_are_those_of_ucum() {
        for unit in [
            "/min",
            "{beats}/min",
            "mm[Hg]",
            "Cel",
            "[degF]",
            "%",
            "kg",
            "kg/m2",
            "cm",
            "mg/dL",
            "mmol/L",
            "10*3/uL",
            "10*6/uL",
            "U/L",
            "kU/L",
            "mL/min/{1.73_m2}",
            "{score}",
            "[pH]",
            "L/min",
            "mV",
            "uV",
            "ms",
            "1",
            "g.m/s2",
            "(g.m)/s2",
            "m-2",
            "[in_i]",
            "dB",
            "kPa",
            "umol/L",
            "10^3/uL",
            "ng/mL",
            "meq/L",
            "mosm/kg",
        ] {
            assert!(is_ucum(unit), "{unit}");
        }
        for unit in [
            "",
            "bpm",
            "beats per minute",
            "mmHg",
            "degC",
            "\u{b0}C",
            "kg/",
            "((kg)",
            "kg)",
            "mg//dL",
            "Kg",
            "lbs",
            "{open",
            "foo",
        ] {
            assert!(!is_ucum(unit), "{unit}");
        }
        let deep = format!("{}m{}", "(".repeat(31), ")".repeat(31));
        assert!(!is_ucum(&deep));
        assert!(!is_ucum(&"m.".repeat(40)));
    }
}
