//! What to change, ready to paste: as a study, for Burn and for PyTorch.

mod burn;
mod pytorch;

use serde::{Deserialize, Serialize};

use crate::remedy::Remedy;

/// The winner, ready to use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prescription {
    /// Name of the winning trial.
    pub trial: String,
    /// The change in one line.
    pub summary: String,
    /// The study's lines that change, as a unified diff. `None` without a study.
    pub study_diff: Option<String>,
    /// Rust code for a model written with Burn. Empty where the trials were PyTorch's.
    pub burn: String,
    /// Python code for a model written with PyTorch.
    pub pytorch: String,
}

impl Prescription {
    /// Writes the prescription of one remedy. Its code holds the parameters to within 1e-6; for a
    /// parameter that is not finite (which [`derive`](super::derive::derive) never gives) it is
    /// code that does not run.
    pub fn new(trial: String, remedy: &Remedy, study_diff: Option<String>) -> Self {
        Self {
            trial,
            summary: remedy.to_string(),
            study_diff,
            burn: burn::snippet(remedy),
            pytorch: pytorch::snippet(remedy),
        }
    }
}

impl Prescription {
    /// As the trials of a PyTorch model give it: with what they changed in the model, in a few lines.
    #[must_use]
    pub fn for_pytorch(self, changes: &str) -> Self {
        let comment: String = changes.lines().map(|line| format!("# {line}\n")).collect();
        Self {
            burn: String::new(),
            pytorch: comment + &self.pytorch,
            ..self
        }
    }
}

/// The shortest decimal number within 1e-6 of `value` that Rust and Python both read as a float.
fn literal(value: f64) -> String {
    if !value.is_finite() {
        return value.to_string();
    }
    let near = |text: &str| {
        let read: f64 = text.parse().unwrap_or(f64::NAN);
        read == value
    };
    let scientific = (0..17)
        .map(|digits| format!("{value:.digits$e}"))
        .find(|text| near(text))
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

    #[test]
    fn for_pytorch_alone() {
        let remedy = Remedy::ClipGlobalNorm { max_norm: 1.0 };
        let both = Prescription::new("clip".into(), &remedy, None);
        let alone = both.clone().for_pytorch("one\ntwo");
        assert_eq!(alone.burn, "");
        assert_eq!(alone.pytorch, format!("# one\n# two\n{}", both.pytorch));
        assert_eq!(both.clone().for_pytorch("").pytorch, both.pytorch);
    }

    proptest! {
        #[test]
        fn literals_read_back(value in any::<f64>().prop_filter("finite", |value| value.is_finite())) {
            let text = literal(value);
            prop_assert!(text.contains('.'), "{text}");
            let read: f64 = text.parse().unwrap();
            prop_assert_eq!(read, value, "as {}", text);
        }
    }
}
