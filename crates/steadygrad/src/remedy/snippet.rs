use super::parameter::{Parameter, Value};

/// The language of a snippet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Rust,
    Python,
}

impl Language {
    /// The line that defines a constant, up to its value.
    fn definition(self, constant: &str, value: Value) -> String {
        match (self, value) {
            (Language::Rust, Value::Number(_)) => format!("const {constant}: f64 = "),
            (Language::Rust, Value::Count(_)) => format!("const {constant}: usize = "),
            (Language::Python, _) => format!("{constant} = "),
        }
    }

    fn literal(self, value: Value) -> String {
        match value {
            // Clippy denies a literal that comes close to a known constant.
            Value::Number(number)
                if self == Language::Rust && number == std::f64::consts::SQRT_2 =>
            {
                "std::f64::consts::SQRT_2".into()
            }
            Value::Number(number) => literal(number),
            Value::Count(count) => count.to_string(),
        }
    }

    /// The end of the line, after the value.
    fn end(self) -> &'static str {
        match self {
            Language::Rust => ";",
            Language::Python => "",
        }
    }
}

/// The snippet with these values in its constants instead of those that it is tested with.
pub(super) fn fill(
    snippet: &str,
    language: Language,
    parameters: &[Parameter],
    values: &[Value],
) -> String {
    let filled = |line: &str| {
        for (parameter, value) in parameters.iter().zip(values) {
            let definition = language.definition(parameter.constant, *value);
            if line.starts_with(&definition) {
                return definition + &language.literal(*value) + language.end() + "\n";
            }
        }
        line.to_owned() + "\n"
    };
    snippet.lines().map(filled).collect()
}

/// The shortest decimal number that Rust and Python both read back as `value`, to the last bit. A
/// number that is not finite becomes its name, which is a constant in neither language.
pub(super) fn literal(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let reads_back = |text: &str| text.parse() == Ok(value);
    let scientific = (0..17)
        .map(|digits| format!("{value:.digits$e}"))
        .find(|text| reads_back(text))
        .unwrap_or_else(|| format!("{value:e}"));
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    match exponent.parse() {
        Ok(0) => format!("{mantissa}{point}"),
        // Plain up to as many digits as a person reads without counting them.
        Ok(-4..=6) => {
            let plain = scientific.parse().unwrap_or(value);
            format!("{plain:?}")
        }
        _ => format!("{mantissa}{point}e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_are_as_short_as_they_can_be() {
        for (value, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (1.0 / 3.0, "0.3333333333333333"),
            (std::f64::consts::SQRT_2, "1.4142135623730951"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123_456.7, "123456.7"),
            (1e6, "1000000.0"),
            (1e7, "1.0e7"),
            (1.25e-5, "1.25e-5"),
            (0.0012, "0.0012"),
            (f64::MAX, "1.7976931348623157e308"),
            (5e-324, "5.0e-324"),
        ] {
            assert_eq!(literal(value), text);
        }
    }

    #[test]
    fn a_parameter_that_is_not_finite_is_not_a_number_in_the_code() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(literal(value).parse::<u8>().is_err());
            assert!(!literal(value).contains(|c: char| c.is_ascii_digit()));
        }
    }

    proptest! {
        #[test]
        fn literals_read_back(value in any::<f64>().prop_filter("finite", |x| x.is_finite())) {
            let text = literal(value);
            prop_assert!(text.contains('.'), "{text}");
            let read: f64 = text.parse().unwrap();
            prop_assert_eq!(read, value, "as {}", text);
        }
    }
}
