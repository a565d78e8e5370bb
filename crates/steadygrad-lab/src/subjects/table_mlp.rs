use burn::nn::loss::{CrossEntropyLossConfig, MseLoss, Reduction};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use steadygrad::cure::Goal;
use steadygrad_burn::Stages;

use crate::butterfly::moved;
use crate::data::{Table, Target};
use crate::models::{Mlp, MlpConfig};
use crate::tape::rms;
use crate::{Structure, Subject, Summary, Tape};

/// A plain multilayer perceptron on a table of numbers: the digits, or a user's CSV.
///
/// The features go in as they are. Targets of a regression are standardised for training (the
/// metric, R squared, does not depend on that).
#[derive(Debug, Clone)]
pub struct TableMlp {
    name: String,
    source: String,
    table: Table,
    config: MlpConfig,
    goal: Goal,
    device: Device,
    /// Mean and standard deviation of a regression's training targets.
    scale: (f64, f64),
    /// All rows' features, where they differ from the table's.
    moved: Option<Box<[f64]>>,
}

impl TableMlp {
    /// A subject called `name`; `source` says where the data come from, for a person. `goal` is
    /// the validation metric that counts as solved.
    pub fn new(
        name: impl Into<String>,
        source: impl Into<String>,
        table: Table,
        config: MlpConfig,
        goal: f64,
        device: Device,
    ) -> Self {
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
            name: name.into(),
            source: source.into(),
            table,
            config,
            goal: Goal {
                metric: goal,
                trivial,
            },
            device,
            scale,
            moved: None,
        }
    }

    fn input(&self, rows: &[usize], dtype: DType, device: &Device) -> Tensor<2> {
        let features = self.table.features;
        let shape = [rows.len(), features];
        let data = match &self.moved {
            Some(moved) => {
                let of = |row: &usize| &moved[row * features..][..features];
                TensorData::new(
                    rows.iter().flat_map(of).copied().collect::<Vec<f64>>(),
                    shape,
                )
            }
            None => {
                let of = |row: &usize| self.table.row(*row);
                TensorData::new(
                    rows.iter().flat_map(of).copied().collect::<Vec<f32>>(),
                    shape,
                )
            }
        };
        Tensor::from_data(data, (device, dtype))
    }

    fn training_rows(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().map(|row| self.table.training[*row]).collect()
    }
}

fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    // A constant training target leaves nothing to scale by.
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}

impl Subject for TableMlp {
    type Model = Mlp;

    fn summary(&self) -> Summary {
        let MlpConfig {
            depth,
            width,
            activation,
            init_std,
        } = self.config;
        Summary {
            name: self.name.clone(),
            description: format!(
                "{}; plain MLP, {depth} hidden layers of {width} {} units, weights ~ N(0, {init_std}^2)",
                self.source,
                activation.name()
            ),
            activation,
            depth: Some(depth),
            sequence_length: None,
            training_samples: self.table.training.len(),
            validation_samples: self.table.validation.len(),
            metric: match self.table.target {
                Target::Classes { .. } => "accuracy",
                Target::Numbers(_) => "R squared",
            },
            goal: self.goal,
        }
    }

    fn build(&self, structure: &Structure, rng: &mut ChaCha8Rng, device: &Device) -> Mlp {
        self.config.init(
            self.table.features,
            self.table.outputs(),
            structure,
            rng,
            device,
        )
    }

    fn loss(&self, model: &Mlp, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        let rows = self.training_rows(rows);
        let device = &self.device;
        let dtype = model.dtype();
        let output = model.forward(self.input(&rows, dtype, device), tape);
        match &self.table.target {
            Target::Classes { rows: classes, .. } => {
                let targets: Vec<i64> = rows.iter().map(|row| classes[*row] as i64).collect();
                let targets =
                    Tensor::<1, Int>::from_data(TensorData::new(targets, [rows.len()]), device);
                CrossEntropyLossConfig::new()
                    .init(device)
                    .forward(output, targets)
            }
            Target::Numbers(numbers) => {
                let (mean, deviation) = self.scale;
                let targets: Vec<f32> = rows
                    .iter()
                    .map(|row| ((f64::from(numbers[*row]) - mean) / deviation) as f32)
                    .collect();
                let targets = Tensor::<2>::from_data(
                    TensorData::new(targets, [rows.len(), 1]),
                    (device, dtype),
                );
                MseLoss::new().forward(output, targets, Reduction::Mean)
            }
        }
    }

    fn stages<'a>(&'a self, model: &'a Mlp, row: usize) -> Option<(Stages<'a>, Tensor<2>)> {
        model.stages(self.input(&self.training_rows(&[row]), model.dtype(), &self.device))
    }

    fn bias_std(&self, model: &Mlp) -> f64 {
        model.bias_std()
    }

    fn with_moved_inputs(&self, size: f64, rng: &mut ChaCha8Rng) -> Option<Self> {
        let rows = self.table.values.chunks_exact(self.table.features.max(1));
        Some(Self {
            moved: Some(rows.flat_map(|row| moved(row, size, rng)).collect()),
            ..self.clone()
        })
    }

    fn computes_in_f64(&self, model: &Mlp) -> bool {
        !model.normalizes()
    }

    fn validate(&self, model: &Mlp) -> f64 {
        let rows = &self.table.validation;
        let device = self.device.clone().inner();
        let model = burn::module::Module::valid(model);
        let output = model.forward(self.input(rows, model.dtype(), &device), &mut Tape::off());
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

    fn input_rms(&self, rows: &[usize]) -> f64 {
        let values: Vec<f32> = self
            .training_rows(rows)
            .iter()
            .flat_map(|row| self.table.row(*row))
            .copied()
            .collect();
        rms(&values)
    }
}
