//! JSON as Python writes it, with bare NaN and Infinity.

use std::borrow::Cow;

use serde_json::Value;

/// Parses a text. A bare NaN or infinity becomes a string, which [`number`] reads.
pub(crate) fn parse(text: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(&quoted(text))
}

/// The value as a number. A number that was written as text counts.
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => crate::column::number(text.as_bytes()).ok().flatten(),
        Value::Bool(on) => Some(f64::from(u8::from(*on))),
        _ => None,
    }
}

/// The numbers of an object by name. Nested objects give names such as `outer/inner`, lists of a
/// few numbers `name/0`, `name/1`. A list of one number is that number.
pub(crate) fn numbers(object: &serde_json::Map<String, Value>) -> Vec<(String, Option<f64>)> {
    let mut found = Vec::new();
    flatten("", object, 0, &mut found);
    found
}

/// A longer list is a histogram, or a sample of something.
const FEW: usize = 8;

/// Number of levels of nested objects that are read.
const DEEPEST: usize = 8;

fn flatten(
    outer: &str,
    object: &serde_json::Map<String, Value>,
    depth: usize,
    found: &mut Vec<(String, Option<f64>)>,
) {
    for (key, value) in object {
        let name = if outer.is_empty() {
            key.clone()
        } else {
            format!("{outer}/{key}")
        };
        match value {
            Value::Object(inner) if depth < DEEPEST => flatten(&name, inner, depth + 1, found),
            Value::Array(list) if list.len() <= FEW => {
                let numbers: Option<Vec<f64>> = list.iter().map(number).collect();
                match numbers.as_deref() {
                    Some([one]) => found.push((name, Some(*one))),
                    Some(several) => found.extend(
                        several
                            .iter()
                            .enumerate()
                            .map(|(place, value)| (format!("{name}/{place}"), Some(*value))),
                    ),
                    None => {}
                }
            }
            Value::Null => found.push((name, None)),
            other => {
                if let Some(number) = number(other) {
                    found.push((name, Some(number)));
                }
            }
        }
    }
}

/// The text with quotes around every bare NaN and Infinity.
fn quoted(text: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let bare = memchr::memmem::find(text, b"NaN").or(memchr::memmem::find(text, b"Infinity"));
    if bare.is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 64);
    let (mut at, mut in_string) = (0, false);
    while let Some(byte) = text.get(at) {
        let word = WORDS
            .iter()
            .find(|word| !in_string && text[at..].starts_with(word));
        match (word, byte) {
            (Some(word), _) => {
                out.push(b'"');
                out.extend_from_slice(word);
                out.push(b'"');
                at += word.len();
                continue;
            }
            (None, b'\\') if in_string => {
                out.push(b'\\');
                at += 1;
                out.extend(text.get(at));
            }
            (None, b'"') => {
                in_string = !in_string;
                out.push(b'"');
            }
            (None, other) => out.push(*other),
        }
        at += 1;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<(String, Option<f64>)> {
        numbers(parse(text.as_bytes()).unwrap().as_object().unwrap())
    }

    #[test]
    fn python_s_own_numbers_are_read() {
        let found = of(
            r#"{"a": NaN, "b": -Infinity, "c": Infinity, "d": 1.5, "e": "2e3", "f": null, "g": "x", "h": true}"#,
        );
        let value = |name: &str| {
            found
                .iter()
                .find(|(key, _)| key == name)
                .map(|found| found.1)
        };
        assert!(value("a").unwrap().unwrap().is_nan());
        assert_eq!(value("b"), Some(Some(f64::NEG_INFINITY)));
        assert_eq!(value("c"), Some(Some(f64::INFINITY)));
        assert_eq!(
            (value("d"), value("e")),
            (Some(Some(1.5)), Some(Some(2000.0)))
        );
        assert_eq!(
            (value("f"), value("g"), value("h")),
            (Some(None), None, Some(Some(1.0)))
        );
    }

    #[test]
    fn lists_of_a_few_numbers() {
        let found = of(r#"{"lr": [0.1, "0.2"], "loss": [NaN], "none": [], "mixed": [1, "x"]}"#);
        assert!(
            found[0].0 == "loss" && found[0].1.unwrap().is_nan(),
            "{found:?}"
        );
        assert_eq!(
            found[1..],
            [("lr/0".into(), Some(0.1)), ("lr/1".into(), Some(0.2))]
        );
    }

    #[test]
    fn words_in_strings_and_nested_objects() {
        let found =
            of(r#"{"NaN \" Infinity": 1, "train": {"loss": NaN, "deep": {"x": 2}}, "no": ["x"]}"#);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["NaN \" Infinity", "train/deep/x", "train/loss"]);
        assert!(parse(b"{\"a\": NaNa}").is_err());
        assert!(parse(b"{\"a\\").is_err() && parse(b"\"NaN\\").is_err());
    }
}
