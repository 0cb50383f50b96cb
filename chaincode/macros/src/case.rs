//! Names in the spellings that the wire and serde use.

use syn::{Error, LitStr, Result};

/// The rules of serde's `rename_all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    Lower,
    Upper,
    Pascal,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Case {
    pub(crate) fn parse(name: &LitStr) -> Result<Self> {
        Ok(match name.value().as_str() {
            "lowercase" => Self::Lower,
            "UPPERCASE" => Self::Upper,
            "PascalCase" => Self::Pascal,
            "camelCase" => Self::Camel,
            "snake_case" => Self::Snake,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            "kebab-case" => Self::Kebab,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
            _ => return Err(Error::new(name.span(), "unknown case")),
        })
    }

    /// Respells a name made of `words`.
    fn join(self, words: &[String]) -> String {
        let separator = match self {
            Self::Snake | Self::ScreamingSnake => "_",
            Self::Kebab | Self::ScreamingKebab => "-",
            _ => "",
        };
        let spell = |(index, word): (usize, &String)| match self {
            Self::Upper | Self::ScreamingSnake | Self::ScreamingKebab => word.to_uppercase(),
            Self::Pascal => capitalized(word),
            Self::Camel if index > 0 => capitalized(word),
            _ => word.to_lowercase(),
        };
        let words: Vec<String> = words.iter().enumerate().map(spell).collect();
        words.join(separator)
    }

    /// Respells a member's name, which is `snake_case` in Rust.
    pub(crate) fn of_field(self, name: &str) -> String {
        match self {
            // serde takes a member's name for lower case as it is.
            Self::Lower | Self::Snake => name.to_owned(),
            Self::Upper => name.to_uppercase(),
            _ => {
                let words: Vec<String> = name
                    .split('_')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect();
                self.join(&words)
            }
        }
    }

    /// Respells a variant's name, which is `PascalCase` in Rust.
    pub(crate) fn of_variant(self, name: &str) -> String {
        match self {
            Self::Lower => name.to_lowercase(),
            Self::Upper => name.to_uppercase(),
            Self::Pascal => name.to_owned(),
            _ => {
                let mut words: Vec<String> = vec![];
                for character in name.chars() {
                    match words.last_mut() {
                        Some(word) if !character.is_uppercase() => word.push(character),
                        _ => words.push(character.to_string()),
                    }
                }
                self.join(&words)
            }
        }
    }
}

/// The wire name of a function: `read_asset` is called `ReadAsset`.
pub(crate) fn wire_name(function: &str) -> String {
    Case::Pascal.of_field(function)
}

fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_called_by_their_name_in_pascal_case() {
        for (function, wire) in [
            ("read_asset", "ReadAsset"),
            ("get", "Get"),
            ("_get_2_x", "Get2X"),
        ] {
            assert_eq!(wire_name(function), wire);
        }
    }

    #[test]
    fn cases_are_those_of_serde() {
        let cases = [
            (Case::Lower, "very_tasty", "verytasty"),
            (Case::Upper, "VERY_TASTY", "VERYTASTY"),
            (Case::Pascal, "VeryTasty", "VeryTasty"),
            (Case::Camel, "veryTasty", "veryTasty"),
            (Case::Snake, "very_tasty", "very_tasty"),
            (Case::ScreamingSnake, "VERY_TASTY", "VERY_TASTY"),
            (Case::Kebab, "very-tasty", "very-tasty"),
            (Case::ScreamingKebab, "VERY-TASTY", "VERY-TASTY"),
        ];
        for (case, field, variant) in cases {
            assert_eq!(case.of_field("very_tasty"), field, "{case:?}");
            assert_eq!(case.of_variant("VeryTasty"), variant, "{case:?}");
        }
    }
}
