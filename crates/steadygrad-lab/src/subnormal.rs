use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use steadygrad::measurements::{MatrixRole, Measurements};
use steadygrad::probe::{Slowdown, Subnormals};

use crate::batches::Batches;
use crate::build::build;
use crate::random::{Purpose, generator, normal};
use crate::tape::Signals;
use crate::{Plan, Subject, Tape};

/// Bound of the multiplications of one timed backward pass: milliseconds with normal signals.
const WORK: usize = 20_000_000;
const MOST_LAYERS: usize = 16;
const REPEATS: usize = 7;

/// The geometric mean of the largest and the smallest subnormal f32.
const SUBNORMAL: f64 = 1.3e-41;

/// Counts subnormal values in the first batch's backward pass, and times how much they slow it
/// down.
pub(crate) fn subnormals<S: Subject>(
    subject: &S,
    plan: &Plan,
    device: &Device,
    measurements: &Measurements,
) -> Subnormals {
    let signals = signals(subject, plan, device);
    let share = |count: u64| count as f64 / signals.values.max(1) as f64;
    Subnormals {
        gradient_share: measurements.subnormal_share,
        signal_share: share(signals.subnormal),
        signal_lost: share(signals.lost),
        slowdown: width(measurements)
            .map(|width| slowdown(width, plan.batch_size, plan.seed, device)),
    }
}

/// The signals of the first batch's backward pass.
fn signals<S: Subject>(subject: &S, plan: &Plan, device: &Device) -> Signals {
    let (model, _) = build(subject, plan, &plan.remedies, device);
    let samples = subject.summary().training_samples;
    let mut batches = Batches::new(samples, plan.batch_size, plan.seed);
    let mut tape = Tape::keeping_subnormals();
    subject.loss_and_gradients(&model, batches.next_batch(), &mut tape);
    tape.signals()
}

/// Units of the repeated layers, or else of the output. `None` without weights.
fn width(measurements: &Measurements) -> Option<usize> {
    let repeated = |role| matches!(role, MatrixRole::Hidden | MatrixRole::Recurrent);
    let weights = &measurements.weights;
    let matrix = weights.iter().find(|matrix| repeated(matrix.role));
    Some(matrix.or(weights.last())?.fan_out)
}

/// Times a backward pass through layers of this width, alternating normal and subnormal signals.
fn slowdown(width: usize, batch_size: usize, seed: u64, device: &Device) -> Slowdown {
    let width = width.max(1);
    let rows = batch_size.min(WORK / (4 * width * width)).max(1);
    let layers = (WORK / (2 * rows * width * width)).clamp(2, MOST_LAYERS);
    let pass = Pass::new([rows, width], layers, seed, &device.clone().inner());
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    // The first pass is not timed: it fills the caches.
    pass.seconds(1.0);
    for _ in 0..REPEATS {
        fast.push(pass.seconds(1.0));
        slow.push(pass.seconds(SUBNORMAL));
    }
    Slowdown {
        factor: median(slow) / median(fast),
        layers,
        width,
        rows,
        repeats: REPEATS,
    }
}

/// The backward pass of dense layers: the weights' gradient, and the signal for the layer before.
struct Pass {
    signal: Tensor<2>,
    activation: Tensor<2>,
    slope: Tensor<2>,
    weights: Tensor<2>,
    layers: usize,
}

impl Pass {
    /// The weights keep the size of a signal.
    fn new([rows, width]: [usize; 2], layers: usize, seed: u64, device: &Device) -> Self {
        let rng = &mut generator(seed, Purpose::Timing);
        Self {
            signal: normal([rows, width], 1.0, rng, device),
            activation: normal([rows, width], 1.0, rng, device),
            slope: Tensor::ones([rows, width], device),
            weights: normal([width, width], (width as f64).sqrt().recip(), rng, device),
            layers,
        }
    }

    fn seconds(&self, size: f64) -> f64 {
        let signal = self.signal.clone() * size;
        let start = Instant::now();
        black_box(self.run(signal).into_data());
        start.elapsed().as_secs_f64()
    }

    fn run(&self, mut signal: Tensor<2>) -> Tensor<2> {
        for _ in 0..self.layers {
            let before = signal.clone() * self.slope.clone();
            let gradient = self.activation.clone().transpose().matmul(before.clone());
            black_box(gradient.into_data());
            signal = before.matmul(self.weights.clone().transpose());
        }
        signal
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use steadygrad::dynamics::Activation;

    use super::*;
    use crate::data::digits;
    use crate::models::MlpConfig;
    use crate::subjects::{TableMlp, TemporalOrderRnn};

    /// Shares of subnormal and of lost signals.
    fn shares<S: Subject>(subject: &S) -> [f64; 2] {
        let plan = Plan {
            seed: 7,
            learning_rate: 0.1,
            optimizer: crate::Optimizer::Sgd,
            schedule: crate::Schedule::default(),
            momentum: 0.0,
            steps: 1,
            batch_size: 16,
            remedies: vec![],
        };
        let found = signals(subject, &plan, &Device::flex().autodiff());
        [found.subnormal, found.lost].map(|count| count as f64 / found.values as f64)
    }

    #[test]
    fn subnormal_signals_are_counted_although_the_scan_sets_them_to_zero() {
        // Each step back shrinks the signal by about 50^(1/2) 0.05 = 0.35, from about 0.01. It is
        // below 1.2e-38 after some 80 steps, and below 1.4e-45 after some 95. So about 15 of 200
        // steps are subnormal, and 105 are lost.
        let [subnormal, lost] = shares(&TemporalOrderRnn::new(200, 50, 0.05, 0.95));
        assert!((0.05..0.10).contains(&subnormal), "{subnormal}");
        assert!((0.45..0.60).contains(&lost), "{lost}");
        let healthy = shares(&TemporalOrderRnn::new(200, 50, 0.15, 0.95));
        assert_eq!(healthy, [0.0, 0.0]);
    }

    #[test]
    fn subnormal_signals_are_counted_through_depth() {
        let network = |init_std| {
            let config = MlpConfig {
                depth: 60,
                width: 64,
                activation: Activation::Linear,
                init_std,
            };
            let device = Device::flex().autodiff();
            TableMlp::new("digits-mlp", "digits", digits(), config, 0.95, device)
        };
        // The signal shrinks tenfold a layer: about seven of sixty layers are subnormal.
        let [subnormal, lost] = shares(&network(0.1 / 8.0));
        assert!((0.06..0.18).contains(&subnormal), "{subnormal}");
        assert!((0.15..0.45).contains(&lost), "{lost}");
        assert_eq!(shares(&network(1.0 / 8.0)), [0.0, 0.0]);
    }

    #[test]
    fn the_timed_signals_stay_in_their_range() {
        let pass = Pass::new([8, 64], MOST_LAYERS, 1, &Device::flex());
        for (size, subnormal) in [(1.0, false), (SUBNORMAL, true)] {
            let end = pass.run(pass.signal.clone() * size).into_data();
            let values: Vec<f32> = end.iter::<f32>().collect();
            // A few values are zero by chance: they are below the smallest subnormal number.
            let kept = values
                .iter()
                .filter(|value| value.is_subnormal() == subnormal);
            assert!(kept.count() as f64 > 0.99 * values.len() as f64, "{size}");
        }
        let found = slowdown(50, 32, 1, &Device::flex());
        assert!(found.factor.is_finite() && found.factor > 0.1, "{found:?}");
        let wide = slowdown(3000, 64, 1, &Device::flex());
        assert_eq!((wide.rows, wide.layers), (1, 2));
    }
}
