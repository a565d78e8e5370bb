use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use steadygrad_burn::Stages;

use super::table_task::TableTask;
use crate::data::Table;
use crate::faults::Distortion;
use crate::models::{Mlp, MlpConfig};
use crate::{Structure, Subject, Summary, Tape};

/// A plain multilayer perceptron on a table of numbers: the digits, or a user's CSV.
///
/// The features are not scaled. Targets of a regression are standardised for training, which does
/// not change the metric, R squared.
#[derive(Debug, Clone)]
pub struct TableMlp {
    name: String,
    source: String,
    task: TableTask,
    config: MlpConfig,
}

impl TableMlp {
    /// A subject of this name. `source` describes the data for a reader, and `goal` is the
    /// validation metric that counts as solved.
    pub fn new(
        name: impl Into<String>,
        source: impl Into<String>,
        table: Table,
        config: MlpConfig,
        goal: f64,
        device: Device,
    ) -> Self {
        Self {
            name: name.into(),
            source: source.into(),
            task: TableTask::new(table, goal, device),
            config,
        }
    }

    fn loss_of(
        &self,
        model: &Mlp,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Tensor<1> {
        let input = self.task.input(rows, model.dtype(), distortion);
        let input = tape.operation("input", "batch", input);
        let output = model.forward(input, tape);
        let output = tape.operation("output", "linear", output);
        let loss = self.task.loss(output, rows, distortion);
        tape.operation("loss", self.task.loss_name(), loss)
    }
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
                "{}; plain MLP, {depth} hidden layers of {width} {} units, \
                 weights ~ N(0, {init_std}^2)",
                self.source,
                activation.name()
            ),
            activation,
            depth: Some(depth),
            sequence_length: None,
            training_samples: self.task.table.training.len(),
            validation_samples: self.task.table.validation.len(),
            metric: self.task.metric(),
            goal: self.task.goal,
        }
    }

    fn build(&self, structure: &Structure, rng: &mut dyn Rng, device: &Device) -> Mlp {
        self.config.init(
            self.task.table.features,
            self.task.table.outputs(),
            structure,
            rng,
            device,
        )
    }

    fn loss(&self, model: &Mlp, rows: &[usize], tape: &mut Tape) -> Tensor<1> {
        self.loss_of(model, rows, &Distortion::default(), tape)
    }

    fn distorted_loss(
        &self,
        model: &Mlp,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<Tensor<1>> {
        Some(self.loss_of(model, rows, distortion, tape))
    }

    fn stages<'a>(&'a self, model: &'a Mlp, row: usize) -> Option<(Stages<'a>, Tensor<2>)> {
        let clean = Distortion::default();
        model.stages(self.task.input(&[row], model.dtype(), &clean))
    }

    fn bias_std(&self, model: &Mlp) -> f64 {
        model.bias_std()
    }

    fn with_moved_inputs(&self, size: f64, rng: &mut dyn Rng) -> Option<Self> {
        Some(Self {
            task: self.task.with_moved_inputs(size, rng),
            ..self.clone()
        })
    }

    fn computes_in_f64(&self, model: &Mlp) -> bool {
        !model.normalizes()
    }

    fn validate(&self, model: &Mlp) -> f64 {
        let input = self.task.validation_input(model.dtype());
        self.task
            .score(model.valid().forward(input, &mut Tape::off()))
    }

    fn input_rms(&self, rows: &[usize]) -> f64 {
        self.task.input_rms(rows)
    }
}
