//! Charts of one line.

use super::text::{NOTE, field, paint};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A value that has no height: not finite or, on a log scale, zero.
pub(super) const NO_HEIGHT: char = '×';
/// Longest chart; a longer series is thinned.
const LONGEST: usize = 76;

/// Sizes on a log scale, and what the scale is.
pub(super) fn logarithmic(sizes: &[f64], unit: &str) -> String {
    let logs: Vec<f64> = sizes.iter().map(|size| size.log10()).collect();
    // At least a decade, or measurement noise would look like a slope.
    chart(
        &logs,
        1.0,
        "log scale, first to last",
        "zero or not finite",
        unit,
    )
}

/// Values on a linear scale, and what the scale is.
pub(super) fn linear(values: &[f64], unit: &str) -> String {
    chart(
        values,
        0.1,
        "linear scale, first to last",
        "not finite",
        unit,
    )
}

fn chart(heights: &[f64], least_span: f64, scale: &str, odd: &str, unit: &str) -> String {
    let stride = heights.len().div_ceil(LONGEST).max(1);
    let shown: Vec<f64> = heights.iter().copied().step_by(stride).collect();
    let chart = blocks(&shown, least_span);
    let mut scale = scale.to_owned();
    if stride > 1 {
        scale.push_str(&format!(", one in {stride} {unit}s"));
    }
    if chart.contains(NO_HEIGHT) {
        scale.push_str(&format!(", {NO_HEIGHT} is {odd}"));
    }
    format!("  {}\n{}", paint(NOTE, chart), field("scale", &scale))
}

fn blocks(heights: &[f64], least_span: f64) -> String {
    let finite = || heights.iter().copied().filter(|height| height.is_finite());
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let span = (high - low).max(least_span);
    let top = (BLOCKS.len() - 1) as f64;
    heights
        .iter()
        .map(|height| {
            if height.is_finite() {
                BLOCKS[((height - low) / span * top).round().clamp(0.0, top) as usize]
            } else {
                NO_HEIGHT
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_scale() {
        let ramp: Vec<f64> = (0..8).map(f64::from).collect();
        assert_eq!(blocks(&ramp, 1.0), "▁▂▃▄▅▆▇█");
        assert_eq!(blocks(&[1.0, 1.1], 1.0), "▁▂");
        assert_eq!(blocks(&[1.0, 1.1], 0.1), "▁█");
        assert_eq!(blocks(&[], 1.0), "");
    }

    #[test]
    fn what_has_no_height_is_marked_and_long_series_are_thinned() {
        let text = logarithmic(&[0.0, f64::NAN, f64::INFINITY, -1.0, 1.0], "layer");
        assert!(text.contains("××××▁") && text.contains("× is zero or not finite"));
        let text = linear(&[-1.0; 1000], "layer");
        assert!(text.contains("one in 14 layers") && !text.contains(NO_HEIGHT));
    }
}
