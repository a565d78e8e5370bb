use super::basis::{Basis, Derivation, NotApplicable};
use crate::Evidence;

/// How far a growth product may run before something must bound it: the tenfold ratio across
/// layers of SageMaker Debugger's PoorWeightInitialization rule.
const SAFE_PRODUCT: f64 = 10.0;

/// The number of steps with this growth factor until the product reaches [`SAFE_PRODUCT`].
pub(super) fn steps_within_safe_product(rate: f64) -> f64 {
    SAFE_PRODUCT.ln() / rate.ln()
}

/// The number of layers or time steps over which the gradient grows at most tenfold:
/// `floor(ln 10 / ln growth)`, at least 1. `now` is how many there are; `None` where their number
/// is fixed.
pub(super) fn safe_steps(
    basis: Basis<'_>,
    now: Option<usize>,
) -> Result<(usize, Derivation), NotApplicable> {
    let unit = basis.measurements.growth.axis.unit();
    let rate = basis
        .measurements
        .log_growth()
        .map(|growth| growth.rate.value.exp())
        .ok_or(NotApplicable::NotMeasured("the gradient's growth"))?;
    let now =
        now.ok_or_else(|| NotApplicable::Unsupported(format!("its number of {unit}s is fixed")))?;
    let safe = if rate > 1.0 {
        steps_within_safe_product(rate).floor()
    } else {
        f64::INFINITY
    };
    if safe >= now as f64 {
        return Err(NotApplicable::NothingToMend(format!(
            "the gradient grows x{rate:.3} per {unit}, within a factor of ten over all {now}"
        )));
    }
    let derivation = Derivation {
        formula: format!(
            "floor(ln 10 / ln growth) {unit}s: over so many the gradient grows at most tenfold"
        ),
        measured: vec![
            Evidence::new(format!("backward growth per {unit}"), rate),
            Evidence::new(format!("{unit}s now"), now as f64),
        ],
    };
    Ok((safe.max(1.0) as usize, derivation))
}
