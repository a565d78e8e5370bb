//! The points of a curve, from a trace.

/// Longest curve; a longer trace is thinned.
const LONGEST: usize = 500;

/// A curve, and how many steps each of its points stands for.
pub(super) struct Curve {
    pub(super) steps: Vec<f64>,
    /// `None` is a gap: on a log axis only positive finite values have a place.
    pub(super) values: Vec<Option<f64>>,
    pub(super) stride: usize,
}

impl Curve {
    /// Each point is the median of its steps, so that spikes of single steps do not hide other
    /// curves. A point with a step that is not finite is a gap.
    pub(super) fn medians(trace: &[f64]) -> Self {
        Self::new(trace, |values| {
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        })
    }

    /// Each point is the largest of its steps, so that no spike is hidden. A point with a step that
    /// is not finite is a gap.
    pub(super) fn maxima(trace: &[f64]) -> Self {
        Self::new(trace, |values| {
            values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
        })
    }

    fn new(trace: &[f64], pick: fn(&mut [f64]) -> f64) -> Self {
        let stride = trace.len().div_ceil(LONGEST).max(1);
        let (mut steps, mut values) = (Vec::new(), Vec::new());
        for (index, chunk) in trace.chunks(stride).enumerate() {
            let mut chunk = chunk.to_vec();
            let finite = chunk.iter().all(|value| value.is_finite());
            steps.push((index * stride) as f64);
            values.push(finite.then(|| pick(&mut chunk)).and_then(on_log_axis));
        }
        Self {
            steps,
            values,
            stride,
        }
    }

    /// Number of points without a place on a log axis.
    pub(super) fn gaps(&self) -> usize {
        self.values.iter().filter(|value| value.is_none()).count()
    }

    /// The largest point.
    pub(super) fn max(&self) -> Option<f64> {
        self.values.iter().copied().flatten().reduce(f64::max)
    }

    /// The smallest point.
    pub(super) fn min(&self) -> Option<f64> {
        self.values.iter().copied().flatten().reduce(f64::min)
    }
}

/// Returns the value if it has a place on a log axis.
pub(super) fn on_log_axis(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_traces_keep_every_step_and_long_ones_are_thinned() {
        let short = Curve::maxima(&[1.0, f64::NAN, 0.0, 4.0]);
        assert_eq!(short.values, [Some(1.0), None, None, Some(4.0)]);
        assert_eq!((short.stride, short.gaps()), (1, 2));
        assert_eq!((short.min(), short.max()), (Some(1.0), Some(4.0)));

        let trace: Vec<f64> = (1..=1001).map(f64::from).collect();
        let (medians, maxima) = (Curve::medians(&trace), Curve::maxima(&trace));
        assert!(medians.values.len() <= LONGEST);
        assert_eq!(medians.stride, 3);
        assert_eq!(
            (medians.values[0], maxima.values[0]),
            (Some(2.0), Some(3.0))
        );
        assert_eq!(medians.steps[1], 3.0);

        let empty = Curve::medians(&[]);
        assert!(empty.values.is_empty() && empty.max().is_none());
    }
}
