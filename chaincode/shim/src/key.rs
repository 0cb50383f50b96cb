//! Keys of the world state: the rules for simple keys, and composite keys.
//!
//! A composite key is `NUL object_type NUL attribute NUL … attribute NUL`, so keys sort by type,
//! then by each attribute, and every key that starts with some leading attributes lies in one
//! range. The leading NUL keeps them apart from simple keys, which therefore must not start with
//! NUL. An empty attribute is legal and survives splitting.

use crate::KeyError;

/// Separates the parts of a composite key, and starts it.
pub(crate) const SEPARATOR: char = '\0';

/// Greater than every character that may stand in an attribute; ends the range of a prefix.
pub(crate) const LAST: char = '\u{10FFFF}';

/// What an empty range start becomes, so that composite keys stay out of plain ranges.
pub(crate) const FIRST_SIMPLE_KEY: &str = "\u{1}";

/// Joins an object type and attributes into one key that sorts as its parts do.
///
/// # Errors
///
/// [`KeyError::ForbiddenCharacter`] when a part contains U+0000 or U+10FFFF.
pub fn create_composite_key(object_type: &str, attributes: &[&str]) -> Result<String, KeyError> {
    let length = attributes.iter().map(|part| part.len() + 1).sum::<usize>();
    let mut key = String::with_capacity(object_type.len() + 2 + length);
    key.push(SEPARATOR);
    for part in std::iter::once(&object_type).chain(attributes) {
        check_part(part)?;
        key.push_str(part);
        key.push(SEPARATOR);
    }
    Ok(key)
}

/// Splits a composite key into its object type and attributes.
///
/// # Errors
///
/// [`KeyError::NotComposite`] when the key was not made by [`create_composite_key`].
pub fn split_composite_key(key: &str) -> Result<(String, Vec<String>), KeyError> {
    let inner = key
        .strip_prefix(SEPARATOR)
        .and_then(|rest| rest.strip_suffix(SEPARATOR))
        .ok_or(KeyError::NotComposite)?;
    let mut parts = inner.split(SEPARATOR).map(str::to_owned);
    let object_type = parts.next().ok_or(KeyError::NotComposite)?;
    Ok((object_type, parts.collect()))
}

/// The half-open range that holds every composite key with these leading attributes.
pub(crate) fn partial_range(
    object_type: &str,
    attributes: &[&str],
) -> Result<(String, String), KeyError> {
    let start = create_composite_key(object_type, attributes)?;
    let end = format!("{start}{LAST}");
    Ok((start, end))
}

/// Checks a key that a contract writes under its own name, public or private.
pub(crate) fn check_written(key: &str) -> Result<(), KeyError> {
    if key.is_empty() {
        return Err(KeyError::Empty);
    }
    if key.starts_with(SEPARATOR) && split_composite_key(key).is_err() {
        return Err(KeyError::LeadingNul);
    }
    Ok(())
}

/// Checks the bounds of a range over simple keys and replaces an empty start.
pub(crate) fn simple_range<'a>(start: &'a str, end: &str) -> Result<&'a str, KeyError> {
    if start.starts_with(SEPARATOR) || end.starts_with(SEPARATOR) {
        return Err(KeyError::LeadingNul);
    }
    Ok(if start.is_empty() {
        FIRST_SIMPLE_KEY
    } else {
        start
    })
}

fn check_part(part: &str) -> Result<(), KeyError> {
    match part
        .char_indices()
        .find(|(_, c)| matches!(*c, SEPARATOR | LAST))
    {
        None => Ok(()),
        Some((position, character)) => Err(KeyError::ForbiddenCharacter {
            character,
            position,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_survive_joining_and_splitting() {
        for (object_type, attributes) in [
            ("grant", vec!["a", "b"]),
            ("grant", vec![]),
            ("", vec![]),
            ("t", vec![""]),
            ("t", vec!["", "b"]),
            ("t", vec!["a", ""]),
            ("t", vec!["", "", ""]),
            ("größe", vec!["\u{1}", "\u{10FFFE}", "日本"]),
        ] {
            let key = create_composite_key(object_type, &attributes).unwrap();
            let (type_again, attributes_again) = split_composite_key(&key).unwrap();
            assert_eq!(type_again, object_type);
            assert_eq!(attributes_again, attributes);
        }
    }

    #[test]
    fn bytes_are_those_of_the_go_shim() {
        assert_eq!(create_composite_key("t", &["a", ""]).unwrap(), "\0t\0a\0\0");
        assert_eq!(
            partial_range("t", &["a"]).unwrap(),
            ("\0t\0a\0".to_owned(), "\0t\0a\0\u{10FFFF}".to_owned())
        );
    }

    #[test]
    fn forbidden_characters_are_named_with_their_place() {
        assert_eq!(
            create_composite_key("t", &["ab\0"]),
            Err(KeyError::ForbiddenCharacter {
                character: '\0',
                position: 2
            })
        );
        assert_eq!(
            create_composite_key("\u{10FFFF}", &[]),
            Err(KeyError::ForbiddenCharacter {
                character: '\u{10FFFF}',
                position: 0
            })
        );
    }

    #[test]
    fn what_is_not_composite_does_not_split() {
        for key in ["", "a", "\0", "a\0", "\0a", "\0a\0b"] {
            assert_eq!(
                split_composite_key(key),
                Err(KeyError::NotComposite),
                "{key:?}"
            );
        }
        assert_eq!(split_composite_key("\0\0"), Ok((String::new(), vec![])));
    }

    #[test]
    fn composite_keys_sort_as_their_parts() {
        let mut parts = [
            ["a", ""],
            ["a", "b"],
            ["a", "ba"],
            ["ab", ""],
            ["b", "a"],
            ["", "z"],
        ];
        parts.sort_unstable();
        let keys: Vec<String> = parts
            .iter()
            .map(|part| create_composite_key("t", part).unwrap())
            .collect();
        assert!(keys.is_sorted());
    }

    #[test]
    fn a_partial_range_holds_its_keys_and_no_others() {
        let (start, end) = partial_range("t", &["a"]).unwrap();
        let inside = |attributes: &[&str]| {
            let key = create_composite_key("t", attributes).unwrap();
            start <= key && key < end
        };
        assert!(inside(&["a"]) && inside(&["a", ""]) && inside(&["a", "\u{10FFFE}"]));
        assert!(!inside(&["ab"]) && !inside(&[""]) && !inside(&["b"]));
    }

    #[test]
    fn written_keys_are_not_empty_and_only_whole_composite_keys_start_with_nul() {
        assert_eq!(check_written(""), Err(KeyError::Empty));
        assert_eq!(check_written("\0a"), Err(KeyError::LeadingNul));
        assert_eq!(check_written("\0a\0"), Ok(()));
        assert_eq!(check_written("a\0"), Ok(()));
    }

    #[test]
    fn simple_ranges_skip_composite_keys() {
        assert_eq!(simple_range("", ""), Ok("\u{1}"));
        assert_eq!(simple_range("a", ""), Ok("a"));
        assert_eq!(simple_range("\0a", "b"), Err(KeyError::LeadingNul));
        assert_eq!(simple_range("a", "\0"), Err(KeyError::LeadingNul));
    }
}
