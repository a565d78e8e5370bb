use serde::{Deserialize, Serialize};

/// An activation function whose critical gain is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// The identity: a deep linear network.
    Linear,
}

impl Activation {
    /// Its name, as in a study.
    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Tanh => "tanh",
            Activation::Linear => "linear",
        }
    }

    /// The gain `sigma_w = std * sqrt(fan_in)` at which a wide random network without biases
    /// neither amplifies nor damps: `chi_1 = sigma_w^2 E[phi'(sqrt(q*) z)^2] = 1`.
    ///
    /// ReLU passes half of the squared signal at any scale, so `sqrt 2` (He et al., 2015). For
    /// tanh the critical fixed point is `q* = 0`, where `phi' = 1`, so 1 (Poole et al., 2016).
    pub fn critical_gain(self) -> f64 {
        match self {
            Activation::Relu => std::f64::consts::SQRT_2,
            Activation::Tanh | Activation::Linear => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    /// Brute force: the backward growth of wide random layers at a small signal.
    fn measured_growth(activation: Activation, gain: f64) -> f64 {
        let (width, layers) = (400, 6);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let mut log_growth = 0.0;
        let mut signal: Vec<f64> = (0..width).map(|_| 1e-3 * normal()).collect();
        for _ in 0..layers {
            let scale = gain / (width as f64).sqrt();
            let mut after = vec![0.0; width];
            let mut squared = 0.0;
            let tangent: Vec<f64> = (0..width).map(|_| normal()).collect();
            let size: f64 = tangent.iter().map(|value| value * value).sum();
            for out in &mut after {
                let row: Vec<f64> = (0..width).map(|_| scale * normal()).collect();
                let sum: f64 = row.iter().zip(&signal).map(|(w, x)| w * x).sum();
                let moved: f64 = row.iter().zip(&tangent).map(|(w, x)| w * x).sum();
                let (value, slope) = match activation {
                    Activation::Relu => (sum.max(0.0), f64::from(u8::from(sum > 0.0))),
                    Activation::Tanh => (sum.tanh(), 1.0 - sum.tanh().powi(2)),
                    Activation::Linear => (sum, 1.0),
                };
                *out = value;
                squared += (slope * moved).powi(2);
            }
            log_growth += 0.5 * (squared / size).ln();
            signal = after;
        }
        (log_growth / f64::from(layers)).exp()
    }

    #[test]
    fn at_the_critical_gain_wide_random_layers_neither_grow_nor_shrink() {
        for activation in [Activation::Relu, Activation::Tanh, Activation::Linear] {
            let gain = activation.critical_gain();
            let growth = measured_growth(activation, gain);
            assert!((growth - 1.0).abs() < 0.04, "{activation:?}: {growth}");
            // The control: off the critical gain the growth follows the gain.
            let off = measured_growth(activation, 1.3 * gain);
            assert!((off / 1.3 - 1.0).abs() < 0.04, "{activation:?}: {off}");
        }
    }
}
