use steadygrad::measurements::WeightMatrix;
use steadygrad::remedy::WeightDecay;

use super::effect::{AfterUpdate, Effect, LabRemedy};
use crate::Summary;
use crate::study::key::{Field, Key, POSITIVE, Scope, StudyForm};

/// Shrinks all weights after each update, by a share of the learning rate.
impl LabRemedy for WeightDecay {
    const STUDY: Option<StudyForm> = Some(StudyForm {
        kind: "weight_decay",
        scope: Scope::Every,
        fields: &[Field {
            name: "decay",
            default: None,
            key: Key {
                name: "remedy.weight_decay",
                allowed: POSITIVE,
                comment: "regularize: each update shrinks the weights by this times its rate",
            },
        }],
    });

    fn effect(&self) -> Effect {
        let decay = *self;
        let after_update =
            move |_: &Summary, _: &[WeightMatrix]| -> Box<dyn AfterUpdate> { Box::new(decay) };
        Effect {
            after_update: Some(Box::new(after_update)),
            ..Effect::default()
        }
    }
}

impl AfterUpdate for WeightDecay {
    /// In f32, as Burn computes `weight * factor`.
    fn change(
        &mut self,
        _parameter: &str,
        _shape: &[usize],
        values: &mut [f32],
        learning_rate: f64,
    ) -> bool {
        let factor = (1.0 - learning_rate * self.decay) as f32;
        values.iter_mut().for_each(|value| *value *= factor);
        true
    }

    fn boxed_clone(&self) -> Box<dyn AfterUpdate> {
        Box::new(*self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use burn::optim::SgdConfig;
    use burn::tensor::Device;
    use steadygrad::cure::{End, Outcome};
    use steadygrad::dynamics::Activation;
    use steadygrad::remedy::Remedy;

    use crate::batches::Batches;
    use crate::build::build;
    use crate::data::digits;
    use crate::models::MlpConfig;
    use crate::subjects::TableMlp;
    use crate::trial::{TrialSpec, run_trial};
    use crate::{Control, Plan, Silent, Subject, Tape};

    include!("../../../steadygrad/src/remedy/snippets/weight_decay.rs");

    fn subject() -> TableMlp {
        let config = MlpConfig {
            depth: 3,
            width: 16,
            activation: Activation::Relu,
            init_std: 0.3,
        };
        let device = Device::flex().autodiff();
        TableMlp::new("digits", "digits", digits(), config, 0.9, device)
    }

    fn plan() -> Plan {
        Plan {
            learning_rate: 1e-3,
            steps: 20,
            batch_size: 32,
            ..Plan::default()
        }
    }

    fn trial(decay: Option<f64>) -> Outcome {
        let remedy: Option<Remedy> = decay.map(|decay| super::WeightDecay { decay }.into());
        let spec = TrialSpec {
            name: "trial",
            remedy: remedy.as_ref(),
            observe: false,
            run_dir: None,
            margin: false,
        };
        let control = Control {
            cancelled: &AtomicBool::new(false),
            progress: &Silent,
        };
        let device = Device::flex().autodiff();
        run_trial(&subject(), &plan(), spec, &device, control).expect("it records nothing")
    }

    /// Burn's SGD, followed by the code that is prescribed.
    fn pasted() -> Vec<f64> {
        let (subject, plan, device) = (subject(), plan(), Device::flex().autodiff());
        let (mut model, _) = build(&subject, &plan, &[], &device);
        let samples = subject.summary().training_samples;
        let mut batches = Batches::new(samples, plan.batch_size, plan.seed);
        let mut optimizer = SgdConfig::new().init();
        let losses = (0..plan.steps).map(|_| {
            let rows = batches.next_batch();
            let (loss, gradients) = subject.loss_and_gradients(&model, rows, &mut Tape::off());
            model = optimizer.step(plan.learning_rate, model.clone(), gradients);
            model = decay_weights(model.clone(), plan.learning_rate);
            loss
        });
        losses.collect()
    }

    #[test]
    fn a_trial_does_what_the_prescribed_code_does_to_the_bit() {
        let outcome = trial(Some(WEIGHT_DECAY));
        assert_eq!(outcome.end, End::Completed);
        assert_eq!(outcome.trace.loss, pasted());
        assert_ne!(outcome.trace.loss, trial(None).trace.loss);
    }

    #[test]
    fn the_untrained_model_stays_as_it_is() {
        let decayed = trial(Some(500.0));
        assert_eq!(decayed.initial_loss, trial(None).initial_loss);
        // Each update halves the weights.
        let growth = decayed.weight_growth.expect("it is healthy");
        assert!(growth.log_growth() < 0.6f64.ln(), "{growth:?}");
    }
}
