use super::History;
use crate::trace::{Role, Series};

impl<'a> History<'a> {
    /// Returns the parameter with the largest share of the squared norm at a step, and that share.
    /// `None` without norms of parameters, or if all are zero.
    pub fn largest_share(&self, step: u64) -> Option<(&'a str, f64)> {
        let norms = self.parameters_at(step);
        let largest = norms.iter().map(|norm| norm.1).fold(0.0, f64::max);
        // Relative to the largest norm, or the squares would overflow.
        let square = |norm: f64| (norm / largest).powi(2);
        let all: f64 = norms.iter().map(|norm| square(norm.1)).sum();
        let (name, norm) = norms.into_iter().max_by(|a, b| a.1.total_cmp(&b.1))?;
        (largest > 0.0).then(|| (name, square(norm) / all))
    }

    /// Returns each parameter's last finite norm at or before this step. Empty if one has none.
    pub fn parameters_at(&self, step: u64) -> Vec<(&'a str, f64)> {
        let parameters: Vec<(&str, &Series)> = self.trace().parameters().collect();
        let at = |series: &Series| {
            let steps = series.steps();
            (0..steps.len())
                .rev()
                .find(|index| steps[*index] <= step && series.values()[*index].is_finite())
                .map(|index| series.values()[index])
        };
        let values = parameters
            .iter()
            .map(|(name, series)| Some((*name, at(series)?)));
        values.collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    /// Returns the first parameter, in the order of the log, if in this row its gradient alone is
    /// NaN and the loss is finite. `None` in a log with a loss scale, whose overflows look the
    /// same.
    ///
    /// The first layer multiplies the batch with the gradient that comes back. If an input is
    /// infinite and a saturating activation hides its size from the loss, that product is
    /// `0 * inf`, there and nowhere else. An embedding reads integers, which are never infinite.
    pub fn broken_at_the_input(&self, row: usize) -> Option<&'a str> {
        const EMBEDDINGS: [&str; 3] = ["emb", "wte", "wpe"];
        let row = self.rows().get(row)?;
        let hidden = row.loss.is_some_and(f64::is_finite) && row.grad_norm.is_some_and(f64::is_nan);
        if !hidden || self.trace().series(&Role::LossScale).is_some() {
            return None;
        }
        let mut norms = self.trace().parameters().map(|(name, series)| {
            let at = series.steps().iter().rposition(|at| *at == row.step)?;
            Some((name, series.values()[at]))
        });
        let (name, first) = norms.next()??;
        if !first.is_nan() || EMBEDDINGS.iter().any(|known| name.contains(known)) {
            return None;
        }
        let mut others = norms.peekable();
        others.peek()?;
        let finite = |other: Option<(&str, f64)>| other.is_some_and(|(_, norm)| norm.is_finite());
        others.all(finite).then_some(name)
    }
}
