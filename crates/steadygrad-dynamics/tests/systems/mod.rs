//! Systems with known exponents, for tests and benchmarks.
#![allow(dead_code)]

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use steadygrad_dynamics::{Block, DynamicsError, Map, TangentSystem, VectorField};

pub(crate) fn logistic(r: f64, x: f64) -> impl TangentSystem {
    Map::new(
        [x],
        move |[x]| [r * x * (1.0 - x)],
        move |[x]| [[r * (1.0 - 2.0 * x)]],
    )
}

pub(crate) fn henon() -> impl TangentSystem {
    let (a, b) = (1.4, 0.3);
    Map::new(
        [0.1, 0.1],
        move |[x, y]| [1.0 - a * x * x + y, b * x],
        move |[x, _]| [[-2.0 * a * x, 1.0], [b, 0.0]],
    )
}

/// Chirikov's standard map. Angles stay within one turn, so that they lose no digits.
pub(crate) fn standard(k: f64, start: [f64; 2]) -> impl TangentSystem {
    let turn = std::f64::consts::TAU;
    Map::new(
        start,
        move |[x, p]| {
            let p = (p + k * x.sin()).rem_euclid(turn);
            [(x + p).rem_euclid(turn), p]
        },
        move |[x, _]| {
            let kick = k * x.cos();
            [[1.0 + kick, 1.0], [kick, 1.0]]
        },
    )
}

/// Roessler's folded-towel map (1979).
pub(crate) fn towel() -> impl TangentSystem {
    Map::new(
        [0.085, -0.121, 0.075],
        |[x, y, z]| {
            [
                3.8 * x * (1.0 - x) - 0.05 * (y + 0.35) * (1.0 - 2.0 * z),
                0.1 * ((y + 0.35) * (1.0 - 2.0 * z) - 1.0) * (1.0 - 1.9 * x),
                3.78 * z * (1.0 - z) + 0.2 * y,
            ]
        },
        |[x, y, z]| {
            [
                [
                    3.8 * (1.0 - 2.0 * x),
                    -0.05 * (1.0 - 2.0 * z),
                    0.1 * (y + 0.35),
                ],
                [
                    -0.19 * ((y + 0.35) * (1.0 - 2.0 * z) - 1.0),
                    0.1 * (1.0 - 2.0 * z) * (1.0 - 1.9 * x),
                    -0.2 * (y + 0.35) * (1.0 - 1.9 * x),
                ],
                [0.0, 0.2, 3.78 * (1.0 - 2.0 * z)],
            ]
        },
    )
}

pub(crate) struct Lorenz;

impl VectorField for Lorenz {
    fn dim(&self) -> usize {
        3
    }
    fn velocity(&self, state: &[f64], out: &mut [f64]) {
        let [x, y, z] = *state else { unreachable!() };
        out.copy_from_slice(&[10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z]);
    }
    fn tangent(&self, state: &[f64], vector: &[f64], out: &mut [f64]) {
        let ([x, y, z], [a, b, c]) = (state_of(state), state_of(vector));
        out.copy_from_slice(&[
            10.0 * (b - a),
            (28.0 - z) * a - b - x * c,
            y * a + x * b - 8.0 / 3.0 * c,
        ]);
    }
}

pub(crate) struct Roessler;

impl VectorField for Roessler {
    fn dim(&self) -> usize {
        3
    }
    fn velocity(&self, state: &[f64], out: &mut [f64]) {
        let [x, y, z] = state_of(state);
        out.copy_from_slice(&[-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)]);
    }
    fn tangent(&self, state: &[f64], vector: &[f64], out: &mut [f64]) {
        let ([x, _, z], [a, b, c]) = (state_of(state), state_of(vector));
        out.copy_from_slice(&[-b - c, a + 0.2 * b, z * a + (x - 5.7) * c]);
    }
}

fn state_of(values: &[f64]) -> [f64; 3] {
    [values[0], values[1], values[2]]
}

fn matrix_of(block: &Block) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(block.values(), block.rows(), block.cols())
}

fn matrix_mut(block: &mut Block) -> MatMut<'_, f64> {
    let (rows, cols) = (block.rows(), block.cols());
    MatMut::from_column_major_slice_mut(block.values_mut(), rows, cols)
}

/// A linear map: the same matrix at every step.
pub(crate) struct LinearMap {
    pub(crate) matrix: Vec<f64>,
    pub(crate) dim: usize,
}

impl TangentSystem for LinearMap {
    fn dim(&self) -> usize {
        self.dim
    }
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let before = block.clone();
        let matrix = MatRef::from_row_major_slice(&self.matrix, self.dim, self.dim);
        matmul(
            matrix_mut(block),
            Accum::Replace,
            matrix,
            matrix_of(&before),
            1.0,
            Par::Seq,
        );
        Ok(())
    }
}

/// Applies one matrix for a number of steps, then another.
pub(crate) struct Turning {
    pub(crate) first: LinearMap,
    pub(crate) then: LinearMap,
    pub(crate) at: usize,
    pub(crate) done: usize,
}

impl TangentSystem for Turning {
    fn dim(&self) -> usize {
        self.first.dim
    }
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        self.done += 1;
        if self.done <= self.at {
            self.first.step(block)
        } else {
            self.then.step(block)
        }
    }
}

/// Layers of different widths, each the leading part of `factor` times the identity.
pub(crate) struct Layers {
    /// The width of the input, then of each layer's output.
    pub(crate) widths: Vec<usize>,
    /// One factor per layer.
    pub(crate) factors: Vec<f64>,
    pub(crate) done: usize,
}

impl Layers {
    pub(crate) fn new(widths: &[usize], factor: impl Fn(usize) -> f64) -> Self {
        Self {
            widths: widths.to_vec(),
            factors: (1..widths.len()).map(factor).collect(),
            done: 0,
        }
    }
}

impl TangentSystem for Layers {
    fn dim(&self) -> usize {
        self.widths[self.done]
    }
    fn remaining(&self) -> Option<usize> {
        Some(self.factors.len() - self.done)
    }
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let factor = self.factors[self.done];
        self.done += 1;
        let before = block.clone();
        block.resize_rows(self.widths[self.done]);
        for (to, from) in block.columns_mut().zip(before.columns()) {
            for (row, to) in to.iter_mut().enumerate() {
                *to = factor * from.get(row).copied().unwrap_or(0.0);
            }
        }
        Ok(())
    }
}

/// `h <- (1 - dt) h + dt J tanh(h)` with `J_ij ~ N(0, g^2 / N)`. `dt = 1` is the map of a plain
/// RNN.
pub(crate) struct RandomRnn {
    coupling: Vec<f64>,
    state: Vec<f64>,
    rates: Vec<f64>,
    scaled: Block,
    dt: f64,
    done: usize,
}

impl RandomRnn {
    pub(crate) fn new(n: usize, g: f64, dt: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let scale = g / (n as f64).sqrt();
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        Self {
            coupling: (0..n * n).map(|_| scale * normal()).collect(),
            state: (0..n).map(|_| normal()).collect(),
            rates: vec![0.0; n],
            scaled: Block::default(),
            dt,
            done: 0,
        }
    }

    /// The largest absolute value of an eigenvalue of `J`. If the state decays to 0, its logarithm
    /// is the exponent.
    pub(crate) fn spectral_radius(&self) -> f64 {
        let n = self.state.len();
        let coupling = MatRef::from_column_major_slice(&self.coupling, n, n);
        let values = coupling.eigenvalues().expect("eigenvalues");
        values.iter().map(|z| z.re.hypot(z.im)).fold(0.0, f64::max)
    }
}

/// The mean-field exponent of such a network with `dt = 1` and `g > 1`:
/// `lambda_1 = 1/2 ln(g^2 E sech^4(sigma z))` with `sigma^2 = g^2 E tanh^2(sigma z)`.
pub(crate) fn mean_field_lambda_1(g: f64) -> f64 {
    let average = |f: &dyn Fn(f64) -> f64| -> f64 {
        let (n, end) = (4_000, 10.0);
        let h = 2.0 * end / f64::from(n);
        (0..=n)
            .map(|i| {
                let z = -end + h * f64::from(i);
                f(z) * (-z * z / 2.0).exp() * h / std::f64::consts::TAU.sqrt()
            })
            .sum()
    };
    let mut sigma = g;
    for _ in 0..500 {
        sigma = g * average(&|z| (sigma * z).tanh().powi(2)).sqrt();
    }
    0.5 * (g * g * average(&|z| (sigma * z).cosh().powi(-4))).ln()
}

impl TangentSystem for RandomRnn {
    fn dim(&self) -> usize {
        self.state.len()
    }
    fn time_step(&self) -> f64 {
        self.dt
    }
    fn step(&mut self, block: &mut Block) -> Result<(), DynamicsError> {
        let (n, dt) = (self.state.len(), self.dt);
        let coupling = MatRef::from_column_major_slice(&self.coupling, n, n);
        for (rate, h) in self.rates.iter_mut().zip(&self.state) {
            *rate = h.tanh();
        }
        if self.scaled.rows() != n || self.scaled.cols() != block.cols() {
            self.scaled = Block::zeros(n, block.cols());
        }
        for (to, from) in self.scaled.columns_mut().zip(block.columns()) {
            for ((to, from), rate) in to.iter_mut().zip(from).zip(&self.rates) {
                *to = from * (1.0 - rate * rate);
            }
        }
        if block.cols() > 0 {
            let accumulate = if dt == 1.0 {
                Accum::Replace
            } else {
                block.values_mut().iter_mut().for_each(|v| *v *= 1.0 - dt);
                Accum::Add
            };
            matmul(
                matrix_mut(block),
                accumulate,
                coupling,
                matrix_of(&self.scaled),
                dt,
                Par::Seq,
            );
        }
        let rates = MatRef::from_column_major_slice(&self.rates, n, 1);
        self.state.iter_mut().for_each(|h| *h *= 1.0 - dt);
        let state = MatMut::from_column_major_slice_mut(&mut self.state, n, 1);
        matmul(state, Accum::Add, coupling, rates, dt, Par::Seq);
        self.done += 1;
        if self.state.iter().all(|value| value.is_finite()) {
            Ok(())
        } else {
            Err(DynamicsError::NonFinite {
                what: "state",
                step: self.done,
            })
        }
    }
}
