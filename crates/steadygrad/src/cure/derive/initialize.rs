use super::{Basis, Derivation, NotApplicable, steps_within_safe_product};
use crate::Evidence;
use crate::remedy::Remedy;

/// The weight scale is the activation's critical gain; the first matrix is divided by the
/// input's measured size as well. A residual network, which has no critical gain, has its branches
/// scaled instead.
pub(super) fn derive(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    if basis.measurements.is_residual() {
        scaled_branches(basis, basis.measurements.skip_share.unwrap_or(0.0))
    } else {
        critical_init(basis)
    }
}

/// Of a block `J = I + N`, with `N` in no direction of its own, a vector's square grows by
/// `1 + |N|^2`; with the branch scaled by `s = (L |N|^2)^(-1/2)` by `1 + 1/L`, over all L blocks less
/// than e, however deep the network is (Hayou et al., 2021, "Stable ResNet"). Where less than the whole input is
/// handed on, the growth is less than that. A normalised branch is as large whatever comes in: then
/// growth adds up and is no product.
fn scaled_branches(
    basis: Basis<'_>,
    skip_share: f64,
) -> Result<(Remedy, Derivation), NotApplicable> {
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
            "its residual blocks are normalised: their growth adds up, and is no product".into(),
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
        Remedy::ScaleResidual { scale },
        Derivation {
            formula: format!(
                "scale = ({depth} (growth^2 - 1))^(-1/2): of branches that point in no direction of their \
                 own, over {depth} blocks x{:.2}",
                (1.0 + blocks.recip()).powf(0.5 * blocks)
            ),
            measured: vec![
                Evidence::new("growth per block", rate),
                Evidence::new("share of its input that a block hands on", skip_share),
            ],
        },
    ))
}

fn critical_init(basis: Basis<'_>) -> Result<(Remedy, Derivation), NotApplicable> {
    let measurements = basis.measurements;
    let measured = measurements
        .repeated_gain()
        .ok_or(NotApplicable::Unsupported(
            "it has no repeated weight matrix".into(),
        ))?;
    if !(measured.is_finite() && measured > 0.0) {
        return Err(NotApplicable::NotMeasured(
            "a positive, finite weight scale",
        ));
    }
    let input_rms = measurements.input_rms;
    if !(input_rms.is_finite() && input_rms > 0.0) {
        return Err(NotApplicable::NotMeasured("a positive, finite input size"));
    }
    let gain = measurements
        .critical_gain()
        .ok_or_else(|| NotApplicable::without_critical_gain(measurements.activation))?;
    if !(gain.is_finite() && gain > 0.0) {
        return Err(NotApplicable::NotMeasured(
            "a positive, finite critical gain",
        ));
    }
    Ok((
        Remedy::CriticalInit { gain, input_rms },
        Derivation {
            formula: format!(
                "gain = critical gain of {} = {gain:.4}, where chi_1 = 1; the first matrix is \
                 divided by the input's root mean square",
                measurements.activation.name()
            ),
            measured: vec![
                Evidence::new("gain at initialisation", measured),
                Evidence::new("input root mean square", input_rms),
            ],
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{healthy_measurements, healthy_outcome, setup};
    use super::*;
    use crate::dynamics::{Activation, Axis, Criticality, GrowthProfile, MeanField};
    use crate::measurements::Measurements;

    fn derived(change: impl FnOnce(&mut Measurements)) -> Result<Remedy, NotApplicable> {
        let mut measurements = healthy_measurements();
        change(&mut measurements);
        let (setup, baseline) = (setup(), healthy_outcome());
        derive(Basis {
            measurements: &measurements,
            setup: &setup,
            baseline: Some(&baseline),
        })
        .map(|(remedy, _)| remedy)
    }

    #[test]
    fn gain_and_input_size() {
        let remedy = derived(|measurements| measurements.input_rms = 7.5);
        let gain = Activation::Relu.critical_gain().unwrap();
        assert_eq!(
            remedy,
            Ok(Remedy::CriticalInit {
                gain,
                input_rms: 7.5
            })
        );
    }

    /// With so much growth a block, forwards and backwards, in 30 blocks that hand on so much.
    fn residual(skip_share: f64, forward: f64, backward: f64) -> Result<Remedy, NotApplicable> {
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
            let Ok(Remedy::ScaleResidual { scale }) = residual(1.0, forward, backward) else {
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
        let plain = residual(0.1, 1.5, 1.5);
        assert!(
            matches!(plain, Ok(Remedy::CriticalInit { .. })),
            "{plain:?}"
        );
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
        assert!(
            residual(f64::NAN, 1.5, 1.5)
                .is_ok_and(|remedy| { matches!(remedy, Remedy::CriticalInit { .. }) })
        );
    }

    #[test]
    fn odd_rows() {
        for input_rms in [0.0, f64::NAN, f64::INFINITY] {
            assert!(derived(|measurements| measurements.input_rms = input_rms).is_err());
        }
        assert!(derived(|measurements| measurements.weights.clear()).is_err());
        for norm in [0.0, f64::NAN, f64::INFINITY] {
            assert!(
                derived(|measurements| {
                    for matrix in &mut measurements.weights {
                        matrix.frobenius_norm = norm;
                    }
                })
                .is_err()
            );
        }
        // Measured biases do not make a critical gain where there is none.
        for criticality in [
            None,
            MeanField::new(Activation::Gelu, 3.0, 0.0)
                .and_then(|network| Criticality::new(network, 1.0, 20))
                .ok(),
        ] {
            let refused = derived(|measurements| {
                measurements.activation = Activation::Gelu;
                measurements.criticality = criticality;
            });
            assert!(
                matches!(refused, Err(NotApplicable::Unsupported(_))),
                "{refused:?}"
            );
        }
    }
}
