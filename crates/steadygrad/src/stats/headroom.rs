use super::element::Element;
use super::values::with_slice;
use super::{SecondMoment, Values};

/// The factor by which an update could grow within the bounds of its weights:
/// `min_i (relative |w_i| + accumulator / sqrt(v_i) + absolute) / |update_i|`.
///
/// Infinite when the update is all zero or empty. NaN when the update holds a NaN or infinite
/// value, or a weight or moment is NaN. Without a second moment the middle term is left out.
pub(crate) fn headroom(
    update: Values<'_>,
    weight: Values<'_>,
    moment: Option<SecondMoment<'_>>,
    (relative, accumulator, absolute): (f64, f64, f64),
) -> f64 {
    with_slice!(Values, update, update => with_slice!(Values, weight, weight => {
        let allowed = weight.iter().map(|weight| relative * weight.value().abs() + absolute);
        let updates = update.iter().map(|update| update.value().abs());
        match moment.filter(|_| accumulator != 0.0) {
            None => least(updates, allowed),
            Some(SecondMoment { values, factor }) => with_slice!(Values, values, values => {
                let roots = values.iter().map(|v| accumulator / (v.value() * factor).sqrt());
                least(updates, allowed.zip(roots).map(|(allowed, root)| allowed + root))
            }),
        }
    }))
}

fn least(updates: impl Iterator<Item = f64>, allowed: impl Iterator<Item = f64>) -> f64 {
    updates
        .zip(allowed)
        .fold(f64::INFINITY, |least, (update, allowed)| {
            if !update.is_finite() || allowed.is_nan() || least.is_nan() {
                f64::NAN
            } else if update == 0.0 {
                least
            } else {
                least.min(allowed / update)
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_weight_decides() {
        let room = |update: &[f32], weight: &[f32]| {
            headroom(update.into(), weight.into(), None, (0.5, 0.0, 0.25))
        };
        assert_eq!(room(&[1.0, -1.0], &[-1.0, 4.0]), 0.75);
        assert_eq!(room(&[0.0, 2.0], &[0.0, 0.0]), 0.125);
        assert_eq!(room(&[0.0], &[1.0]), f64::INFINITY);
        assert_eq!(room(&[], &[]), f64::INFINITY);
        assert!(room(&[1.0, 1.0], &[f32::NAN, 1.0]).is_nan());
        assert!(room(&[f32::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert!(room(&[1.0, f32::INFINITY, 1.0], &[1.0; 3]).is_nan());
    }

    #[test]
    fn the_accumulator_adds_room() {
        let moment = SecondMoment {
            factor: 4.0,
            ..SecondMoment::new(&[1.0f32])
        };
        let room = |accumulator| {
            let terms = (0.5, accumulator, 0.25);
            headroom((&[1.0f32]).into(), (&[1.0f32]).into(), Some(moment), terms)
        };
        assert_eq!(room(0.0), 0.75);
        assert_eq!(room(1.0), 1.25);
    }
}
