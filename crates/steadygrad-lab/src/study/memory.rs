//! The memory that a study needs, estimated before anything is built.

use toml::Value;

use super::config::{Study, SubjectConfig, TableSource};
use super::error::StudyError;
use super::keys;
use crate::{Optimizer, free_memory};

/// Bytes for each parameter while a guarded run trains: weights, gradients, new weights and a
/// snapshot. An MLP of 48 million parameters took 17.4, by the largest resident set on Linux. Each
/// moment of the optimizer adds a copy of the weights, and one in the snapshot.
const TRAINING: f64 = 17.0;
const MOMENT: f64 = 8.0;

/// Bytes for each parameter while SGD's sharpness is measured in f64: the same MLP took 105.
const SHARPNESS: f64 = 100.0;

/// Bytes of a value that the backward pass needs: itself and its gradient, in f32.
const ACTIVATION: f64 = 8.0;

/// Keys that decide how much memory a study needs. The first that can make room is named.
const LARGE: [&str; 6] = [
    "model.width",
    "model.hidden_size",
    "model.channels",
    "model.depth",
    "model.sequence_length",
    "budget.batch_size",
];

/// What a study is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// One guarded run.
    Train,
    /// Measurements before training, then this many trials side by side.
    Measure {
        /// The number of trials; 0 for none.
        trials: usize,
    },
}

impl Study {
    /// Checks that the memory that is free suffices for this work.
    ///
    /// # Errors
    /// [`StudyError::Memory`] names the key to change, and the largest value that fits.
    pub fn check_memory(&self, work: Work) -> Result<(), StudyError> {
        self.check_fits(work, free_memory::has)
    }

    fn check_fits(&self, work: Work, has: impl Fn(u64) -> bool) -> Result<(), StudyError> {
        let needed = self.memory(work);
        if has(needed) {
            return Ok(());
        }
        let settings = keys::settings_of(self.subject_name());
        let whole = |study: &Study, setting: &keys::Setting| {
            (setting.get)(study).and_then(|value| value.as_integer())
        };
        let of_name = |name: &&str| settings.iter().find(|setting| setting.key.name == *name);
        let known: Vec<&keys::Setting> = LARGE.iter().filter_map(of_name).collect();
        let mut changes = known.iter().filter_map(|setting| {
            let value = whole(self, setting)?;
            let fits = |value: i64| {
                let mut study = self.clone();
                (setting.set)(&mut study, &Value::Integer(value));
                has(study.memory(work))
            };
            let smallest = setting.key.allowed.smallest()?;
            Some((setting.key.name, value, largest(smallest, value, fits)?))
        });
        let (key, value, most) = match changes.next() {
            Some((key, value, most)) => (key, value, Some(most)),
            // Only several keys together make room.
            None => {
                let first = known
                    .first()
                    .map(|first| (first.key.name, whole(self, first)));
                let (name, value) = first.unwrap_or((LARGE[0], None));
                (name, value.unwrap_or_default(), None)
            }
        };
        Err(StudyError::Memory {
            key,
            value,
            needed,
            most,
        })
    }

    /// The bytes that this work needs at least.
    fn memory(&self, work: Work) -> u64 {
        let (parameters, activations, data) = self.sizes();
        let moments = match self.plan.optimizer {
            Optimizer::Sgd => u8::from(self.plan.momentum > 0.0),
            Optimizer::Adam | Optimizer::AdamW => 2,
        };
        let step = ACTIVATION * activations;
        let training = parameters * (TRAINING + MOMENT * f64::from(moments)) + step;
        let most = match work {
            Work::Train => training,
            Work::Measure { trials } => {
                let measuring = match self.plan.optimizer {
                    Optimizer::Sgd => SHARPNESS,
                    Optimizer::Adam | Optimizer::AdamW => TRAINING,
                };
                (parameters * measuring + step).max(training * trials as f64)
            }
        };
        // The cast saturates: no machine has that much.
        (most + data) as u64
    }

    /// Parameters, values of the activations of a batch, and bytes of the data. A user's table is
    /// not read yet, so its columns do not count, and a batch counts as one row.
    fn sizes(&self) -> (f64, f64, f64) {
        /// Training sequences and validation sequences of the temporal order task, one byte a step.
        const SEQUENCES: f64 = 21_000.0;
        /// Values of a 3x3 patch, its sum and its ReLU.
        const CONVOLUTION: f64 = 11.0;
        /// Training rows of the digits and training sequences: a batch has at most these.
        const DIGITS: usize = 1_797;
        const TRAINING_SEQUENCES: usize = 20_000;
        let most = match &self.subject {
            SubjectConfig::Mlp {
                source: TableSource::Csv { .. },
                ..
            } => 1,
            SubjectConfig::TemporalOrderRnn { .. } => TRAINING_SEQUENCES,
            _ => DIGITS,
        };
        let batch = self.plan.batch_size.min(most) as f64;
        match &self.subject {
            SubjectConfig::Mlp { model, .. } => {
                let (depth, width) = (model.depth as f64, model.width as f64);
                let parameters = (depth - 1.0) * width * width + 2.0 * width;
                (parameters, 2.0 * depth * width * batch, 0.0)
            }
            SubjectConfig::TemporalOrderRnn {
                sequence_length,
                hidden_size,
                ..
            } => {
                let (steps, hidden) = (*sequence_length as f64, *hidden_size as f64);
                let states = steps * hidden * batch;
                (hidden * hidden, states, SEQUENCES * steps)
            }
            SubjectConfig::DigitsCnn(model) => {
                let (depth, channels) = (model.depth as f64, model.channels as f64);
                let parameters = (depth - 1.0) * 9.0 * channels * channels;
                // 8x8 pixels for the first layer, 4x4 for the others.
                let pixels = 64.0 + 16.0 * (depth - 1.0);
                (parameters, CONVOLUTION * pixels * channels * batch, 0.0)
            }
        }
    }
}

/// The largest number from `smallest` up to but excluding `value` that fits; `None` if none does.
fn largest(smallest: i64, value: i64, fits: impl Fn(i64) -> bool) -> Option<i64> {
    if smallest >= value || !fits(smallest) {
        return None;
    }
    let (mut good, mut bad) = (smallest, value);
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        *(if fits(middle) { &mut good } else { &mut bad }) = middle;
    }
    Some(good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{SUBJECTS, parse};

    const FREE: u64 = 20_000_000_000;

    fn check(text: &str, work: Work) -> Option<String> {
        let study = parse(text).unwrap();
        let error = study.check_fits(work, |bytes| bytes <= FREE).err()?;
        Some(error.to_string())
    }

    #[test]
    fn the_largest_study_of_every_subject_is_refused_with_a_key_and_what_fits() {
        for (subject, model, key) in [
            ("digits-mlp", "depth = 10000\nwidth = 100000", "model.width"),
            ("csv-mlp", "depth = 10000\nwidth = 100000", "model.width"),
            (
                "digits-cnn",
                "depth = 1000\nchannels = 10000",
                "model.channels",
            ),
            (
                "temporal-order-rnn",
                "hidden_size = 100000\nsequence_length = 100000",
                "model.hidden_size",
            ),
        ] {
            let data = match subject {
                "csv-mlp" => "[data]\nfile = \"x.csv\"\ntarget = \"y\"\n",
                _ => "",
            };
            let text = format!("subject = \"{subject}\"\n{data}[model]\n{model}\n");
            for work in [Work::Train, Work::Measure { trials: 2 }] {
                let error = check(&text, work).expect(subject);
                assert!(error.starts_with(&format!("`{key}` is ")), "{error}");
                assert!(
                    error.contains("of memory") && error.contains("give at most"),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn what_the_error_allows_fits() {
        let study = |width: i64| parse(&format!("[model]\ndepth = 50\nwidth = {width}\n")).unwrap();
        let work = Work::Measure { trials: 4 };
        let has = |bytes: u64| bytes <= FREE;
        let Err(StudyError::Memory { most, .. }) = study(90_000).check_fits(work, has) else {
            panic!("90,000 units fit")
        };
        let most = most.unwrap();
        assert!(study(most).check_fits(work, has).is_ok());
        assert!(study(most + 1).check_fits(work, has).is_err());
    }

    #[test]
    fn the_defaults_fit_into_a_small_machine() {
        for subject in SUBJECTS {
            let Some(study) = Study::embedded(subject) else {
                continue;
            };
            let small = |bytes: u64| bytes < 500_000_000;
            assert!(
                study
                    .check_fits(Work::Measure { trials: 16 }, small)
                    .is_ok(),
                "{subject}"
            );
        }
    }

    #[test]
    fn without_a_value_that_fits_no_value_is_named() {
        let error = parse("").unwrap().check_fits(Work::Train, |_| false);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("make the model and the batch smaller"),
            "{message}"
        );
        assert_eq!(largest(1, 1, |_| true), None);
        assert_eq!(largest(1, 9, |value| value <= 4), Some(4));
    }
}
