use half::{bf16, f16};

use crate::stats::{Element, SecondMoment, Units, Values, ValuesMut, is_beyond, with_slice};
use crate::workers::{scale, through_f32};

/// Brings every value into `-max_abs..=max_abs`. NaN stays NaN.
pub(super) fn clamp(values: ValuesMut<'_>, max_abs: f64) {
    match values {
        ValuesMut::F32(slice) => {
            let bound = round_down(max_abs, f32::next_down);
            slice
                .iter_mut()
                .for_each(|value| *value = value.clamp(-bound, bound));
        }
        ValuesMut::F64(slice) => {
            slice
                .iter_mut()
                .for_each(|value| *value = value.clamp(-max_abs, max_abs));
        }
        ValuesMut::F16(slice) => {
            let bound =
                round_down(max_abs, |bound: f16| f16::from_bits(bound.to_bits() - 1)).to_f32();
            through_f32(slice, |value| value.clamp(-bound, bound));
        }
        ValuesMut::Bf16(slice) => {
            let bound =
                round_down(max_abs, |bound: bf16| bf16::from_bits(bound.to_bits() - 1)).to_f32();
            through_f32(slice, |value| value.clamp(-bound, bound));
        }
    }
}

/// The largest value of a type that is not above a positive number. A bound that is rounded up
/// would not hold.
fn round_down<E: Element>(bound: f64, next_down: impl Fn(E) -> E) -> E {
    let nearest = E::narrow(bound);
    if nearest.value() > bound {
        next_down(nearest)
    } else {
        nearest
    }
}

/// Multiplies each output unit by its coefficient. Coefficients of another number of units change
/// nothing.
pub(super) fn scale_units(values: ValuesMut<'_>, units: Units, coefficients: &[f64]) {
    let count = units.count(values.len());
    if coefficients.len() != count || values.is_empty() {
        return;
    }
    match units {
        Units::Columns(_) if count > 1 => with_slice!(ValuesMut, values, slice => {
            for row in slice.chunks_mut(count) {
                for (value, &coefficient) in row.chunks_mut(1).zip(coefficients) {
                    if coefficient != 1.0 {
                        scale(value.into(), coefficient);
                    }
                }
            }
        }),
        _ => with_slice!(ValuesMut, values, slice => {
            let len = slice.len() / count;
            for (row, &coefficient) in slice.chunks_mut(len).zip(coefficients) {
                if coefficient != 1.0 {
                    scale(row.into(), coefficient);
                }
            }
        }),
    }
}

/// Where `g^2 > ratio v`: `g <- sign(g) sqrt(ratio v)`; see [`is_beyond`].
pub(super) fn clamp_to_second_moment(
    gradient: ValuesMut<'_>,
    moment: SecondMoment<'_>,
    ratio: f64,
) {
    let ratio = ratio * moment.factor;
    with_slice!(ValuesMut, gradient, gradient => with_slice!(Values, moment.values, moment => {
        for (gradient, moment) in gradient.iter_mut().zip(moment) {
            let (value, moment) = (gradient.value(), moment.value());
            if is_beyond(value, moment, ratio) {
                *gradient = Element::narrow((ratio * moment).sqrt().copysign(value));
            }
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamping_holds_the_bound_in_every_type() {
        let bound = 0.1;
        let odd = [3.0f32, -3.0, 0.05, f32::NEG_INFINITY];
        let mut single = odd;
        clamp((&mut single[..]).into(), bound);
        assert!(single.iter().all(|value| f64::from(value.abs()) <= bound));
        assert_eq!(
            single,
            [
                0.1f32.next_down(),
                -0.1f32.next_down(),
                0.05,
                -0.1f32.next_down()
            ]
        );
        let mut double = odd.map(f64::from);
        clamp((&mut double[..]).into(), bound);
        assert_eq!(double, [0.1, -0.1, f64::from(0.05f32), -0.1]);
        let mut short = odd.map(f16::from_f32);
        clamp((&mut short[..]).into(), bound);
        assert!(short.iter().all(|value| value.to_f64().abs() <= bound));
        assert_eq!(short[1].to_f64(), -0.099_975_585_937_5);
        let mut brain = odd.map(bf16::from_f32);
        clamp((&mut brain[..]).into(), bound);
        assert!(brain.iter().all(|value| value.to_f64().abs() <= bound));
        assert_eq!(brain[3].to_f64(), -0.099_609_375);
        // A bound that the type can hold is reached exactly.
        let mut exact = odd;
        clamp((&mut exact[..]).into(), 0.5);
        assert_eq!(exact, [0.5, -0.5, 0.05, -0.5]);
        let mut exact = odd.map(f16::from_f32);
        clamp((&mut exact[..]).into(), 0.5);
        assert_eq!(exact[0].to_f64(), 0.5);
        let mut nan = [f32::NAN];
        clamp((&mut nan[..]).into(), bound);
        assert!(nan[0].is_nan());
    }

    #[test]
    fn rows_and_columns_are_scaled_in_place() {
        let mut rows = [1.0f32, 2.0, 3.0, 4.0];
        scale_units((&mut rows[..]).into(), Units::Rows(2), &[1.0, 0.5]);
        assert_eq!(rows, [1.0, 2.0, 1.5, 2.0]);
        let mut columns = [1.0f32, 2.0, 3.0, 4.0];
        scale_units((&mut columns[..]).into(), Units::Columns(2), &[1.0, 0.5]);
        assert_eq!(columns, [1.0, 1.0, 3.0, 2.0]);
        let mut one = [2.0f64, 4.0];
        scale_units((&mut one[..]).into(), Units::One, &[0.5]);
        assert_eq!(one, [1.0, 2.0]);
        // Coefficients of another number of units change nothing.
        scale_units((&mut one[..]).into(), Units::One, &[0.5, 0.5]);
        assert_eq!(one, [1.0, 2.0]);
        scale_units((&mut one[..0]).into(), Units::Rows(2), &[0.5, 0.5]);
    }

    #[test]
    fn spikes_come_down_to_their_second_moment() {
        let moments = [4.0f32, 4.0, 0.0, 4.0, 4.0];
        let mut gradient = [6.0f32, -7.0, 9.0, f32::NAN, f32::INFINITY];
        let moment = SecondMoment {
            factor: 2.0,
            ..SecondMoment::new(&moments)
        };
        clamp_to_second_moment((&mut gradient[..]).into(), moment, 4.5);
        assert_eq!(gradient[..3], [6.0, -6.0, 9.0]);
        assert!(gradient[3].is_nan() && gradient[4] == 6.0);
    }
}
