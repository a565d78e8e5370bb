use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use steadygrad::cure::{Goal, SubjectSummary};
use steadygrad::dynamics::{Activation, Axis};
use steadygrad::measurements::MatrixRole;
use steadygrad_burn::Stages;

use crate::Tape;
use crate::faults::Distortion;

/// Facts about a subject that the lab needs before it builds a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The subject's short name.
    pub name: String,
    /// One line about the data and the model.
    pub description: String,
    /// Activation of the repeated layers. The initialisation remedy aims at its critical gain.
    pub activation: Activation,
    /// Number of repeated layers, if [`Subject::build`] obeys [`Structure::depth`] and
    /// [`Structure::rms_norm_every`]. With `None` these two remedies are not tried.
    pub depth: Option<usize>,
    /// Number of time steps of a recurrent model. Growth is then measured through time.
    pub sequence_length: Option<usize>,
    /// Number of training rows: training asks for rows in `0..training_samples`.
    pub training_samples: usize,
    /// Number of rows that [`Subject::validate`] uses.
    pub validation_samples: usize,
    /// Name of the validation metric, of which larger values are better.
    pub metric: &'static str,
    /// The metric that counts as solved, and the one that a trivial model reaches.
    pub goal: Goal,
}

impl Summary {
    /// The axis along which growth is measured: time for a recurrent model, else depth.
    pub fn growth_axis(&self) -> Axis {
        match self.sequence_length {
            Some(_) => Axis::Time,
            None => Axis::Depth,
        }
    }

    /// The subject as a report shows it.
    pub(crate) fn with_parameters(self, parameters: usize) -> SubjectSummary {
        SubjectSummary {
            name: self.name,
            description: self.description,
            parameters,
            metric: self.metric.into(),
            goal: self.goal,
            training_samples: self.training_samples,
            validation_samples: self.validation_samples,
        }
    }
}

/// A remedy's changes of a model's structure. The default changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Structure {
    /// Number of repeated layers, instead of the subject's own.
    pub depth: Option<usize>,
    /// RMSNorm before the activation of every n-th repeated layer, starting at the first.
    pub rms_norm_every: Option<usize>,
    /// Number of time steps after which the backward pass stops.
    pub bptt_steps: Option<usize>,
}

impl Structure {
    /// Whether to normalise repeated layer `index`, counted from 0.
    pub fn normalizes(&self, index: usize) -> bool {
        self.rms_norm_every
            .is_some_and(|every| index.is_multiple_of(every.max(1)))
    }

    /// Whether it changes the repeated layers or their number.
    pub(crate) fn changes_layers(&self) -> bool {
        self.depth.is_some() || self.rms_norm_every.is_some()
    }

    /// The settings of `other`, and these where `other` has none.
    pub(crate) fn overridden_by(self, other: Self) -> Self {
        Self {
            depth: other.depth.or(self.depth),
            rms_norm_every: other.rms_norm_every.or(self.rms_norm_every),
            bptt_steps: other.bptt_steps.or(self.bptt_steps),
        }
    }
}

/// A model with its data, which the lab can measure, train and cure.
pub trait Subject: Send + Sync {
    /// The Burn module that is trained.
    type Model: Module + 'static;

    /// Facts that do not change.
    fn summary(&self) -> Summary;

    /// Builds an untrained model on `device`.
    ///
    /// Draw weights from `rng`, or use Burn's own initializers. The lab also seeds Burn's generator
    /// and builds one model at a time, so that the same seed gives the same weights in both cases.
    fn build(&self, structure: &Structure, rng: &mut dyn Rng, device: &Device) -> Self::Model;

    /// Mean loss of the model on these training rows.
    ///
    /// Pass each repeated layer's output through [`Tape::watch`], so that growth can be measured.
    fn loss(&self, model: &Self::Model, rows: &[usize], tape: &mut Tape) -> Tensor<1>;

    /// Validation metric of the model; NaN if its predictions are not finite.
    fn validate(&self, model: &Self::Model) -> f64;

    /// Root mean square of the input on these training rows.
    fn input_rms(&self, rows: &[usize]) -> f64;

    /// The repeated layers or time steps as stages, and the state that enters the first one on this
    /// training row (`[1, width]`). Growth spectra are measured on them; `None` skips the spectra.
    fn stages<'a>(
        &'a self,
        _model: &'a Self::Model,
        _row: usize,
    ) -> Option<(Stages<'a>, Tensor<2>)> {
        None
    }

    /// The subject with each training input `x` moved by `size |x|` in its own random direction. Of
    /// a sequence only the input of the first time step moves.
    ///
    /// The inputs are f64 if [`Subject::computes_in_f64`]. Twins train on them; `None` skips the
    /// twins whose inputs differ.
    fn with_moved_inputs(&self, _size: f64, _rng: &mut dyn Rng) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Mean-field theory's `sigma_b`: the standard deviation of the repeated layers' biases, plus
    /// that of the input for a recurrent network.
    fn bias_std(&self, _model: &Self::Model) -> f64 {
        0.0
    }

    /// Role of a weight matrix. With `None` the first matrix reads the input, the last one writes
    /// the output and the others are hidden.
    fn role(&self, _parameter: &str) -> Option<MatrixRole> {
        None
    }

    /// Loss and gradients on these rows, by Burn's autodiff. Override it for a faster backward
    /// pass.
    fn loss_and_gradients(
        &self,
        model: &Self::Model,
        rows: &[usize],
        tape: &mut Tape,
    ) -> (f64, GradientsParams) {
        let loss = self.loss(model, rows, tape);
        tape.backward(loss, model)
    }

    /// [`Subject::loss`] on these rows after a faulty data pipeline.
    ///
    /// A replay runs it on a tape of operations. Pass each operation's output through
    /// [`Tape::operation`], so that the replay can name the operation that failed.
    ///
    /// `None` if the subject cannot distort its data. By default it cannot.
    fn distorted_loss(
        &self,
        model: &Self::Model,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<Tensor<1>> {
        distortion.is_none().then(|| self.loss(model, rows, tape))
    }

    /// [`Subject::loss_and_gradients`] on these rows after a faulty data pipeline. A distortion
    /// that changes nothing gives the same numbers to the bit.
    ///
    /// `None` if the subject cannot distort its data.
    fn distorted_loss_and_gradients(
        &self,
        model: &Self::Model,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<(f64, GradientsParams)> {
        if distortion.is_none() {
            return Some(self.loss_and_gradients(model, rows, tape));
        }
        let loss = self.distorted_loss(model, rows, distortion, tape)?;
        Some(tape.backward(loss, model))
    }

    /// Whether [`Subject::loss_and_gradients`] computes in f64 throughout once this model's
    /// trainable parameters are cast to f64. All other tensors must then take the parameters' type.
    /// Sharpness and twins are measured in f64 if this is true.
    fn computes_in_f64(&self, _model: &Self::Model) -> bool {
        false
    }

    /// Whether [`Subject::distorted_loss`] computes in f64 throughout once this model's trainable
    /// parameters are cast to f64. A replay in f64 needs it.
    fn loss_in_f64(&self, model: &Self::Model) -> bool {
        self.computes_in_f64(model)
    }

    /// Multiplications of one training step on one sample, up to a constant factor. They compare
    /// the cost of remedies without a clock.
    fn work(&self, model: &Self::Model) -> f64 {
        model.num_params() as f64
    }
}
