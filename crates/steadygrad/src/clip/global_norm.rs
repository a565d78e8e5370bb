use serde::{Deserialize, Serialize};

/// Clip by the global norm: `g <- g * min(1, max_norm / global_norm)` over all parameters at
/// once, so that the direction of the update is kept.
///
/// Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural
/// networks", 2013. `torch.nn.utils.clip_grad_norm_` adds 1e-6 to the norm; this does not, so a
/// gradient at or below the threshold is left as it is, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GlobalNormClip {
    /// The largest global norm that passes unchanged. Positive and finite.
    pub max_norm: f64,
}

impl GlobalNormClip {
    /// The factor for every gradient, in `0..=1`, or `None` when nothing is to be done:
    /// the norm is within the bound, or is not finite (scaling would only spread the NaN: see
    /// the guard, which stops or skips such a step).
    pub fn coefficient(&self, global_norm: f64) -> Option<f64> {
        (global_norm.is_finite() && global_norm > self.max_norm)
            .then(|| self.max_norm / global_norm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_rows() {
        let clip = GlobalNormClip { max_norm: 1.0 };
        for untouched in [0.0, 0.5, 1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(clip.coefficient(untouched), None, "norm {untouched}");
        }
        assert_eq!(clip.coefficient(4.0), Some(0.25));
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_the_rule_is_scale_equivariant(
            norm in 1e-30f64..1e30, max_norm in 1e-6f64..1e6, scale in 1e-3f64..1e3,
        ) {
            let after = |norm: f64, max_norm: f64| {
                norm * GlobalNormClip { max_norm }.coefficient(norm).unwrap_or(1.0)
            };
            prop_assert!(after(norm, max_norm) <= max_norm * (1.0 + 1e-12));
            let scaled = after(norm * scale, max_norm * scale);
            prop_assert!((scaled / (after(norm, max_norm) * scale) - 1.0).abs() < 1e-12);
        }
    }
}
