//! Numbers that survive JSON.
//!
//! JSON has no NaN and no infinity, and `serde_json` writes both as `null`. Exactly the values that
//! matter in a failed training would vanish from its record. With `#[serde(with = "float")]` a
//! finite number stays a JSON number. The others become the strings `"NaN"`, `"Infinity"` and
//! `"-Infinity"`, which read back as themselves.
//!
//! ```
//! use steadygrad_dynamics::float;
//!
//! #[derive(serde::Serialize)]
//! struct Row {
//!     #[serde(with = "float")]
//!     loss: f64,
//! }
//! assert_eq!(serde_json::to_string(&Row { loss: f64::NAN }).unwrap(), r#"{"loss":"NaN"}"#);
//! ```

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Number(f64),
    Word(String),
}

impl From<f64> for Wire {
    fn from(value: f64) -> Self {
        if value.is_finite() {
            Wire::Number(value)
        } else if value.is_nan() {
            Wire::Word("NaN".into())
        } else if value > 0.0 {
            Wire::Word("Infinity".into())
        } else {
            Wire::Word("-Infinity".into())
        }
    }
}

impl Wire {
    fn value<E: de::Error>(self) -> Result<f64, E> {
        match self {
            Wire::Number(value) => Ok(value),
            Wire::Word(word) => match word.as_str() {
                "NaN" => Ok(f64::NAN),
                "Infinity" => Ok(f64::INFINITY),
                "-Infinity" => Ok(f64::NEG_INFINITY),
                other => Err(E::custom(format!(
                    "`{other}` is not a number; give a JSON number, \"NaN\", \"Infinity\" or \
                     \"-Infinity\""
                ))),
            },
        }
    }
}

/// Writes one number.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    Wire::from(*value).serialize(serializer)
}

/// Reads one number.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Wire::deserialize(deserializer)?.value()
}

/// The same conversion for `Option<f64>`. `None` is `null`.
pub mod option {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Wire};

    /// Writes an optional number.
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Wire::from).serialize(serializer)
    }

    /// Reads an optional number.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f64>, D::Error> {
        Option::<Wire>::deserialize(deserializer)?
            .map(Wire::value)
            .transpose()
    }
}

/// The same conversion for `Vec<f64>`.
pub mod list {
    use super::{Deserialize, Deserializer, Serializer, Wire};

    /// Writes a list of numbers.
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| Wire::from(*value)))
    }

    /// Reads a list of numbers.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Vec::<Wire>::deserialize(deserializer)?
            .into_iter()
            .map(Wire::value)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize)]
    struct Row {
        #[serde(with = "super")]
        one: f64,
        #[serde(with = "super::option")]
        maybe: Option<f64>,
        #[serde(with = "super::list")]
        many: Vec<f64>,
    }

    #[test]
    fn non_finite_numbers_survive_a_round_trip() {
        let values = [0.0, -0.0, 1.5, f64::MIN_POSITIVE / 4.0, f64::MAX];
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for value in values.into_iter().chain(odd) {
            let row = Row {
                one: value,
                maybe: Some(value),
                many: vec![value, 1.0],
            };
            let text = serde_json::to_string(&row).unwrap();
            assert!(!text.contains("null"), "{text}");
            let back: Row = serde_json::from_str(&text).unwrap();
            for read in [back.one, back.maybe.unwrap(), back.many[0]] {
                assert!(
                    read.to_bits() == value.to_bits() || (read.is_nan() && value.is_nan()),
                    "{value} came back as {read} through {text}"
                );
            }
        }
    }

    #[test]
    fn none_and_empty_stay_so() {
        let text = serde_json::to_string(&Row {
            one: 1.0,
            maybe: None,
            many: vec![],
        })
        .unwrap();
        let back: Row = serde_json::from_str(&text).unwrap();
        assert!(back.maybe.is_none() && back.many.is_empty());
    }

    #[test]
    fn a_word_that_is_no_number_is_refused_by_name() {
        let error = serde_json::from_str::<Row>(r#"{"one":"nan?","maybe":null,"many":[]}"#)
            .err()
            .expect("refused");
        assert!(
            error.to_string().contains("`nan?` is not a number"),
            "{error}"
        );
    }
}
