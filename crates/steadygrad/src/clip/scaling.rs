use crate::Decision;

/// The factor that brings a norm down to its bound. 1 when the norm is within it, or not finite.
pub(super) fn coefficient(norm: f64, max_norm: f64) -> f64 {
    if norm.is_finite() && norm > max_norm {
        max_norm / norm
    } else {
        1.0
    }
}

/// Scales everything so that the norm comes down to its bound, if it is above it.
pub(super) fn scale_to(norm: f64, max_norm: f64) -> Decision {
    match coefficient(norm, max_norm) {
        1.0 => Decision::Keep,
        coefficient => Decision::ScaleGlobal { coefficient },
    }
}
