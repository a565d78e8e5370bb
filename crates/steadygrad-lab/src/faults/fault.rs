use serde::{Deserialize, Serialize};

use super::injection::Injection;
use super::{
    BitFlip, F16Overflow, LabelNoise, LearningRateGrowth, LearningRateSpike, Poison, PoisonedBatch,
    RotatedLabels, ScaledBatch, ShiftedData, WeightGrowth,
};

/// One fault. In TOML it is a table whose `kind` is the fault's name; what is left out of it has
/// the defaults of the fault's `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// Inputs times a factor.
    ScaledBatch(ScaledBatch),
    /// One input is NaN or infinite.
    PoisonedBatch(PoisonedBatch),
    /// Labels that are all wrong in the same way.
    RotatedLabels(RotatedLabels),
    /// Inputs rescaled and shifted, for a while or for good.
    ShiftedData(ShiftedData),
    /// Learning rate times a factor.
    LearningRateSpike(LearningRateSpike),
    /// A bit of a weight flips.
    BitFlip(BitFlip),
    /// Gradients overflow in f16.
    F16Overflow(F16Overflow),
    /// Builds up: the learning rate grows at each attempt.
    LearningRateGrowth(LearningRateGrowth),
    /// Builds up: the weights grow at each attempt.
    WeightGrowth(WeightGrowth),
    /// Builds up: more and more labels are random.
    LabelNoise(LabelNoise),
}

impl Fault {
    /// Every fault at its default strength, NaN and infinity each, those that build up last. The
    /// change of data lasts for 20 attempts.
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

    /// Its name, which is its `kind` in TOML; NaN and infinity in a batch are told apart.
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

    /// The first attempt in which it is at work.
    pub fn at_step(&self) -> u64 {
        self.injection().window().at_step
    }

    /// The number of attempts in which it is at work; `None` for good.
    pub fn steps(&self) -> Option<u64> {
        self.injection().window().steps
    }

    /// Whether it grows from harmless to fatal over its attempts, so that a detector can be early.
    pub fn builds_up(&self) -> bool {
        matches!(
            self,
            Fault::LearningRateGrowth(_) | Fault::WeightGrowth(_) | Fault::LabelNoise(_)
        )
    }

    /// Whether it changes weights by itself, which a skipped step does not undo.
    pub fn corrupts_weights(&self) -> bool {
        matches!(self, Fault::BitFlip(_) | Fault::WeightGrowth(_))
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
