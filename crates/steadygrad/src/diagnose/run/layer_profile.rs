//! How the gradient norm changes over the layers among a log's parameters.

/// The least number of layers that a growth is read from.
const LEAST: usize = 4;

/// How the gradient norm changes from layer to layer: a straight line through its logarithms.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::diagnose) struct LayerProfile {
    /// The parameter of the first layer.
    pub(in crate::diagnose) first: String,
    /// The parameter of the last layer.
    pub(in crate::diagnose) last: String,
    /// Number of layers.
    pub(in crate::diagnose) count: usize,
    /// The factor per layer, from the last to the first.
    pub(in crate::diagnose) rate: f64,
    /// The share of the logarithms' variance that the line explains.
    pub(in crate::diagnose) r_squared: f64,
}

/// A layer's number, its parameter's name and gradient norm.
type Layer<'a> = (u64, &'a str, f64);

impl LayerProfile {
    /// Fits the largest group of parameters whose names differ in one number only.
    ///
    /// `None` for a group of fewer than four, or if a norm is zero, negative or not finite.
    pub(in crate::diagnose) fn of(parameters: &[(&str, f64)]) -> Option<Self> {
        let mut groups: Vec<(String, Vec<Layer<'_>>)> = Vec::new();
        for (name, norm) in parameters {
            for (pattern, number) in patterns(name) {
                let member = (number, *name, *norm);
                match groups.iter_mut().find(|group| group.0 == pattern) {
                    Some(group) => group.1.push(member),
                    None => groups.push((pattern, vec![member])),
                }
            }
        }
        // The first of equally large groups: weights usually come before biases.
        let (_, mut layers) = groups.into_iter().rev().max_by_key(|group| group.1.len())?;
        layers.sort_by_key(|layer| layer.0);
        if layers.len() < LEAST {
            return None;
        }
        let logs: Vec<f64> = layers.iter().map(|layer| layer.2.ln()).collect();
        if logs.iter().any(|log| !log.is_finite()) {
            return None;
        }
        let count = logs.len() as f64;
        let (middle, mean) = ((count - 1.0) / 2.0, logs.iter().sum::<f64>() / count);
        let (mut across, mut along, mut around) = (0.0, 0.0, 0.0);
        for (index, log) in logs.iter().enumerate() {
            let (x, y) = (index as f64 - middle, log - mean);
            across += x * y;
            along += x * x;
            around += y * y;
        }
        let slope = across / along;
        Some(Self {
            first: layers.first()?.1.to_owned(),
            last: layers.last()?.1.to_owned(),
            count: layers.len(),
            rate: (-slope).exp(),
            r_squared: if around > 0.0 {
                slope * across / around
            } else {
                0.0
            },
        })
    }

    /// Returns the line's value at the first layer over its value at the last.
    pub(in crate::diagnose) fn product(&self) -> f64 {
        self.rate.powf((self.count - 1) as f64)
    }
}

/// Replaces each number of a name in turn, and returns the pattern with that number: `h.3.mlp.0` is
/// a member of `h.*.mlp.0` and of `h.3.mlp.*`.
fn patterns(name: &str) -> Vec<(String, u64)> {
    let parts: Vec<&str> = name.split(['.', '/', '_']).collect();
    let numbered = parts.iter().enumerate();
    numbered
        .filter_map(|(index, part)| {
            let number = part.parse().ok()?;
            let mut pattern = parts.clone();
            pattern[index] = "*";
            Some((pattern.join("."), number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(norms: &[f64], name: impl Fn(usize) -> String) -> Vec<(String, f64)> {
        let all = norms.iter().enumerate();
        all.map(|(layer, norm)| (name(layer), *norm)).collect()
    }

    fn of(parameters: &[(String, f64)]) -> Option<LayerProfile> {
        let all: Vec<(&str, f64)> = parameters
            .iter()
            .map(|(name, norm)| (name.as_str(), *norm))
            .collect();
        LayerProfile::of(&all)
    }

    #[test]
    fn a_geometric_profile_is_fitted_exactly() {
        let norms: Vec<f64> = (0..12).map(|layer| 1.5f64.powi(11 - layer)).collect();
        let mut all = named(&norms, |layer| format!("h.{layer}.mlp.weight"));
        all.push(("lm_head".into(), 1e9));
        all.extend(named(&norms[..3], |layer| format!("h.{layer}.attn.weight")));
        let profile = of(&all).unwrap();
        assert_eq!(profile.count, 12);
        assert_eq!(profile.first, "h.0.mlp.weight");
        assert!((profile.rate - 1.5).abs() < 1e-12);
        assert!((profile.product() / 1.5f64.powi(11) - 1.0).abs() < 1e-9);
        assert!((profile.r_squared - 1.0).abs() < 1e-12);
    }

    #[test]
    fn layers_are_in_the_order_of_their_numbers() {
        let mut all = named(&[8.0, 4.0, 2.0, 1.0], |layer| {
            format!("net.{}.w", 8 + 2 * layer)
        });
        all.reverse();
        let profile = of(&all).unwrap();
        assert_eq!(profile.first, "net.8.w");
        assert!((profile.rate - 2.0).abs() < 1e-12);
    }

    #[test]
    fn odd_profiles_have_none() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&named(&[1.0; 3], |layer| format!("l.{layer}"))), None);
        for odd in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            let norms = [1.0, odd, 1.0, 1.0];
            assert_eq!(of(&named(&norms, |layer| format!("l.{layer}"))), None);
        }
        let flat = of(&named(&[2.0; 9], |layer| format!("l.{layer}"))).unwrap();
        assert_eq!((flat.product(), flat.r_squared), (1.0, 0.0));
    }
}
