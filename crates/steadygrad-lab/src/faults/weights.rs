use burn::module::Module;
use steadygrad_burn::{for_each_parameter, map_parameters};

/// A change of a model's weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WeightChange {
    /// Flips one bit of one f32 value: of the named parameter, or of any.
    FlipBit {
        parameter: Option<String>,
        pick: u64,
        bit: u8,
    },
    /// Multiplies every weight.
    Scale(f64),
}

impl WeightChange {
    /// The changed model. A model without the named parameter is not changed.
    pub(super) fn apply<M: Module>(&self, model: M) -> M {
        match self {
            WeightChange::Scale(factor) => map_parameters(model, |_, _, values| {
                values
                    .iter_mut()
                    .for_each(|value| *value = (f64::from(*value) * factor) as f32);
                true
            }),
            WeightChange::FlipBit {
                parameter,
                pick,
                bit,
            } => {
                let meant = |name: &str| parameter.as_deref().is_none_or(|wanted| wanted == name);
                let mut count = 0u64;
                for_each_parameter(&model, |parameter, values| {
                    if meant(&parameter.name) {
                        count += values.len() as u64;
                    }
                });
                // Every value has the same chance, as for a particle.
                let mut place = pick.checked_rem(count);
                map_parameters(model, |name, _, values| {
                    let Some(left) = place.filter(|_| meant(name)) else {
                        return false;
                    };
                    let Some(hit) = values.get_mut(left as usize) else {
                        place = Some(left - values.len() as u64);
                        return false;
                    };
                    *hit = f32::from_bits(hit.to_bits() ^ (1 << bit));
                    place = None;
                    true
                })
            }
        }
    }
}
