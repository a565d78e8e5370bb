//! Trivial controls that every remedy must beat.

use crate::measurements::TrainingSetup;
use crate::remedy::{ClipGlobalNorm, Family, Remedy, RemedyKind};

/// Clipping the global norm at 1, which most people try first.
pub const CLIP_ONE: Remedy = Remedy::ClipGlobalNorm(ClipGlobalNorm { max_norm: 1.0 });

/// Samples a remedy at random: a family, one of its remedies, and parameters from the usual range.
///
/// `uniform` holds two numbers in `0..1` from the caller's seeded generator. Numbers outside this
/// range are clamped. If the second is NaN, the parameters are NaN or 1.
pub fn random_remedy(uniform: [f64; 2], setup: &TrainingSetup) -> Remedy {
    let [pick, value] = uniform.map(|u| u.clamp(0.0, 1.0 - f64::EPSILON));
    let place = pick * Family::ALL.len() as f64;
    let family = Family::ALL[place as usize];
    let drawn: Vec<Remedy> = RemedyKind::of_family(family)
        .filter_map(|kind| kind.draw(value, setup))
        .collect();
    let among = (place.fract() * drawn.len() as f64) as usize;
    drawn.get(among).copied().unwrap_or(CLIP_ONE)
}

#[cfg(test)]
mod tests {
    use super::super::testing::setup;
    use super::*;
    use crate::remedy::{ReduceDepth, RmsNorm};

    #[test]
    fn every_family_can_be_drawn_and_stays_in_range() {
        for (index, family) in Family::ALL.into_iter().enumerate() {
            for value in [0.0, 0.5, 1.0, f64::NAN] {
                let remedy = random_remedy([index as f64 / 6.0 + 0.01, value], &setup());
                assert_eq!(remedy.family(), family);
                match remedy {
                    Remedy::RmsNorm(RmsNorm { every: count })
                    | Remedy::ReduceDepth(ReduceDepth { depth: count }) => {
                        assert!((1..=30).contains(&count));
                    }
                    _ => (),
                }
            }
        }
    }

    #[test]
    fn time_steps_are_cut_where_there_are_some() {
        for (length, name) in [(None, "reduce_depth"), (Some(20), "truncate_bptt")] {
            let mut setup = setup();
            setup.sequence_length = length;
            assert_eq!(random_remedy([4.5 / 6.0, 0.5], &setup).name(), name);
        }
    }
}
