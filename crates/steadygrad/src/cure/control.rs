//! The trivial controls every remedy is shown beside.

use crate::measurements::TrainingSetup;
use crate::remedy::Remedy;

/// What everybody tries first.
pub const CLIP_ONE: Remedy = Remedy::ClipGlobalNorm { max_norm: 1.0 };

/// A remedy drawn blindly: a random family with a parameter drawn over the range people use.
///
/// `uniform` are two numbers in `0..1` from the caller's own seeded generator.
pub fn random_remedy(uniform: [f64; 2], setup: &TrainingSetup) -> Remedy {
    let [pick, value] = uniform.map(|u| u.clamp(0.0, 1.0 - f64::EPSILON));
    let log_uniform = |low: f64, high: f64| low * (high / low).powf(value);
    let up_to = |largest: usize| 1 + (value * largest as f64) as usize;
    match (pick * 6.0) as usize {
        0 => Remedy::ClipGlobalNorm {
            max_norm: log_uniform(1e-3, 1e3),
        },
        1 => Remedy::CapSpectralNorm {
            max_spectral_norm: log_uniform(0.1, 10.0),
        },
        2 => Remedy::CriticalInit {
            gain: log_uniform(0.1, 10.0),
            input_rms: 1.0,
        },
        3 => Remedy::RmsNorm {
            every: up_to(setup.depth.unwrap_or(1)),
        },
        4 => match setup.sequence_length {
            Some(length) => Remedy::TruncateBptt {
                time_steps: up_to(length),
            },
            None => Remedy::ReduceDepth {
                depth: up_to(setup.depth.unwrap_or(1)),
            },
        },
        _ => Remedy::LowerLearningRate {
            learning_rate: log_uniform(1e-6, 1.0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::setup;
    use super::*;
    use crate::remedy::Family;

    #[test]
    fn every_family_can_be_drawn_and_stays_in_range() {
        for (index, family) in Family::ALL.into_iter().enumerate() {
            for value in [0.0, 0.5, 1.0, f64::NAN] {
                let remedy = random_remedy([index as f64 / 6.0 + 0.01, value], &setup());
                assert_eq!(remedy.family(), family);
                match remedy {
                    Remedy::RmsNorm { every } => assert!((1..=30).contains(&every)),
                    Remedy::ReduceDepth { depth } => assert!((1..=30).contains(&depth)),
                    _ => (),
                }
            }
        }
    }
}
