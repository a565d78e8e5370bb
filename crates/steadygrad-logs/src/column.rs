//! One column of a log, filled row by row, and the numbers in its cells.

/// One column: a value for every row, and the rows without one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Column {
    /// NaN for a row without a value.
    pub(crate) values: Vec<f64>,
    /// Rows without a value, in order.
    pub(crate) missing: Vec<u64>,
}

impl Column {
    /// Adds the next row.
    pub(crate) fn push(&mut self, value: Option<f64>) {
        if value.is_none() {
            self.missing.push(self.values.len() as u64);
        }
        self.values.push(value.unwrap_or(f64::NAN));
    }

    /// Adds rows without a value until there are `rows` rows.
    pub(crate) fn fill(&mut self, rows: usize) {
        while self.values.len() < rows {
            self.push(None);
        }
    }

    /// Adds another's rows.
    pub(crate) fn append(&mut self, other: Column) {
        let before = self.values.len() as u64;
        self.missing
            .extend(other.missing.iter().map(|row| row + before));
        self.values.extend(other.values);
    }
}

/// A number as logs write it: `Ok(None)` for an empty cell, `Err` for text.
///
/// Of a position such as `5/547` it is the first number, of `tensor(2.5, device='cuda:0')` the
/// tensor's.
pub(crate) fn number(text: &[u8]) -> Result<Option<f64>, ()> {
    let text = text.trim_ascii();
    match text {
        b"" | b"null" | b"None" | b"none" | b"N/A" | b"NA" | b"-" => return Ok(None),
        _ => {}
    }
    let text = std::str::from_utf8(text).map_err(|_| ())?;
    // Rust reads `nan`, `inf` and `infinity` in any case and with a sign.
    if let Ok(value) = text.parse() {
        return Ok(Some(value));
    }
    wrapped(text).map(Some).ok_or(())
}

/// A number with something around it.
fn wrapped(text: &str) -> Option<f64> {
    if let Some(inner) = text.strip_prefix("tensor(") {
        return inner.split([',', ')']).next()?.trim().parse().ok();
    }
    if let Some(percent) = text.strip_suffix('%') {
        return percent.trim().parse().ok();
    }
    let (place, of) = text.split_once('/')?;
    let whole = |text: &str| text.trim().parse::<u64>().ok();
    whole(of)?;
    Some(whole(place)? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_logs_write_them() {
        for (text, expected) in [
            ("1", 1.0),
            (" -2.5e-3 ", -2.5e-3),
            ("1e400", f64::INFINITY),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("12.382", 12.382),
            ("5/547", 5.0),
            ("3/ 10", 3.0),
            ("0.18%", 0.18),
            ("tensor(1.5)", 1.5),
            ("tensor(2.5, device='cuda:0')", 2.5),
        ] {
            assert_eq!(number(text.as_bytes()), Ok(Some(expected)), "{text}");
        }
        for text in ["nan", "NaN", "-nan", "NAN", "tensor(nan)"] {
            assert!(number(text.as_bytes()).unwrap().unwrap().is_nan(), "{text}");
        }
        for text in ["", "  ", "null", "None", "N/A"] {
            assert_eq!(number(text.as_bytes()), Ok(None), "{text}");
        }
        for text in [
            "abc", "1,5", "\u{e9}", "1/x", "0:01:07", "a/b", "/", "%", "tensor(",
        ] {
            assert_eq!(number(text.as_bytes()), Err(()), "{text}");
        }
    }
}
