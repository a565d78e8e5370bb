use serde::{Deserialize, Serialize};

use super::basis::{Basis, Derivation, NotApplicable};
use super::definition::Definition;
use super::family::Family;
use super::parameter::{Parameter, Range, Value};
use super::safe_product::steps_within_safe_product;
use super::short::Short;
use crate::Evidence;
use crate::measurements::TrainingSetup;

/// Scales what every residual block adds to its input: `x <- x + scale (block(x) - x)`.
///
/// It is for models whose `skip_share` was measured. The lab's own subjects have no residual
/// blocks.
///
/// Let a block's Jacobian be `I + N`, where `N` favours no direction. Then a vector's square grows
/// by `1 + |N|^2` per block. With the branch scaled by `s = (L |N|^2)^(-1/2)` it grows by
/// `1 + 1/L`. Over all `L` blocks that is less than e, however deep the network is (Hayou et al.,
/// 2021, "Stable ResNet"). Where a block hands on less than its whole input, the growth is smaller.
/// A normalised branch has the same size whatever comes in: its growth adds up instead of
/// multiplying.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaleResidual {
    /// The factor of the residual branches, below 1.
    pub scale: f64,
}

impl std::fmt::Display for ScaleResidual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "scale residual branches by {}", Short(self.scale))
    }
}

impl Definition for ScaleResidual {
    const FAMILY: Family = Family::Initialize;
    const PARAMETERS: &'static [Parameter] =
        &[Parameter::new("scale", "RESIDUAL_SCALE", Range::Share)];
    const BURN: &'static str = include_str!("snippets/scale_residual.rs");
    const PYTORCH: &'static str = include_str!("snippets/scale_residual.py");

    fn derive(basis: Basis<'_>) -> Result<(Self, Derivation), NotApplicable> {
        let skip_share = basis
            .residual_share()
            .ok_or(NotApplicable::AnotherModel("residual networks"))?;
        let measurements = basis.measurements;
        let depth = basis.setup.depth.ok_or(NotApplicable::Unsupported(
            "its number of layers is not known".into(),
        ))?;
        let backward = measurements
            .log_growth()
            .map(|growth| growth.rate.value.exp());
        let forward = measurements.growth.forward_growth_rate();
        let rate = backward
            .into_iter()
            .chain(forward)
            .filter(|rate| rate.is_finite())
            .reduce(f64::max)
            .ok_or(NotApplicable::NotMeasured("the growth through the blocks"))?;
        if measurements.normalized {
            return Err(NotApplicable::Unsupported(
                "its residual blocks are normalised: their growth adds up, and is no product"
                    .into(),
            ));
        }
        let blocks = depth.max(1) as f64;
        if blocks <= steps_within_safe_product(rate) || rate <= 1.0 {
            return Err(NotApplicable::NothingToMend(format!(
                "signals grow x{rate:.3} per block, within a factor of ten over all {depth}"
            )));
        }
        let scale = (blocks * (rate * rate - 1.0)).sqrt().recip();
        if !(scale.is_finite() && scale > 0.0) {
            return Err(NotApplicable::NotMeasured("the growth through the blocks"));
        }
        Ok((
            Self { scale },
            Derivation {
                formula: format!(
                    "scale = ({depth} (growth^2 - 1))^(-1/2): of branches that point in no \
                     direction of their own, over {depth} blocks x{:.2}",
                    (1.0 + blocks.recip()).powf(0.5 * blocks)
                ),
                measured: vec![
                    Evidence::new("growth per block", rate),
                    Evidence::new("share of its input that a block hands on", skip_share),
                ],
            },
        ))
    }

    /// Whether a model has residual blocks is not part of its setup.
    fn draw(_uniform: f64, _setup: &TrainingSetup) -> Option<Self> {
        None
    }

    fn values(&self) -> Vec<Value> {
        vec![self.scale.into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cure::testing::{healthy_measurements, healthy_outcome, setup};
    use crate::dynamics::{Axis, GrowthProfile};
    use crate::measurements::Measurements;

    fn derived(change: impl FnOnce(&mut Measurements)) -> Result<ScaleResidual, NotApplicable> {
        let mut measurements = healthy_measurements();
        change(&mut measurements);
        let (setup, baseline) = (setup(), healthy_outcome());
        ScaleResidual::derive(Basis::new(&measurements, &setup).with_baseline(&baseline))
            .map(|(remedy, _)| remedy)
    }

    /// 30 blocks that hand on this share of their input, with this growth per block each way.
    fn residual(
        skip_share: f64,
        forward: f64,
        backward: f64,
    ) -> Result<ScaleResidual, NotApplicable> {
        derived(|measurements| {
            measurements.skip_share = Some(skip_share);
            measurements.growth = GrowthProfile::new(
                Axis::Depth,
                (0..30).map(|l| (format!("{l}"), forward.powi(l), backward.powi(-l))),
            );
        })
    }

    #[test]
    fn residual_branches_are_scaled_until_the_growth_does_not_depend_on_depth() {
        for (forward, backward) in [(1.5, 1.1), (1.2, 1.5), (1.5, 0.5)] {
            let Ok(ScaleResidual { scale }) = residual(1.0, forward, backward) else {
                panic!("{forward} {backward}");
            };
            // 30 blocks whose vectors' squares grow by 1 + s^2 |N|^2, |N|^2 = 1.5^2 - 1.
            let product = (1.0 + scale * scale * 1.25f64).powf(15.0);
            assert!(
                (product - (31.0f64 / 30.0).powf(15.0)).abs() < 1e-9,
                "{product}"
            );
        }
        let normalized = derived(|measurements| {
            measurements.skip_share = Some(1.0);
            measurements.normalized = true;
        });
        assert!(matches!(normalized, Err(NotApplicable::Unsupported(_))));
        for skip_share in [0.1, f64::NAN] {
            let plain = residual(skip_share, 1.5, 1.5);
            assert!(
                matches!(plain, Err(NotApplicable::AnotherModel(_))),
                "{plain:?}"
            );
        }
    }

    #[test]
    fn residual_blocks_that_do_not_grow_are_left_alone() {
        // ln 10 / 30 = 0.0768
        for rate in [0.5, 1.0, 1.079] {
            let refused = residual(0.9, rate, rate);
            assert!(
                matches!(refused, Err(NotApplicable::NothingToMend(_))),
                "{refused:?}"
            );
        }
        assert!(residual(0.9, 1.081, 1.0).is_ok());
        for rate in [0.0, f64::NAN, f64::INFINITY] {
            let refused = residual(0.9, rate, rate);
            assert!(
                matches!(refused, Err(NotApplicable::NotMeasured(_))),
                "{refused:?}"
            );
        }
    }
}
