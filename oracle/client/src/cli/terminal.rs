//! Text from elsewhere, made harmless for a terminal.
//!
//! Oracles, providers and devices write what this program prints. Control characters among it could
//! move the cursor, recolour or rewrite what stands above, or have the terminal answer; marks of
//! writing direction show something else than is there.

use std::borrow::Cow;

/// What is shown in the place of a character that is not printed.
const REPLACEMENT: char = '\u{fffd}';

/// The text with everything replaced that a terminal would obey rather than show; lines and
/// tabulators stay.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_obeyed) {
        let shown = |c| if is_obeyed(c) { REPLACEMENT } else { c };
        Cow::Owned(text.chars().map(shown).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// Content on its way to standard output: as it is for programs, harmless for a terminal.
pub(crate) fn content(bytes: &[u8], is_terminal: bool) -> Cow<'_, [u8]> {
    if is_terminal {
        let text = String::from_utf8_lossy(bytes);
        Cow::Owned(harmless(&text).into_owned().into_bytes())
    } else {
        Cow::Borrowed(bytes)
    }
}

fn is_obeyed(c: char) -> bool {
    let directs =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    directs || (c.is_control() && !matches!(c, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_printed_that_a_terminal_obeys() {
        for (text, shown) in [
            ("Größe 3\n\tmg", "Größe 3\n\tmg"),
            ("\u{1b}[2Jgone", "\u{fffd}[2Jgone"),
            ("permit\rdeny", "permit\u{fffd}deny"),
            ("\u{9b}31m \u{7f} \u{7}", "\u{fffd}31m \u{fffd} \u{fffd}"),
            ("a\u{202e}b\u{2066}c", "a\u{fffd}b\u{fffd}c"),
        ] {
            assert_eq!(harmless(text), shown);
            assert_eq!(*content(text.as_bytes(), true), *shown.as_bytes());
            assert_eq!(*content(text.as_bytes(), false), *text.as_bytes());
        }
        assert_eq!(*content(b"\xff\x1b", true), *"\u{fffd}\u{fffd}".as_bytes());
    }
}
