use super::{Detection, Detector, Severity, Signals};
use crate::Place;

/// A NaN or infinite value in a gradient, the loss, the learning rate or a weight.
///
/// The place in the gradients is the parameter *nearest the output* that has one: the backward
/// pass runs from the output to the input, so parameters before it may only have passed the value
/// on. A norm that is not finite counts as well: f64 gradients can have one while each value is.
/// Non-finite weights are [`Severity::Damage`], all else is [`Severity::Harmful`].
#[derive(Debug, Clone, Copy)]
pub struct NonFinite;

impl NonFinite {
    /// Looks at one reading. Keeps no state.
    pub fn check(self, signals: &Signals<'_>) -> Option<Detection> {
        let reading = signals.reading;
        let found = |severity, place, value, message| {
            Some(Detection {
                detector: Detector::NonFinite,
                severity,
                step: reading.step,
                place,
                value,
                threshold: 0.0,
                message,
            })
        };
        let tensors = &reading.gradients.tensors;
        let lost = |norm: &f64| norm.is_nan() || *norm == f64::INFINITY;
        if let Some(index) = reading.weight_norms.iter().position(lost) {
            let (place, name) = match tensors.get(index) {
                Some(tensor) => (
                    Place::Parameter(tensor.name.clone()),
                    format!("`{}`", tensor.name),
                ),
                None => (Place::Run, format!("parameter {index}")),
            };
            let message = format!("{name} holds weights that are NaN or infinite");
            return found(Severity::Damage, place, f64::NAN, message);
        }
        let broken = tensors
            .iter()
            .rev()
            .find(|tensor| tensor.stats.non_finite > 0 || !tensor.stats.tensor_norm.is_finite());
        if let Some(tensor) = broken {
            let message = if tensor.stats.non_finite > 0 {
                format!(
                    "{} of {} gradient values of `{}` are NaN or infinite",
                    tensor.stats.non_finite, tensor.stats.len, tensor.name
                )
            } else {
                format!("the gradient norm of `{}` is not finite", tensor.name)
            };
            return found(
                Severity::Harmful,
                Place::Parameter(tensor.name.clone()),
                tensor.stats.non_finite as f64,
                message,
            );
        }
        for (name, value) in [
            ("loss", reading.loss),
            ("global gradient norm", signals.global_norm),
            ("learning rate", reading.learning_rate),
        ] {
            if !value.is_finite() {
                let message = format!("the {name} is {value}");
                return found(Severity::Harmful, Place::Run, value, message);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;
    use crate::StepReading;

    fn seen(reading: &StepReading) -> Option<(Severity, Place)> {
        NonFinite
            .check(&Signals::of(reading))
            .map(|seen| (seen.severity, seen.place))
    }

    #[test]
    fn finite_zero_and_empty_are_silent() {
        assert_eq!(seen(&reading(0, 1.0, 1.0)), None);
        assert_eq!(seen(&reading(0, 0.0, 0.0)), None);
        assert_eq!(seen(&StepReading::default()), None);
        // Negative norms were not measured.
        let gap = reading(0, 1.0, 1.0).with_weight_norms(vec![-1.0, f64::NEG_INFINITY]);
        assert_eq!(seen(&gap), None);
    }

    #[test]
    fn gradients_loss_and_learning_rate_are_watched() {
        let harmful = |place| Some((Severity::Harmful, place));
        for value in [f32::NAN, f32::INFINITY] {
            assert_eq!(seen(&reading(3, 1.0, value)), harmful(at_w()));
        }
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(seen(&reading(3, value, 1.0)), harmful(Place::Run));
            let mut rate = reading(3, 1.0, 1.0);
            rate.learning_rate = value;
            assert_eq!(seen(&rate), harmful(Place::Run));
        }
        let mut norm = reading(3, 1.0, 1.0);
        norm.gradients.tensors[0].stats.tensor_norm = f64::INFINITY;
        assert_eq!(seen(&norm), harmful(at_w()));
        // Each norm is finite, and yet all together are not.
        norm.gradients.tensors[0].stats.tensor_norm = f64::MAX;
        norm.gradients
            .tensors
            .push(norm.gradients.tensors[0].clone());
        assert_eq!(seen(&norm), harmful(Place::Run));
    }

    #[test]
    fn lost_weights_are_damage() {
        for weights in [vec![f64::NAN], vec![f64::INFINITY]] {
            let lost = reading(3, f64::NAN, f32::NAN).with_weight_norms(weights);
            assert_eq!(seen(&lost), Some((Severity::Damage, at_w())));
        }
        let unnamed = reading(3, 1.0, 1.0).with_weight_norms(vec![1.0, f64::NAN]);
        assert_eq!(seen(&unnamed), Some((Severity::Damage, Place::Run)));
    }
}
