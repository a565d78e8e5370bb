use serde::{Deserialize, Serialize};

use super::injection::Injection;
use super::{
    BitFlip, F16Overflow, LabelNoise, LearningRateGrowth, LearningRateSpike, Poison, PoisonedBatch,
    RotatedLabels, ScaledBatch, ShiftedData, WeightGrowth,
};

/// One fault. In TOML it is a table whose `kind` is the fault's name; settings that are left out
/// have the values of the fault's `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Fault {
    /// Multiplies the inputs.
    ScaledBatch(ScaledBatch),
    /// Makes one input NaN or infinite.
    PoisonedBatch(PoisonedBatch),
    /// Makes all labels wrong in the same way.
    RotatedLabels(RotatedLabels),
    /// Rescales and shifts the inputs, for some attempts or to the end of the run.
    ShiftedData(ShiftedData),
    /// Multiplies the learning rate.
    LearningRateSpike(LearningRateSpike),
    /// Flips a bit of a weight.
    BitFlip(BitFlip),
    /// Lets gradients overflow in f16.
    F16Overflow(F16Overflow),
    /// Builds up: multiplies the learning rate in each attempt.
    LearningRateGrowth(LearningRateGrowth),
    /// Builds up: multiplies the weights in each attempt.
    WeightGrowth(WeightGrowth),
    /// Builds up: makes a growing share of the labels random.
    LabelNoise(LabelNoise),
}

impl Fault {
    /// Every fault at its default strength. NaN and infinity in a batch are two faults, and shifted
    /// data last for 20 attempts. Faults that build up come last.
    pub fn all(at_step: u64) -> Vec<Self> {
        vec![
            Fault::ScaledBatch(ScaledBatch::at(at_step)),
            Fault::PoisonedBatch(PoisonedBatch::at(at_step, Poison::Nan)),
            Fault::PoisonedBatch(PoisonedBatch::at(at_step, Poison::Inf)),
            Fault::RotatedLabels(RotatedLabels::at(at_step)),
            Fault::ShiftedData(ShiftedData {
                steps: Some(20),
                ..ShiftedData::at(at_step)
            }),
            Fault::LearningRateSpike(LearningRateSpike::at(at_step)),
            Fault::BitFlip(BitFlip::at(at_step)),
            Fault::F16Overflow(F16Overflow::at(at_step)),
            Fault::LearningRateGrowth(LearningRateGrowth::at(at_step)),
            Fault::WeightGrowth(WeightGrowth::at(at_step)),
            Fault::LabelNoise(LabelNoise::at(at_step)),
        ]
    }

    /// Its name: its `kind` in TOML, with the value of a poisoned batch.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::ScaledBatch(_) => "scaled_batch",
            Fault::PoisonedBatch(batch) => match batch.value {
                Poison::Nan => "poisoned_batch (nan)",
                Poison::Inf => "poisoned_batch (inf)",
            },
            Fault::RotatedLabels(_) => "rotated_labels",
            Fault::ShiftedData(_) => "shifted_data",
            Fault::LearningRateSpike(_) => "learning_rate_spike",
            Fault::BitFlip(_) => "bit_flip",
            Fault::F16Overflow(_) => "f16_overflow",
            Fault::LearningRateGrowth(_) => "learning_rate_growth",
            Fault::WeightGrowth(_) => "weight_growth",
            Fault::LabelNoise(_) => "label_noise",
        }
    }

    /// The first attempt that it acts in.
    pub fn at_step(&self) -> u64 {
        self.injection().window().at_step
    }

    /// Number of attempts that it acts in; `None` acts to the end of the run.
    pub fn steps(&self) -> Option<u64> {
        self.injection().window().steps
    }

    /// Whether it grows from harmless to fatal over its attempts, so that a detector can warn
    /// early.
    pub fn builds_up(&self) -> bool {
        self.injection().builds_up()
    }

    /// Whether it changes weights itself. A skipped step does not undo that.
    pub fn corrupts_weights(&self) -> bool {
        self.injection().weights(0).is_some()
    }

    pub(super) fn injection(&self) -> &dyn Injection {
        match self {
            Fault::ScaledBatch(fault) => fault,
            Fault::PoisonedBatch(fault) => fault,
            Fault::RotatedLabels(fault) => fault,
            Fault::ShiftedData(fault) => fault,
            Fault::LearningRateSpike(fault) => fault,
            Fault::BitFlip(fault) => fault,
            Fault::F16Overflow(fault) => fault,
            Fault::LearningRateGrowth(fault) => fault,
            Fault::WeightGrowth(fault) => fault,
            Fault::LabelNoise(fault) => fault,
        }
    }
}
