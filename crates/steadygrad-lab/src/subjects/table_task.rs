use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::Rng;
use steadygrad::cure::Goal;

use crate::butterfly::moved;
use crate::data::{Table, Target};
use crate::faults::Distortion;
use crate::tape::rms;

/// A table as a task: its batches as tensors, the loss of outputs and the validation metric.
///
/// Targets of a regression are standardised for training, which does not change the metric,
/// R squared.
#[derive(Debug, Clone)]
pub(super) struct TableTask {
    pub(super) table: Table,
    pub(super) goal: Goal,
    device: Device,
    /// Mean and standard deviation of a regression's training targets.
    scale: (f64, f64),
    /// The features of all rows if they differ from the table's.
    moved: Option<Box<[f64]>>,
}

impl TableTask {
    /// `goal` is the validation metric that counts as solved.
    pub(super) fn new(table: Table, goal: f64, device: Device) -> Self {
        let (trivial, scale) = match &table.target {
            Target::Classes { rows, names } => {
                let mut counts = vec![0usize; names.len()];
                table
                    .training
                    .iter()
                    .for_each(|row| counts[rows[*row]] += 1);
                let common = (0..counts.len())
                    .max_by_key(|class| counts[*class])
                    .unwrap_or(0);
                let hits = table
                    .validation
                    .iter()
                    .filter(|row| rows[**row] == common)
                    .count();
                (hits as f64 / table.validation.len() as f64, (0.0, 1.0))
            }
            // Predicting the mean has R squared 0.
            Target::Numbers(rows) => (
                0.0,
                mean_and_deviation(table.training.iter().map(|row| f64::from(rows[*row]))),
            ),
        };
        Self {
            table,
            goal: Goal {
                metric: goal,
                trivial,
            },
            device,
            scale,
            moved: None,
        }
    }

    /// The task with each input moved in a random direction by this share of its size.
    pub(super) fn with_moved_inputs(&self, size: f64, rng: &mut dyn Rng) -> Self {
        let rows = self.table.values.chunks_exact(self.table.features.max(1));
        Self {
            moved: Some(rows.flat_map(|row| moved(row, size, rng)).collect()),
            ..self.clone()
        }
    }

    pub(super) fn metric(&self) -> &'static str {
        match self.table.target {
            Target::Classes { .. } => "accuracy",
            Target::Numbers(_) => "R squared",
        }
    }

    /// The features of these training rows after a faulty pipeline: `[rows, features]`.
    pub(super) fn input(&self, rows: &[usize], dtype: DType, distortion: &Distortion) -> Tensor<2> {
        let training = self.training_rows(rows);
        if let Some(moved) = self.moved.as_ref().filter(|_| !distortion.changes_inputs()) {
            // They are f64: rounded to f32, most values would not have moved.
            let features = self.table.features;
            let of = |row: &usize| &moved[row * features..][..features];
            let values: Vec<f64> = training.iter().flat_map(of).copied().collect();
            let data = TensorData::new(values, [rows.len(), features]);
            return Tensor::from_data(data, (&self.device, dtype));
        }
        let mut values = self.values(&training);
        distortion.inputs(&mut values);
        self.tensor(values, rows.len(), dtype, &self.device)
    }

    /// The features of all validation rows, on the device without autodiff.
    pub(super) fn validation_input(&self, dtype: DType) -> Tensor<2> {
        let rows = &self.table.validation;
        let device = self.device.clone().inner();
        self.tensor(self.values(rows), rows.len(), dtype, &device)
    }

    /// Mean loss of these outputs for these training rows, whose labels may be distorted.
    pub(super) fn loss(
        &self,
        output: Tensor<2>,
        rows: &[usize],
        distortion: &Distortion,
    ) -> Tensor<1> {
        let rows = self.training_rows(rows);
        let device = &self.device;
        match &self.table.target {
            Target::Classes {
                rows: classes,
                names,
            } => {
                let mut targets: Vec<usize> = rows.iter().map(|row| classes[*row]).collect();
                distortion.classes(&mut targets, names.len());
                let targets: Vec<i64> = targets.into_iter().map(|class| class as i64).collect();
                let targets =
                    Tensor::<1, Int>::from_data(TensorData::new(targets, [rows.len()]), device);
                CrossEntropyLossConfig::new()
                    .init(device)
                    .forward(output, targets)
            }
            Target::Numbers(numbers) => {
                let (mean, deviation) = self.scale;
                let mut targets: Vec<f32> = rows
                    .iter()
                    .map(|row| ((f64::from(numbers[*row]) - mean) / deviation) as f32)
                    .collect();
                distortion.targets(&mut targets);
                let targets = self.tensor(targets, rows.len(), output.dtype(), device);
                MseLoss::new().forward(output, targets, Reduction::Mean)
            }
        }
    }

    /// The name of the loss in a replay.
    pub(super) fn loss_name(&self) -> &'static str {
        match self.table.target {
            Target::Classes { .. } => "cross-entropy",
            Target::Numbers(_) => "mean squared error",
        }
    }

    /// The metric of these outputs for all validation rows; NaN if any output is not finite.
    pub(super) fn score(&self, output: Tensor<2>) -> f64 {
        let rows = &self.table.validation;
        let output: Vec<f32> = output.into_data().iter::<f32>().collect();
        if !output.iter().all(|value| value.is_finite()) {
            return f64::NAN;
        }
        match &self.table.target {
            Target::Classes {
                rows: classes,
                names,
            } => {
                let hits = rows
                    .iter()
                    .zip(output.chunks_exact(names.len()))
                    .filter(|(row, logits)| {
                        let best =
                            (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b]));
                        best == Some(classes[**row])
                    })
                    .count();
                hits as f64 / rows.len() as f64
            }
            Target::Numbers(numbers) => {
                let (mean, deviation) = self.scale;
                let truth = rows.iter().map(|row| f64::from(numbers[*row]));
                let (_, own_deviation) = mean_and_deviation(truth.clone());
                let error: f64 = truth
                    .zip(&output)
                    .map(|(truth, output)| {
                        (truth - (mean + deviation * f64::from(*output))).powi(2)
                    })
                    .sum();
                1.0 - error / (own_deviation.powi(2) * rows.len() as f64)
            }
        }
    }

    /// Root mean square of the input on these training rows.
    pub(super) fn input_rms(&self, rows: &[usize]) -> f64 {
        rms(&self.values(&self.training_rows(rows)))
    }

    fn training_rows(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.table.training[*row]).collect()
    }

    fn values(&self, rows: &[usize]) -> Vec<f32> {
        rows.iter()
            .flat_map(|row| self.table.row(*row))
            .copied()
            .collect()
    }

    fn tensor(&self, values: Vec<f32>, rows: usize, dtype: DType, device: &Device) -> Tensor<2> {
        let columns = values.len() / rows.max(1);
        Tensor::from_data(TensorData::new(values, [rows, columns]), (device, dtype))
    }
}

fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    // A constant training target is not scaled.
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}
