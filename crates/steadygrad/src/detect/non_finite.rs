use super::interface::{Detect, Sighting};
use super::quiet::{Next, Quiet};
use super::severity::Severity;
use super::signals::Signals;
use crate::setting::SettingError;
use crate::{Place, StepReading};

/// A gradient, the loss, the learning rate or a weight is NaN or infinite.
///
/// The place in the gradients is the parameter *nearest the output* that has such a value: the
/// backward pass runs from the output to the input, so earlier parameters may only have passed the
/// value on. A norm that is not finite counts as well: f64 gradients can have one while each value
/// is finite. Non-finite weights are [`Severity::Damage`], all else is [`Severity::Harmful`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NonFinite;

impl Detect for NonFinite {
    type State = ();

    const TITLE: &'static str = "non-finite values";
    const IS_ABOUT_EXPLOSION: bool = true;
    const SHOWS_A_BAD_LOSS: bool = true;

    fn validate(&self) -> Result<(), SettingError> {
        Ok(())
    }

    fn with_power(self, _power: f64) -> Self {
        self
    }

    fn check(&self, (): &(), signals: &Signals<'_>) -> Option<Sighting> {
        in_weights(signals.reading)
            .or_else(|| in_gradients(signals.reading))
            .or_else(|| in_the_run(signals))
    }

    fn accept(&self, (): &mut (), _signals: &Signals<'_>, _clipped: bool) {}

    fn reject(&self, (): &mut (), _signals: &Signals<'_>, _applied: bool) {}

    fn forget_level((): &mut ()) {}

    /// A quiet reading is finite.
    fn quiet(&self, (): &(), _next: &Next<'_>, bounds: Quiet) -> Option<Quiet> {
        Some(bounds)
    }
}

fn see(severity: Severity, place: Place, value: f64, message: String) -> Sighting {
    Sighting {
        severity,
        place,
        value,
        threshold: 0.0,
        message,
    }
}

fn in_weights(reading: &StepReading) -> Option<Sighting> {
    let lost = |norm: &f64| norm.is_nan() || *norm == f64::INFINITY;
    let index = reading.weight_norms.iter().position(lost)?;
    let (place, name) = reading.parameter(index);
    let message = format!("{name} holds weights that are NaN or infinite");
    Some(see(Severity::Damage, place, f64::NAN, message))
}

fn in_gradients(reading: &StepReading) -> Option<Sighting> {
    let mut tensors = reading.gradients.tensors.iter().rev();
    let broken = tensors
        .find(|tensor| tensor.stats.non_finite > 0 || !tensor.stats.tensor_norm.is_finite())?;
    let (name, stats) = (&broken.name, &broken.stats);
    let message = if stats.non_finite > 0 {
        format!(
            "{} of {} gradient values of `{name}` are NaN or infinite",
            stats.non_finite, stats.len
        )
    } else {
        format!("the gradient norm of `{name}` is not finite")
    };
    let place = Place::Parameter(name.clone());
    Some(see(
        Severity::Harmful,
        place,
        stats.non_finite as f64,
        message,
    ))
}

fn in_the_run(signals: &Signals<'_>) -> Option<Sighting> {
    let numbers = [
        ("loss", signals.reading.loss),
        ("global gradient norm", signals.global_norm),
        ("learning rate", signals.reading.learning_rate),
    ];
    let (name, value) = numbers.into_iter().find(|(_, value)| !value.is_finite())?;
    let message = format!("the {name} is {value}");
    Some(see(Severity::Harmful, Place::Run, value, message))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_w, reading};
    use super::*;

    fn seen(reading: &StepReading) -> Option<(Severity, Place)> {
        NonFinite
            .check(&(), &Signals::of(reading))
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
