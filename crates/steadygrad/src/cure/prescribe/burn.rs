use super::literal;
use crate::remedy::Remedy;

/// Rust for Burn 0.22: items to paste into a module, below a comment that says what calls them.
pub(super) fn snippet(remedy: &Remedy) -> String {
    match *remedy {
        Remedy::ClipGlobalNorm { max_norm } => {
            CLIP_GLOBAL_NORM.replace("$max_norm", &literal(max_norm))
        }
        Remedy::CapSpectralNorm { max_spectral_norm } => {
            CAP_SPECTRAL_NORM.replace("$max_spectral_norm", &literal(max_spectral_norm))
        }
        Remedy::CriticalInit { gain, input_rms } => CRITICAL_INIT
            .replace("$gain", &gain_literal(gain))
            .replace("$input_rms", &literal(input_rms)),
        Remedy::ScaleResidual { scale } => SCALE_RESIDUAL.replace("$scale", &literal(scale)),
        Remedy::RmsNorm { every } => RMS_NORM.replace("$every", &every.to_string()),
        Remedy::ReduceDepth { depth } => REDUCE_DEPTH.replace("$depth", &depth.to_string()),
        Remedy::TruncateBptt { time_steps } => {
            TRUNCATE_BPTT.replace("$time_steps", &time_steps.to_string())
        }
        Remedy::LowerLearningRate { learning_rate } => {
            LOWER_LEARNING_RATE.replace("$learning_rate", &literal(learning_rate))
        }
    }
}

/// The gain of ReLU by its name: clippy denies a literal that comes close to it.
fn gain_literal(gain: f64) -> String {
    if gain == std::f64::consts::SQRT_2 {
        "std::f64::consts::SQRT_2".into()
    } else {
        literal(gain)
    }
}

const CLIP_GLOBAL_NORM: &str = "\
// Before each optimizer step: `let grads = clip_global_norm(&model, grads);`
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

const MAX_NORM: f64 = $max_norm;

struct GlobalNorm {
    grads: GradientsParams,
    norm: f64,
    scale: Option<f64>,
}

impl ModuleVisitor for GlobalNorm {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else {
            return;
        };
        if let Some(scale) = self.scale {
            self.grads.register(param.id, grad.mul_scalar(scale));
            return;
        }
        // Divided by the largest value first: the squares of an exploding gradient overflow f32.
        let peak: f64 = grad.clone().max_abs().into_scalar();
        if peak != 0.0 {
            let relative: f64 = grad.div_scalar(peak).square().sum().into_scalar();
            self.norm = self.norm.hypot(peak * relative.sqrt());
        }
    }
}

fn clip_global_norm<M: Module>(model: &M, grads: GradientsParams) -> GradientsParams {
    let (norm, scale) = (0.0, None);
    let mut visitor = GlobalNorm { grads, norm, scale };
    model.visit(&mut visitor);
    if visitor.norm.is_finite() && visitor.norm > MAX_NORM {
        visitor.scale = Some(MAX_NORM / visitor.norm);
        model.visit(&mut visitor);
    }
    visitor.grads
}
";

const CAP_SPECTRAL_NORM: &str = "\
// Before the first step and after each optimizer step, for every repeated weight matrix: without the
// first, one step may be too many. `direction` starts as `None` and is kept from step to step, one a
// matrix: the singular vector moves little, so one iteration follows.
use burn::module::Param;
use burn::tensor::{Int, Tensor};

const MAX_SPECTRAL_NORM: f64 = $max_spectral_norm;

fn cap_spectral_norm(weight: &mut Param<Tensor<2>>, direction: &mut Option<Tensor<2>>) {
    let w = weight.val().inner();
    let (iterations, mut v) = match direction.take() {
        Some(v) => (1, v),
        None => {
            let start = Tensor::<1, Int>::arange(1..w.dims()[1] as i64 + 1, &w.device());
            (30, start.float().sin().unsqueeze_dim(1))
        }
    };
    for _ in 0..iterations {
        v = w.clone().transpose().matmul(w.clone().matmul(v));
        v = v.clone() / v.square().sum().sqrt().unsqueeze();
    }
    let norm: f64 = w.matmul(v.clone()).square().sum().sqrt().into_scalar();
    *direction = (norm > 0.0).then_some(v);
    if norm > MAX_SPECTRAL_NORM {
        let scale = MAX_SPECTRAL_NORM / norm;
        let scaled = |w: Tensor<2>| (w.set_require_grad(false) * scale).require_grad();
        *weight = weight.clone().map(scaled);
    }
}
";

const CRITICAL_INIT: &str = "\
// Once, on the untrained model. A recurrent network gives its recurrent matrix as `repeated`, and
// `None` for the other two.
use burn::module::Param;
use burn::tensor::Tensor;

const GAIN: f64 = $gain;
const INPUT_RMS: f64 = $input_rms;

fn critical_init<'a>(
    repeated: impl IntoIterator<Item = &'a mut Param<Tensor<2>>>,
    first: Option<&mut Param<Tensor<2>>>,
    output: Option<&mut Param<Tensor<2>>>,
) {
    for weight in repeated {
        set_gain(weight, GAIN);
    }
    if let Some(weight) = first {
        set_gain(weight, GAIN / INPUT_RMS);
    }
    if let Some(weight) = output {
        set_gain(weight, 1.0);
    }
}

/// Scales a weight of shape `[fan_in, fan_out]` to the standard deviation `gain / sqrt(fan_in)`.
fn set_gain(weight: &mut Param<Tensor<2>>, gain: f64) {
    let norm: f64 = weight.val().square().sum().sqrt().into_scalar();
    let scale = gain * (weight.dims()[1] as f64).sqrt() / norm;
    if scale.is_finite() {
        let scaled = |w: Tensor<2>| (w.set_require_grad(false) * scale).require_grad();
        *weight = weight.clone().map(scaled);
    }
}
";

const SCALE_RESIDUAL: &str = "\
// In the model's forward, for every residual block: `x = scale_residual(x.clone(), block.forward(x));`
// in the place of `x = block.forward(x);`.
use burn::tensor::Tensor;

const RESIDUAL_SCALE: f64 = $scale;

fn scale_residual<const D: usize>(input: Tensor<D>, output: Tensor<D>) -> Tensor<D> {
    input.clone() + (output - input) * RESIDUAL_SCALE
}
";

const RMS_NORM: &str = "\
// Each repeated layer gets a field `norm: Option<RmsNorm>`, built by `layer_norm(index, width,
// device)`, and runs `before = normalize(&self.norm, before)` right before its activation. The cell
// of a recurrent network is layer 0, at every time step.
use burn::nn::{RmsNorm, RmsNormConfig};
use burn::tensor::{Device, Tensor};

const EVERY: usize = $every;

fn layer_norm(index: usize, width: usize, device: &Device) -> Option<RmsNorm> {
    let normalized = index.is_multiple_of(EVERY);
    normalized.then(|| RmsNormConfig::new(width).init(device))
}

fn normalize<const D: usize>(norm: &Option<RmsNorm>, before: Tensor<D>) -> Tensor<D> {
    match norm {
        Some(norm) => norm.forward(before),
        None => before,
    }
}
";

const REDUCE_DEPTH: &str = "\
// Where the model is built: `reduce_depth(&mut model.hidden);`, with the layers that end in an
// activation, the one that reads the input included. All must have the same width.
const DEPTH: usize = $depth;

fn reduce_depth<Layer>(hidden: &mut Vec<Layer>) {
    hidden.truncate(DEPTH);
}
";

const TRUNCATE_BPTT: &str = "\
// First in the loop over the time steps `t in 0..steps`: `state = truncate_bptt(state, t, steps);`.
// For a loss on the last state; with a loss at every step, detach whenever `t % TIME_STEPS == 0`.
use burn::tensor::Tensor;

const TIME_STEPS: usize = $time_steps;

fn truncate_bptt<const D: usize>(state: Tensor<D>, t: usize, steps: usize) -> Tensor<D> {
    match t + TIME_STEPS == steps {
        true => state.detach(),
        false => state,
    }
}
";

const LOWER_LEARNING_RATE: &str = "\
// At each optimizer step: `model = optimizer.step(LEARNING_RATE, model, grads);`
const LEARNING_RATE: f64 = $learning_rate;
";
