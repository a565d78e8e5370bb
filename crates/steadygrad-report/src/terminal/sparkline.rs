//! One-line charts.

use steadygrad::diagnose::Chart;
use steadygrad::trace::StepUnit;

use super::text::{DIM, FRAME, NOTE, clean, field, paint};
use crate::{facts, number};

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Marks a value without a height: not finite or, on a log scale, not positive.
pub(super) const NO_HEIGHT: char = '×';
/// Longest chart; a longer series is thinned.
const LONGEST: usize = 76;

/// Draws sizes on a log scale, and names the scale.
pub(super) fn logarithmic(sizes: &[f64], unit: &str) -> String {
    let logs: Vec<f64> = sizes.iter().map(|size| size.log10()).collect();
    // The height spans at least a decade, or noise would look like a slope.
    chart(
        &logs,
        1.0,
        "log scale, first to last",
        "zero or not finite",
        unit,
    )
}

/// Draws values on a linear scale, and names the scale.
pub(super) fn linear(values: &[f64], unit: &str) -> String {
    chart(
        values,
        0.1,
        "linear scale, first to last",
        "not finite",
        unit,
    )
}

/// Draws a finding's chart in the frame of its text. `unit` is what its steps count.
pub(super) fn in_frame(chart: &Chart, unit: StepUnit) -> String {
    let (line, scale) = drawn(chart, unit);
    let bar = paint(FRAME, "|");
    let (line, scale) = (paint(NOTE, line), paint(DIM, scale));
    format!("   {bar}\n   {bar} {line}\n   {bar} {scale}\n   {bar}\n")
}

/// Draws a finding's chart without styles.
pub(crate) fn plain(chart: &Chart) -> String {
    let (line, scale) = drawn(chart, StepUnit::Step);
    format!("   |\n   | {line}\n   | {scale}\n   |\n")
}

/// Returns the line and its scale, which is logarithmic if a linear one would show only the largest
/// value.
fn drawn(chart: &Chart, unit: StepUnit) -> (String, String) {
    /// Above this ratio of largest to smallest value the scale is logarithmic.
    const WIDE: f64 = 20.0;
    let finite = || {
        chart
            .values
            .iter()
            .copied()
            .filter(|value| value.is_finite())
    };
    let low = finite().fold(f64::INFINITY, f64::min);
    let high = finite().fold(f64::NEG_INFINITY, f64::max);
    let log = low > 0.0 && high > WIDE * low;
    let heights: Vec<f64> = match log {
        true => chart.values.iter().map(|value| value.log10()).collect(),
        false => chart.values.clone(),
    };
    // The height spans at least a tenth of the largest value, or noise would fill it.
    let least = if log {
        1.0
    } else {
        (0.1 * high.abs()).max(f64::MIN_POSITIVE)
    };
    let line = blocks(&heights, least);
    let mut scale = vec![clean(&chart.column)];
    if let (Some(first), Some(last)) = (chart.steps.first(), chart.steps.last()) {
        scale.push(facts::range(*first, *last, unit));
    }
    if low <= high {
        scale.push(format!("{} to {}", number::short(low), number::short(high)));
    }
    if log {
        scale.push("log scale".into());
    }
    if line.contains(NO_HEIGHT) {
        scale.push(format!("{NO_HEIGHT} is not finite"));
    }
    (line, scale.join(", "))
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
    fn a_finding_s_chart_says_its_scale() {
        let of = |values: &[f64]| {
            let chart = Chart {
                column: "grad_norm".into(),
                steps: (5..5 + values.len() as u64).collect(),
                values: values.to_vec(),
            };
            in_frame(&chart, StepUnit::Step)
        };
        let text = of(&[1.0, 10.0, 100.0, f64::NAN]);
        assert!(text.contains("▁▅█×"), "{text}");
        assert!(text.contains("grad_norm, steps 5 to 8, 1 to 100, log scale, × is not finite"));
        let text = of(&[1.0, 1.5, 2.0]);
        assert!(text.contains("▁▅█") && !text.contains("log"), "{text}");
        assert!(of(&[f64::NAN]).contains('×') && of(&[]).contains("grad_norm"));
        assert!(of(&[0.0; 4]).contains("▁▁▁▁"));
    }

    #[test]
    fn values_without_a_height_are_marked_and_long_series_are_thinned() {
        let text = logarithmic(&[0.0, f64::NAN, f64::INFINITY, -1.0, 1.0], "layer");
        assert!(text.contains("××××▁") && text.contains("× is zero or not finite"));
        let text = linear(&[-1.0; 1000], "layer");
        assert!(text.contains("one in 14 layers") && !text.contains(NO_HEIGHT));
    }
}
