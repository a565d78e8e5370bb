//! How numbers look in every document.

/// Three significant digits: `0.953`, `12.4`, `3.1e7`, `NaN`, `∞`. Whole numbers below a million
/// stay whole.
pub(crate) fn short(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "∞" } else { "-∞" }.into()
    } else if value.fract() == 0.0 && size < 1e6 {
        // Adding zero turns -0 into 0.
        format!("{:.0}", value + 0.0)
    } else if (1e-3..1e4).contains(&size) {
        let decimals = (2 - size.log10().floor() as i32).max(0) as usize;
        without_trailing_zeros(&format!("{value:.decimals$}")).into()
    } else {
        let text = format!("{value:.2e}");
        match text.split_once('e') {
            Some((mantissa, exponent)) => {
                format!("{}e{exponent}", without_trailing_zeros(mantissa))
            }
            None => text,
        }
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

/// A validation metric: three decimals, so that a column of them lines up.
pub(crate) fn metric(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e4).contains(&size) {
        format!("{:.3}", value + 0.0)
    } else {
        short(value)
    }
}

/// A logarithm of a factor; a rounding error around 0 is shown as 0.
pub(crate) fn near_zero(log: f64) -> String {
    short(if log.abs() < 1e-9 { 0.0 } else { log })
}

/// A value and its error, both to the error's second digit: `0.7521 ± 0.0043`.
pub(crate) fn with_error(value: f64, error: Option<f64>) -> String {
    let Some(error) = error else {
        return format!("{} (error not known)", short(value));
    };
    let digit = error.log10().floor() - 1.0;
    let plain = (1e-4..1e4).contains(&value.abs()) && (-9.0..0.0).contains(&digit);
    if plain {
        let decimals = -digit as usize;
        return format!("{value:.decimals$} ± {error:.decimals$}");
    }
    format!("{} ± {}", short(value), short(error))
}

/// `e^ln`, even beyond the range of f64: `12.4`, `3.1e434`.
pub(crate) fn exponential(ln: f64) -> String {
    let log = ln / std::f64::consts::LN_10;
    if !log.is_finite() || log.abs() < 300.0 {
        return short(ln.exp());
    }
    // A mantissa that three digits would round to 10 belongs to the next power.
    let power = (log + (10.0 / 9.995_f64).log10()).floor();
    format!("{}e{power:.0}", short(10f64.powf(log - power)))
}

/// A share in `0..=1` as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", short(100.0 * share))
}

/// The probability from a model, which is never certain.
pub(crate) fn probability(value: f64) -> String {
    match value {
        value if value < 0.01 => "under 1%".into(),
        value if value > 0.99 => "over 99%".into(),
        value => format!("{:.0}%", 100.0 * value),
    }
}

/// A multiple: `x4`.
pub(crate) fn times(factor: f64) -> String {
    format!("x{}", short(factor))
}

/// A factor that is applied many times. Near 1 it has more digits: 1.004 a step is a factor of 50
/// over a thousand steps.
pub(crate) fn growth(factor: f64) -> String {
    if (factor - 1.0).abs() >= 0.1 || factor.is_nan() {
        return times(factor);
    }
    format!("x{}", without_trailing_zeros(&format!("{factor:.4}")))
}

/// Wall-clock time: `421 ms`, `12.3 s`, `2 min 05 s`, `1 h 02 min`.
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return format!("{} s", short(seconds));
    }
    if seconds < 0.95 {
        return format!("{:.0} ms", 1e3 * seconds);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    if hours > 0 {
        format!("{hours} h {minutes:02} min")
    } else {
        format!("{minutes} min {:02} s", whole % 60)
    }
}

/// `1 step`, `2 steps`.
pub(crate) fn count(number: u64, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (0.9531, "0.953"),
            (0.95, "0.95"),
            (12.44, "12.4"),
            (123.4, "123"),
            (1797.0, "1797"),
            (-3.25, "-3.25"),
            (0.00012, "1.2e-4"),
            (3.1e7, "3.1e7"),
            (3.141e7, "3.14e7"),
            (f64::MAX, "1.8e308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "∞"),
            (f64::NEG_INFINITY, "-∞"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn metrics_line_up() {
        for (value, text) in [
            (0.95, "0.950"),
            (1.0, "1.000"),
            (0.0, "0.000"),
            (-0.0004, "-4e-4"),
            (-1e9, "-1e9"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(metric(value), text);
        }
    }

    #[test]
    fn errors_set_the_digits() {
        for (value, error, text) in [
            (0.75213, Some(0.00431), "0.7521 ± 0.0043"),
            (-1.2, Some(0.5), "-1.20 ± 0.50"),
            (4.71e9, Some(6.2e7), "4.71e9 ± 6.2e7"),
            (2.0, Some(0.0), "2 ± 0"),
            (0.5, None, "0.5 (error not known)"),
            (f64::NAN, Some(f64::NAN), "NaN ± NaN"),
            (f64::NEG_INFINITY, None, "-∞ (error not known)"),
        ] {
            assert_eq!(with_error(value, error), text);
        }
    }

    #[test]
    fn exponentials_beyond_f64() {
        for (ln, text) in [
            (0.0, "1"),
            (2f64.ln(), "2"),
            (1000.0 * 10f64.ln(), "1e1000"),
            (-1000.5 * 10f64.ln(), "3.16e-1001"),
            (f64::INFINITY, "∞"),
            (f64::NEG_INFINITY, "0"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(exponential(ln), text);
        }
    }

    #[test]
    fn shares_multiples_times_and_counts() {
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.123456), "12.3%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(f64::NAN), "NaN%");
        assert_eq!(probability(0.0), "under 1%");
        assert_eq!(probability(0.994), "over 99%");
        assert_eq!(probability(0.126), "13%");
        assert_eq!(times(4.0), "x4");
        assert_eq!(
            (near_zero(1.1e-16), near_zero(0.75)),
            ("0".into(), "0.75".into())
        );
        assert_eq!(growth(2.13), "x2.13");
        assert_eq!(growth(1.00432), "x1.0043");
        assert_eq!(growth(0.99999), "x1");
        assert_eq!(growth(f64::NAN), "xNaN");
        assert_eq!(duration(0.4213), "421 ms");
        assert_eq!(duration(59.99), "1 min 00 s");
        assert_eq!(duration(125.0), "2 min 05 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
        assert_eq!(duration(f64::INFINITY), "∞ s");
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(0, "step"), "0 steps");
    }
}
