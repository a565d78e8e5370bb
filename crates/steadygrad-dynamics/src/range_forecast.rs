use serde::{Deserialize, Serialize};

use crate::float;

/// A floating-point format in which networks are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NumberFormat {
    /// IEEE half precision.
    F16,
    /// Brain float, with f32's range and 8 bits of precision.
    Bf16,
    /// IEEE single precision.
    F32,
}

impl NumberFormat {
    /// All formats, the one with the narrowest range first.
    pub const ALL: [NumberFormat; 3] = [NumberFormat::F16, NumberFormat::Bf16, NumberFormat::F32];

    /// The usual name of the format.
    pub fn name(self) -> &'static str {
        match self {
            NumberFormat::F16 => "f16",
            NumberFormat::Bf16 => "bf16",
            NumberFormat::F32 => "f32",
        }
    }

    /// The largest finite value.
    pub fn max(self) -> f64 {
        match self {
            NumberFormat::F16 => half::f16::MAX.to_f64(),
            NumberFormat::Bf16 => half::bf16::MAX.to_f64(),
            NumberFormat::F32 => f64::from(f32::MAX),
        }
    }

    /// The smallest positive normal value. Smaller values lose digits, and slow a CPU down.
    pub fn min_positive(self) -> f64 {
        match self {
            NumberFormat::F16 => half::f16::MIN_POSITIVE.to_f64(),
            NumberFormat::Bf16 => half::bf16::MIN_POSITIVE.to_f64(),
            NumberFormat::F32 => f64::from(f32::MIN_POSITIVE),
        }
    }
}

/// The depth, or sequence length, at which a signal leaves a number format.
///
/// ```
/// use steadygrad_dynamics::{NumberFormat, RangeForecast};
///
/// // f16 ends just below 2^16.
/// let doubling = RangeForecast::new(NumberFormat::F16, 1.0, 2f64.ln());
/// assert!((doubling.overflows_at.unwrap() - 16.0).abs() < 1e-3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RangeForecast {
    /// The format.
    pub format: NumberFormat,
    /// The number of steps until the signal exceeds the format's largest value; 0 when it already
    /// does. `None` when it does not and does not grow.
    #[serde(with = "float::option")]
    pub overflows_at: Option<f64>,
    /// The number of steps until the signal is below the smallest normal value; 0 when it already
    /// is. `None` when it is not and does not shrink.
    #[serde(with = "float::option")]
    pub underflows_at: Option<f64>,
}

impl RangeForecast {
    /// Forecasts a signal of this size that is multiplied by `e^log_growth` at each step:
    /// `(ln limit - ln size) / log_growth` steps.
    ///
    /// A size beyond a limit is beyond it for any growth, even NaN. Both fields are `None` for
    /// a size that is zero, negative or not finite.
    pub fn new(format: NumberFormat, size: f64, log_growth: f64) -> Self {
        let usable = size > 0.0 && size.is_finite();
        let steps = |beyond: bool, towards: bool, limit: f64| {
            if beyond {
                Some(0.0)
            } else {
                let moves = towards && log_growth.is_finite();
                moves.then(|| (limit.ln() - size.ln()) / log_growth)
            }
        };
        let (max, min) = (format.max(), format.min_positive());
        let overflows_at = steps(size > max, log_growth > 0.0, max);
        let underflows_at = steps(size < min, log_growth < 0.0, min);
        Self {
            format,
            overflows_at: overflows_at.filter(|_| usable),
            underflows_at: underflows_at.filter(|_| usable),
        }
    }

    /// Forecasts the signal in every format.
    pub fn all(size: f64, log_growth: f64) -> Vec<Self> {
        NumberFormat::ALL
            .into_iter()
            .map(|format| Self::new(format, size, log_growth))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        let doubling = |format| RangeForecast::new(format, 1.0, 2f64.ln());
        // f16 ends just below 2^16, the others just below 2^128.
        let f16 = doubling(NumberFormat::F16).overflows_at.unwrap();
        assert!((f16 - 16.0).abs() < 1e-3, "{f16}");
        for format in [NumberFormat::Bf16, NumberFormat::F32] {
            let found = doubling(format).overflows_at.unwrap();
            assert!((found - 128.0).abs() < 1e-2, "{found}");
            assert_eq!(doubling(format).underflows_at, None);
        }
        let halving = RangeForecast::new(NumberFormat::F32, 1.0, -(2f64.ln()));
        assert!((halving.underflows_at.unwrap() - 126.0).abs() < 1e-9);
        assert_eq!(halving.overflows_at, None);
        let f16 = RangeForecast::new(NumberFormat::F16, 1.0, -(2f64.ln()));
        assert!((f16.underflows_at.unwrap() - 14.0).abs() < 1e-9);
    }

    #[test]
    fn brute_force_in_f32() {
        let (mut value, growth) = (0.3f32, 1.7f32);
        let forecast = RangeForecast::new(NumberFormat::F32, 0.3, f64::from(growth).ln());
        let mut steps = 0;
        while value.is_finite() {
            value *= growth;
            steps += 1;
        }
        assert_eq!(forecast.overflows_at.unwrap().ceil(), f64::from(steps));
    }

    #[test]
    fn odd_rows() {
        for (size, growth) in [
            (0.0, 1.0),
            (-1.0, 1.0),
            (f64::NAN, 1.0),
            (f64::INFINITY, 1.0),
            (1.0, 0.0),
            (1.0, f64::NAN),
            (1.0, f64::INFINITY),
        ] {
            let found = RangeForecast::new(NumberFormat::F16, size, growth);
            assert_eq!((found.overflows_at, found.underflows_at), (None, None));
        }
    }

    #[test]
    fn a_size_beyond_a_limit_is_beyond_it_whatever_the_growth() {
        for growth in [-0.1, 0.0, 0.1, f64::NAN, f64::INFINITY] {
            let above = RangeForecast::new(NumberFormat::F16, 1e6, growth);
            assert_eq!(above.overflows_at, Some(0.0), "{growth}");
            let below = RangeForecast::new(NumberFormat::F16, 1e-6, growth);
            assert_eq!(below.underflows_at, Some(0.0), "{growth}");
        }
        // A signal that returns into the range can leave it on the other side.
        let falling = RangeForecast::new(NumberFormat::F16, 1e6, -0.1);
        let expected = (1e6f64 / NumberFormat::F16.min_positive()).ln() / 0.1;
        assert!((falling.underflows_at.unwrap() - expected).abs() < 1e-9);
        let rising = RangeForecast::new(NumberFormat::F16, 1e-6, 0.1);
        let expected = (NumberFormat::F16.max() / 1e-6).ln() / 0.1;
        assert!((rising.overflows_at.unwrap() - expected).abs() < 1e-9);
        // The limits themselves belong to the format.
        let last = RangeForecast::new(NumberFormat::F16, NumberFormat::F16.max(), -0.1);
        assert_eq!(last.overflows_at, None);
        let least = NumberFormat::F16.min_positive();
        let first = RangeForecast::new(NumberFormat::F16, least, 0.1);
        assert_eq!(first.underflows_at, None);
    }
}
