use super::Values;
use super::element::Element;
use super::values::with_slice;

/// An optimizer's running mean of the squared gradient: `v = factor * values`. The factor corrects
/// the bias of a mean that started from zero (`1 / (1 - beta2^t)` for Adam), or is 1.
#[derive(Debug, Clone, Copy)]
pub struct SecondMoment<'a> {
    /// One value for each gradient value.
    pub values: Values<'a>,
    /// The factor of the values.
    pub factor: f64,
}

impl<'a> SecondMoment<'a> {
    /// Takes the values without a correction.
    pub fn new(values: impl Into<Values<'a>>) -> Self {
        Self {
            values: values.into(),
            factor: 1.0,
        }
    }
}

/// The number of gradient values with `g^2 > ratio v`; 0 when empty. An infinite gradient counts. A
/// NaN does not, and neither does a value whose v is zero and so has no history.
pub(crate) fn beyond_second_moment(
    gradient: Values<'_>,
    moment: SecondMoment<'_>,
    ratio: f64,
) -> u64 {
    let ratio = ratio * moment.factor;
    with_slice!(Values, gradient, gradient => with_slice!(Values, moment.values, moment => {
        pairs(gradient, moment).filter(|&(g, v)| is_beyond(g, v, ratio)).count() as u64
    }))
}

/// Whether a gradient value lies beyond what its second moment allows.
pub(crate) fn is_beyond(gradient: f64, moment: f64, ratio: f64) -> bool {
    moment > 0.0 && gradient.abs() > (ratio * moment).sqrt()
}

/// `sqrt(mean(g^2 / max(v, eps^2)))`: about 1 when the second moment is up to date. 0 when empty;
/// NaN or infinite when a value is.
pub(crate) fn update_rms(gradient: Values<'_>, moment: SecondMoment<'_>, eps: f64) -> f64 {
    let (count, factor) = (gradient.len(), moment.factor);
    if count == 0 {
        return 0.0;
    }
    with_slice!(Values, gradient, gradient => with_slice!(Values, moment.values, moment => {
        // The root first: g^2 and v may both be below f64's range where their ratio is not.
        let ratio = |(g, v): (f64, f64)| (g / (v * factor).sqrt().max(eps)).powi(2);
        (pairs(gradient, moment).map(ratio).sum::<f64>() / count as f64).sqrt()
    }))
}

fn pairs<A: Element, B: Element>(a: &[A], b: &[B]) -> impl Iterator<Item = (f64, f64)> {
    a.iter().zip(b).map(|(a, b)| (a.value(), b.value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_their_second_moment_are_counted() {
        let v = [4.0f32, 4.0, 0.0, 4.0, 4.0, 4.0];
        let g = [6.0f32, -6.5, 9.0, f32::NAN, f32::INFINITY, 0.0];
        let count = |ratio| beyond_second_moment((&g).into(), SecondMoment::new(&v), ratio);
        assert_eq!(count(9.0), 2);
        assert_eq!(count(8.9), 3);
        let doubled = SecondMoment {
            factor: 2.0,
            ..SecondMoment::new(&v)
        };
        assert_eq!(beyond_second_moment((&g).into(), doubled, 4.5), 2);
    }

    #[test]
    fn the_update_rms_is_one_for_an_up_to_date_moment() {
        let g = [1e-3f64, -2.0, 1e20, 1e-200];
        let v = g.map(|g| g * g);
        let rms = |eps| update_rms((&g).into(), SecondMoment::new(&v), eps);
        // The square of the last value is zero in f64, so the floor counts.
        assert!((rms(1e-8) - (3f64 / 4.0).sqrt()).abs() < 1e-12);
        assert!((rms(1e-200) - 1.0).abs() < 1e-12);
        let quarter = SecondMoment {
            factor: 0.25,
            ..SecondMoment::new(&v[..2])
        };
        assert!((update_rms(g[..2].into(), quarter, 1e-8) - 2.0).abs() < 1e-12);
        let empty: [f32; 0] = [];
        assert_eq!(
            update_rms((&empty).into(), SecondMoment::new(&empty), 1e-8),
            0.0
        );
        assert!(update_rms((&[f32::NAN]).into(), SecondMoment::new(&[1.0f32]), 1e-8).is_nan());
    }
}
