//! How numbers look, the same in every document.

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

/// A share in `0..=1` as a percentage.
pub(crate) fn percent(share: f64) -> String {
    format!("{}%", short(100.0 * share))
}

/// A multiple: `x4`.
pub(crate) fn times(factor: f64) -> String {
    format!("x{}", short(factor))
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
    fn shares_multiples_times_and_counts() {
        assert_eq!(percent(0.0), "0%");
        assert_eq!(percent(0.123456), "12.3%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(f64::NAN), "NaN%");
        assert_eq!(times(4.0), "x4");
        assert_eq!(duration(0.4213), "421 ms");
        assert_eq!(duration(59.99), "1 min 00 s");
        assert_eq!(duration(125.0), "2 min 05 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
        assert_eq!(duration(f64::INFINITY), "∞ s");
        assert_eq!(count(1, "step"), "1 step");
        assert_eq!(count(0, "step"), "0 steps");
    }
}
