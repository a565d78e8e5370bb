//! The growth profile as a chart of one line.

use steadygrad::dynamics::{Axis, GrowthProfile};

use super::text::{NOTE, field, heading, paint};
use crate::number;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// A value that is zero or not finite has no height on a log scale.
const NO_HEIGHT: char = '×';
/// Longest chart; a longer profile is thinned.
const LONGEST: usize = 76;

pub(super) fn section(profile: &GrowthProfile) -> String {
    let (Some(first), Some(last)) = (profile.points.first(), profile.points.last()) else {
        return String::new();
    };
    let unit = profile.axis.unit();
    let norms: Vec<f64> = profile
        .points
        .iter()
        .map(|point| point.gradient_norm)
        .collect();
    let stride = norms.len().div_ceil(LONGEST);
    let shown: Vec<f64> = norms.iter().copied().step_by(stride).collect();
    let chart = sparkline(&shown);
    let mut scale = String::from("log scale, first to last");
    if stride > 1 {
        scale.push_str(&format!(", one in {stride} {unit}s"));
    }
    if chart.contains(NO_HEIGHT) {
        scale.push_str(&format!(", {NO_HEIGHT} is zero or not finite"));
    }
    let through = match profile.axis {
        Axis::Depth => "depth",
        Axis::Time => "time",
    };
    let rate = match profile.backward_growth_rate() {
        Some(rate) => format!("{} per {unit}, backwards", number::times(rate)),
        None => "none: an end is zero or not finite".into(),
    };
    [
        heading(&format!("Gradient norm through {through}")),
        format!("  {}\n", paint(NOTE, chart)),
        field("scale", &scale),
        field(&first.name, &number::short(first.gradient_norm)),
        field(&last.name, &number::short(last.gradient_norm)),
        field("mean factor", &rate),
    ]
    .concat()
}

fn sparkline(values: &[f64]) -> String {
    let log = |value: f64| value.is_finite().then(|| value.log10());
    let heights = values.iter().copied().filter_map(log);
    let finite: Vec<f64> = heights.filter(|height| height.is_finite()).collect();
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // At least a decade, or measurement noise would look like a slope.
    let span = (high - low).max(1.0);
    let block = |value: f64| match log(value) {
        Some(height) if height.is_finite() => {
            let top = (BLOCKS.len() - 1) as f64;
            BLOCKS[((height - low) / span * top).round().clamp(0.0, top) as usize]
        }
        _ => NO_HEIGHT,
    };
    values.iter().copied().map(block).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_follow_the_logarithm() {
        let decades: Vec<f64> = (0..8).map(|e| 10f64.powi(e)).collect();
        assert_eq!(sparkline(&decades), "▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&[1.0, 1.1]), "▁▁");
        assert_eq!(
            sparkline(&[0.0, f64::NAN, f64::INFINITY, -1.0, 1.0]),
            "××××▁"
        );
        assert_eq!(sparkline(&[]), "");
    }
}
