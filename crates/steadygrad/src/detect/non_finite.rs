use super::{Detection, Detector};
use crate::{Place, StepReading};

/// A NaN or infinite value in a gradient or in the loss.
///
/// The place is the parameter *nearest the output* that has one: the backward pass runs from the
/// output to the input, so parameters before it may only have passed the value on.
#[derive(Debug, Clone, Copy)]
pub struct NonFinite;

impl NonFinite {
    /// Looks at one reading. Keeps no state.
    pub fn check(self, reading: &StepReading) -> Option<Detection> {
        let broken = reading
            .gradients
            .tensors
            .iter()
            .rev()
            .find(|tensor| tensor.stats.non_finite > 0);
        let (place, value, message) = if let Some(tensor) = broken {
            (
                Place::Parameter(tensor.name.clone()),
                tensor.stats.non_finite as f64,
                format!(
                    "{} of {} gradient values of `{}` are NaN or infinite",
                    tensor.stats.non_finite, tensor.stats.len, tensor.name
                ),
            )
        } else if !reading.loss.is_finite() {
            (
                Place::Run,
                reading.loss,
                format!("the loss is {}", reading.loss),
            )
        } else {
            return None;
        };
        Some(Detection {
            detector: Detector::NonFinite,
            step: reading.step,
            place,
            value,
            threshold: 0.0,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;

    #[test]
    fn finite_zero_and_empty_are_silent() {
        assert_eq!(NonFinite.check(&reading(0, 1.0, 1.0)), None);
        assert_eq!(NonFinite.check(&reading(0, 0.0, 0.0)), None);
        let mut empty = reading(0, 1.0, 1.0);
        empty.gradients.tensors.clear();
        assert_eq!(NonFinite.check(&empty), None);
    }

    #[test]
    fn gradients_and_loss_are_both_watched() {
        assert_eq!(
            NonFinite.check(&reading(3, 1.0, f32::NAN)).unwrap().place,
            at_w()
        );
        assert_eq!(
            NonFinite
                .check(&reading(3, 1.0, f32::INFINITY))
                .unwrap()
                .place,
            at_w()
        );
        assert_eq!(
            NonFinite.check(&reading(3, f64::NAN, 1.0)).unwrap().place,
            Place::Run
        );
        assert_eq!(
            NonFinite
                .check(&reading(3, f64::INFINITY, 1.0))
                .unwrap()
                .place,
            Place::Run
        );
    }
}
