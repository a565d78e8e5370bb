//! The remedies that the lab can apply: one file each, and one line in [`ALL`].
//!
//! A file says what its remedy changes in a run ([`Effect`]) and how a study writes it
//! ([`StudyForm`](crate::study::key::StudyForm)). `build` puts the effects into a model and hands
//! on those that act at each step.

mod cap_spectral_norm;
mod clip_global_norm;
mod critical_init;
pub(crate) mod effect;
mod lower_learning_rate;
mod reduce_depth;
mod rms_norm;
mod scale_residual;
mod truncate_bptt;

use steadygrad::remedy::Remedy;

use crate::Structure;
use effect::{Effect, LabRemedy};

/// Every remedy, in the order in which a study prints their keys.
pub(crate) static ALL: [LabRemedy; 8] = [
    clip_global_norm::REMEDY,
    cap_spectral_norm::REMEDY,
    critical_init::REMEDY,
    scale_residual::REMEDY,
    rms_norm::REMEDY,
    reduce_depth::REMEDY,
    truncate_bptt::REMEDY,
    lower_learning_rate::REMEDY,
];

/// What this remedy changes in a run.
///
/// # Panics
/// For a remedy that is not in [`ALL`]: a run without its remedy would pass for a treated one.
pub(crate) fn effect_of(remedy: &Remedy) -> Effect {
    ALL.iter()
        .find_map(|entry| (entry.effect)(remedy))
        .unwrap_or_else(|| unimplemented!("the lab cannot apply this remedy: {remedy}"))
}

/// The structure that these remedies ask for. The last one decides where two disagree.
pub(crate) fn structure_of(remedies: &[Remedy]) -> Structure {
    remedies
        .iter()
        .map(|remedy| effect_of(remedy).structure)
        .fold(Structure::default(), Structure::overridden_by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_remedies_decides_and_the_others_stay() {
        let structure = structure_of(&[
            Remedy::ReduceDepth { depth: 7 },
            Remedy::RmsNorm { every: 2 },
            Remedy::ClipGlobalNorm { max_norm: 1.0 },
            Remedy::ReduceDepth { depth: 3 },
        ]);
        let expected = Structure {
            depth: Some(3),
            rms_norm_every: Some(2),
            bptt_steps: None,
        };
        assert_eq!(structure, expected);
        assert_eq!(structure_of(&[]), Structure::default());
    }

    #[test]
    fn each_remedy_belongs_to_one_line_of_the_list() {
        for remedy in [
            Remedy::ClipGlobalNorm { max_norm: 1.0 },
            Remedy::CapSpectralNorm {
                max_spectral_norm: 1.0,
            },
            Remedy::CriticalInit {
                gain: 1.0,
                input_rms: 1.0,
            },
            Remedy::ScaleResidual { scale: 0.5 },
            Remedy::RmsNorm { every: 1 },
            Remedy::ReduceDepth { depth: 2 },
            Remedy::TruncateBptt { time_steps: 4 },
            Remedy::LowerLearningRate { learning_rate: 0.1 },
        ] {
            let lines = ALL.iter().filter(|entry| (entry.effect)(&remedy).is_some());
            assert_eq!(lines.count(), 1, "{remedy}");
        }
    }
}
