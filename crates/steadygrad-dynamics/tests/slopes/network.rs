//! Runs a wide random network forward and backward, for comparison with mean-field theory. The test
//! and the example `gradient_slopes` share it.
#![allow(dead_code, reason = "the test uses less than the example")]

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use steadygrad_dynamics::{Activation, MeanField};

/// One random network.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) activation: Activation,
    pub(crate) sigma_w: f64,
    pub(crate) sigma_b: f64,
    pub(crate) depth: usize,
    pub(crate) seed: u64,
}

/// Slopes of the log gradient norm per layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slopes {
    pub(crate) predicted: f64,
    pub(crate) measured: f64,
    /// The prediction from the fixed point alone, as if every signal had converged.
    pub(crate) settled: f64,
}

/// The grid holds every activation at every weight scale, with and without biases. Each activation
/// has each depth twice. The grid was chosen before any result was known.
pub(crate) fn grid() -> Vec<Case> {
    let depths = [10, 30, 100, 300, 1_000];
    let mut cases = Vec::new();
    for (a, activation) in Activation::ALL.into_iter().enumerate() {
        for (b, sigma_b) in [0.0, 0.3].into_iter().enumerate() {
            for (w, sigma_w) in [0.7, 1.0, 1.4, 2.0, 3.0].into_iter().enumerate() {
                cases.push(Case {
                    activation,
                    sigma_w,
                    sigma_b,
                    depth: depths[(a + 2 * b + w) % 5],
                    seed: cases.len() as u64,
                });
            }
        }
    }
    cases
}

/// `c = a b` or `a^T b`, with a row-major square `a` and column-major `b` and `c`.
pub(crate) type Product = fn(a: &[f64], transposed: bool, b: &[f64], c: &mut [f64], width: usize);

/// Signals beyond this range are scaled back, so that f64 holds a thousand layers.
const HUGE: f64 = 1e100;

impl Case {
    /// Predicts and measures slopes of layers with `width` units. There are `columns` independent
    /// inputs of unit variance, each with a random gradient at the output.
    pub(crate) fn slopes(&self, width: usize, columns: usize, product: Product) -> Slopes {
        let measured = self.measure(width, columns, product);
        let network = MeanField::new(self.activation, self.sigma_w, self.sigma_b).unwrap();
        let q_1 = self.sigma_w.powi(2) + self.sigma_b.powi(2);
        let forecast = network.forecast(q_1, self.depth).unwrap();
        let end = network.fixed_point_from(q_1).unwrap().length();
        Slopes {
            predicted: forecast.gradient_slope().unwrap(),
            measured,
            settled: 0.5 * network.chi_1(end).ln(),
        }
    }

    /// `ln(|dL/dh_1| / |dL/dh_L|) / (L - 1)`, the mean over the columns.
    fn measure(&self, width: usize, columns: usize, product: Product) -> f64 {
        let mut signal = normals(self.seed, u64::MAX, width * columns, 1.0);
        for column in signal.chunks_exact_mut(width) {
            // The variance is exactly 1, so that the size of the input is not random.
            let norm = norm(column);
            column
                .iter_mut()
                .for_each(|x| *x *= (width as f64).sqrt() / norm);
        }
        let mut slopes = Vec::with_capacity(self.depth);
        let mut before = vec![0.0; width * columns];
        for layer in 0..self.depth {
            product(
                &self.weights(layer, width),
                false,
                &signal,
                &mut before,
                width,
            );
            let biases = normals(self.seed, 2 * layer as u64 + 1, width, self.sigma_b);
            for column in before.chunks_exact_mut(width) {
                column.iter_mut().zip(&biases).for_each(|(h, b)| *h += b);
                self.rescale(column);
            }
            slopes.push(
                before
                    .iter()
                    .map(|h| self.activation.slope(*h))
                    .collect::<Vec<f64>>(),
            );
            signal = before.iter().map(|h| self.activation.value(*h)).collect();
        }
        let mut gradient = normals(self.seed, u64::MAX - 1, width * columns, 1.0);
        let mut logs = 0.0;
        let mut back = vec![0.0; width * columns];
        gradient
            .chunks_exact_mut(width)
            .for_each(|column| _ = unit(column));
        for layer in (1..self.depth).rev() {
            product(
                &self.weights(layer, width),
                true,
                &gradient,
                &mut back,
                width,
            );
            for (g, slope) in back.iter_mut().zip(&slopes[layer - 1]) {
                *g *= slope;
            }
            logs += back.chunks_exact_mut(width).map(unit).sum::<f64>();
            std::mem::swap(&mut gradient, &mut back);
        }
        logs / (columns * (self.depth - 1)) as f64
    }

    /// Scales a huge or tiny signal back into range. At a huge size every activation is linear on
    /// each side of zero, and rounding absorbs the biases, so scaling changes no slope. A bias or
    /// `phi(0)` keeps signals from becoming tiny; only signals without both are scaled up.
    fn rescale(&self, column: &mut [f64]) {
        let size = norm(column);
        if size > HUGE {
            column.iter_mut().for_each(|h| *h *= HUGE.sqrt() / size);
        } else if size < HUGE.recip() && self.sigma_b == 0.0 && size > 0.0 {
            column.iter_mut().for_each(|h| *h /= HUGE.sqrt() * size);
        }
    }

    /// Samples a layer's weights. The backward pass samples them again, because a thousand layers
    /// would not fit into memory.
    fn weights(&self, layer: usize, width: usize) -> Vec<f64> {
        let std = self.sigma_w / (width as f64).sqrt();
        normals(self.seed, 2 * layer as u64, width * width, std)
    }
}

fn normals(seed: u64, stream: u64, count: usize, std: f64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let normal = |_| -> f64 { StandardNormal.sample(&mut rng) };
    (0..count).map(normal).map(|z: f64| std * z).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Scales the values to a unit vector and returns the log of the previous norm.
fn unit(values: &mut [f64]) -> f64 {
    let size = norm(values);
    values.iter_mut().for_each(|value| *value /= size);
    size.ln()
}
