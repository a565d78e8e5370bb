use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use rand::Rng;
use steadygrad::cure::Goal;
use steadygrad::dynamics::{Activation, Axis};
use steadygrad::measurements::MatrixRole;
use steadygrad_burn::Stages;

use crate::Tape;
use crate::faults::Distortion;

/// What the lab must know about a subject before it builds a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Short name.
    pub name: String,
    /// One line about data and model.
    pub description: String,
    /// Activation of the repeated layers: its critical gain is what initialisation aims at.
    pub activation: Activation,
    /// Number of repeated layers, if [`Subject::build`] obeys [`Structure::depth`] and
    /// [`Structure::rms_norm_every`]. `None` leaves these two remedies out.
    pub depth: Option<usize>,
    /// Number of time steps, for a recurrent model. Its growth is then measured through time.
    pub sequence_length: Option<usize>,
    /// Rows that training may ask for: `0..training_samples`.
    pub training_samples: usize,
    /// Rows that [`Subject::validate`] uses.
    pub validation_samples: usize,
    /// Name of the validation metric. Larger must be better.
    pub metric: &'static str,
    /// When the metric counts as solved.
    pub goal: Goal,
}

impl Summary {
    /// What growth is measured along: time where there are time steps, else depth.
    pub fn growth_axis(&self) -> Axis {
        match self.sequence_length {
            Some(_) => Axis::Time,
            None => Axis::Depth,
        }
    }
}

/// What a remedy changes in a model's structure. The default changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Structure {
    /// This many repeated layers in place of the subject's own number.
    pub depth: Option<usize>,
    /// RMSNorm before the activation of every n-th repeated layer, from the first.
    pub rms_norm_every: Option<usize>,
    /// Stop the backward pass through time after so many steps.
    pub bptt_steps: Option<usize>,
}

impl Structure {
    /// Whether repeated layer `index` (from 0) is to be normalised.
    pub fn normalizes(&self, index: usize) -> bool {
        self.rms_norm_every
            .is_some_and(|every| index.is_multiple_of(every.max(1)))
    }

    /// Whether it changes the number of the repeated layers, or the layers themselves.
    pub(crate) fn changes_layers(&self) -> bool {
        self.depth.is_some() || self.rms_norm_every.is_some()
    }

    /// What `other` leaves open is as it is here.
    pub(crate) fn overridden_by(self, other: Self) -> Self {
        Self {
            depth: other.depth.or(self.depth),
            rms_norm_every: other.rms_norm_every.or(self.rms_norm_every),
            bptt_steps: other.bptt_steps.or(self.bptt_steps),
        }
    }
}

/// A model with its data: what `cure` can be run on.
pub trait Subject: Send + Sync {
    /// The Burn module that is trained.
    type Model: Module + 'static;

    /// Fixed facts.
    fn summary(&self) -> Summary;

    /// Builds an untrained model on `device`.
    ///
    /// Draw weights from `rng`, or use Burn's own initializers: the lab seeds Burn's generator
    /// as well and builds one model at a time, so both give the same weights for the same seed.
    fn build(&self, structure: &Structure, rng: &mut dyn Rng, device: &Device) -> Self::Model;

    /// Mean loss of the model on these training rows. Pass each repeated layer's output through
    /// [`Tape::watch`], so that growth can be measured.
    fn loss(&self, model: &Self::Model, rows: &[usize], tape: &mut Tape) -> Tensor<1>;

    /// The validation metric of the model; NaN when its predictions are not finite.
    fn validate(&self, model: &Self::Model) -> f64;

    /// Root mean square of the input on these training rows.
    fn input_rms(&self, rows: &[usize]) -> f64;

    /// The repeated layers (or time steps) as stages, and the state that enters the first of them
    /// on this training row (`[1, width]`). Growth spectra are measured on it; `None` leaves them
    /// out.
    fn stages<'a>(
        &'a self,
        _model: &'a Self::Model,
        _row: usize,
    ) -> Option<(Stages<'a>, Tensor<2>)> {
        None
    }

    /// The same subject with each training input `x` moved in a random direction of its own, by
    /// `size |x|`; of a sequence, the input of the first time step. In f64 where
    /// [`Subject::computes_in_f64`]. Twins train on it; `None` leaves those out whose inputs differ.
    fn with_moved_inputs(&self, _size: f64, _rng: &mut dyn Rng) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Standard deviation of what is added to the repeated layers' weighted sums: their biases,
    /// and, for a recurrent network, its input. Mean-field theory's `sigma_b`.
    fn bias_std(&self, _model: &Self::Model) -> f64 {
        0.0
    }

    /// What a weight matrix does. `None` leaves it to the order: the first reads the input, the
    /// last writes the output, those between are hidden.
    fn role(&self, _parameter: &str) -> Option<MatrixRole> {
        None
    }

    /// Loss and gradients on these rows, by Burn's autodiff. A subject with a faster backward
    /// pass of its own replaces this.
    fn loss_and_gradients(
        &self,
        model: &Self::Model,
        rows: &[usize],
        tape: &mut Tape,
    ) -> (f64, GradientsParams) {
        let loss = self.loss(model, rows, tape);
        tape.backward(loss, model)
    }

    /// [`Subject::loss`] on these rows as a faulty data pipeline would deliver them. A replay runs
    /// it on a tape of operations: pass each operation's output through [`Tape::operation`], and it
    /// can name the one that went wrong.
    ///
    /// `None` when the subject has no way to distort its data: the default, for every distortion
    /// that changes something.
    fn distorted_loss(
        &self,
        model: &Self::Model,
        rows: &[usize],
        distortion: &Distortion,
        tape: &mut Tape,
    ) -> Option<Tensor<1>> {
        distortion.is_none().then(|| self.loss(model, rows, tape))
    }

    /// [`Subject::loss_and_gradients`] on these rows as a faulty data pipeline would deliver them.
    /// With a distortion that changes nothing it gives the very same numbers.
    ///
    /// `None` when the subject has no way to distort its data.
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

    /// Whether [`Subject::loss_and_gradients`] computes in f64, throughout, when the trainable
    /// parameters of this model are cast to f64: all tensors of its own must then be made in the
    /// parameters' type. Curvature and twins are measured in f64 where they can be.
    fn computes_in_f64(&self, _model: &Self::Model) -> bool {
        false
    }

    /// Whether [`Subject::distorted_loss`] computes in f64, throughout, when the trainable parameters
    /// of this model are cast to f64: a replay in f64 needs it.
    fn loss_in_f64(&self, model: &Self::Model) -> bool {
        self.computes_in_f64(model)
    }

    /// Multiplications of one training step on one sample, up to a constant: for comparing the
    /// cost of remedies without a clock.
    fn work(&self, model: &Self::Model) -> f64 {
        model.num_params() as f64
    }
}
