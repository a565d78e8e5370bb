//! Random numbers from named streams. The same seed gives the same weights, whatever was drawn from
//! other streams.

use burn::tensor::Device;
use burn::tensor::{Tensor, TensorData};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The purpose of a generator. Each purpose has its own stream of a seed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Weights = 1,
    Batches = 2,
    Split = 3,
    Control = 4,
    Power = 5,
    Twin = 6,
    Timing = 7,
    /// The value that a fault hits.
    Fault = 8,
}

/// The generator of a seed and purpose.
pub(crate) fn generator(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// A matrix of normal numbers with mean 0 and this standard deviation.
pub(crate) fn normal(shape: [usize; 2], std: f64, rng: &mut dyn Rng, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = normal_values(shape[0] * shape[1], std, rng);
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Normal numbers with mean 0 and this standard deviation.
pub(crate) fn normal_values(count: usize, std: f64, rng: &mut dyn Rng) -> Vec<f32> {
    (0..count)
        .map(|_| {
            let value: f64 = StandardNormal.sample(rng);
            (std * value) as f32
        })
        .collect()
}

/// Shuffles a list (Fisher and Yates).
pub(crate) fn shuffle<R: Rng, T>(list: &mut [T], rng: &mut R) {
    for last in (1..list.len()).rev() {
        list.swap(last, rng.random_range(0..=last));
    }
}
