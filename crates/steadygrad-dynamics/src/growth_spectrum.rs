use serde::{Deserialize, Serialize};

use crate::{Axis, Exponent, JacobianProduct, LayerJacobian, float};

/// One layer, or one time step, of a [`GrowthSpectrum`], averaged over samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerGrowth {
    /// The layer's name, or `t=12`.
    pub name: String,
    /// `ln` of the growth of a vector in a random direction.
    #[serde(with = "float")]
    pub log_growth: f64,
    /// `ln` of the largest singular value: growth in the worst direction.
    #[serde(with = "float")]
    pub log_largest: f64,
    /// `ln` of the smallest singular value. Minus infinity where a sample's Jacobian is singular.
    #[serde(with = "float")]
    pub log_smallest: f64,
}

/// The products of Jacobians of several samples, to be averaged into a [`GrowthSpectrum`].
#[derive(Debug, Clone)]
pub struct GrowthSamples<'a> {
    /// The direction of the growth.
    pub axis: Axis,
    /// The names of the layers, in forward order.
    pub names: &'a [String],
    /// One product a sample.
    pub products: &'a [JacobianProduct],
    /// For each sample, its layers in the order of `names`. It may have fewer samples than
    /// `products`, or none.
    pub layers: &'a [Vec<LayerJacobian>],
    /// The number of samples whose product could not be measured.
    pub failed_samples: usize,
    /// The width of the narrowest state.
    pub width: usize,
    /// The seed of the tangent vectors.
    pub seed: u64,
}

/// How a network multiplies gradients through depth or time: the exponents of its product of
/// Jacobians, and each layer by itself. Measured on single samples at initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GrowthSpectrum {
    /// The direction of the growth.
    pub axis: Axis,
    /// The number of Jacobians in the product.
    pub steps: usize,
    /// `ln sigma_i / steps`, the largest first: the mean over samples, with the standard error of
    /// that mean. A single sample has no error.
    pub exponents: Vec<Exponent>,
    /// Whether each exponent is only a lower bound: see [`JacobianProduct::lower_bound`].
    pub lower_bound: bool,
    /// Whether the product has no other exponents.
    pub complete: bool,
    /// Each layer by itself, in forward order.
    pub layers: Vec<LayerGrowth>,
    /// The number of samples whose layers were averaged.
    pub layer_samples: usize,
    /// The number of samples whose product was measured.
    pub samples: usize,
    /// The number of samples left out, because a state or a tangent was not finite or no gradient
    /// passed.
    pub failed_samples: usize,
    /// The width of the narrowest state: the number of exponents that the network has.
    pub width: usize,
    /// The seed of the tangent vectors.
    pub seed: u64,
}

impl GrowthSpectrum {
    /// Averages the products of several samples. `None` without samples or steps, or when samples
    /// disagree on their number of steps.
    pub fn from_samples(samples: &GrowthSamples<'_>) -> Option<Self> {
        let products = samples.products;
        let steps = products.first()?.log_growth.len();
        let layers = samples.layers;
        let same = products
            .iter()
            .all(|product| product.log_growth.len() == steps)
            && layers
                .iter()
                .all(|sample| sample.len() == samples.names.len());
        if steps == 0 || !same {
            return None;
        }
        Some(Self {
            axis: samples.axis,
            steps,
            exponents: exponents(products, steps)?,
            lower_bound: products.iter().any(|product| product.lower_bound),
            complete: products.iter().all(|product| product.complete),
            layers: average(samples.names, layers),
            layer_samples: layers.len(),
            samples: products.len(),
            failed_samples: samples.failed_samples,
            width: samples.width,
            seed: samples.seed,
        })
    }

    /// The largest exponent: log growth of the gradient per step along the worst direction. `None`
    /// without exponents.
    pub fn lambda_1(&self) -> Option<Exponent> {
        self.exponents.first().copied()
    }

    /// The mean over the layers of `ln` growth in a random direction, which mean-field theory
    /// predicts, with the standard error of that mean. `None` without layers, or when one of them
    /// is not finite.
    pub fn mean_log_growth(&self) -> Option<Exponent> {
        let values: Vec<f64> = self.layers.iter().map(|layer| layer.log_growth).collect();
        let found = (!values.is_empty()).then(|| mean(values))?;
        found.value.is_finite().then_some(found)
    }

    /// `ln` of the product's condition number. `None` unless all exponents are known exactly.
    pub fn log_condition(&self) -> Option<f64> {
        let (first, last) = (self.exponents.first()?, self.exponents.last()?);
        (self.complete && !self.lower_bound)
            .then_some((first.value - last.value) * self.steps as f64)
    }

    /// The `count` worst layers, the worst first. They stretch most along their worst direction,
    /// or, where gradients shrink on average, shrink a random direction most.
    pub fn worst_layers(&self, count: usize) -> Vec<&LayerGrowth> {
        let mut layers: Vec<&LayerGrowth> = self.layers.iter().collect();
        if self.shrinks() {
            layers.sort_by(|a, b| a.log_growth.total_cmp(&b.log_growth));
        } else {
            layers.sort_by(|a, b| b.log_largest.total_cmp(&a.log_largest));
        }
        layers.truncate(count);
        layers
    }

    /// Whether a gradient in a random direction shrinks on average.
    pub fn shrinks(&self) -> bool {
        let sum: f64 = self.layers.iter().map(|layer| layer.log_growth).sum();
        sum < 0.0
    }
}

/// The exponents that all products have, averaged over them.
fn exponents(products: &[JacobianProduct], steps: usize) -> Option<Vec<Exponent>> {
    let vectors = products
        .iter()
        .map(|product| product.log_singular_values.len())
        .min()?;
    let exponent = |i: usize| {
        let values = products
            .iter()
            .map(|product| product.log_singular_values[i] / steps as f64);
        mean(values.collect())
    };
    Some((0..vectors).map(exponent).collect())
}

/// The layers, averaged over the samples. Empty without samples.
fn average(names: &[String], samples: &[Vec<LayerJacobian>]) -> Vec<LayerGrowth> {
    if samples.is_empty() {
        return Vec::new();
    }
    let average = |l: usize, part: fn(&LayerJacobian) -> f64| {
        let values = samples.iter().map(|sample| part(&sample[l]));
        values.sum::<f64>() / samples.len() as f64
    };
    names
        .iter()
        .enumerate()
        .map(|(l, name)| LayerGrowth {
            name: name.clone(),
            log_growth: average(l, |layer| layer.log_growth),
            log_largest: average(l, LayerJacobian::log_largest),
            log_smallest: average(l, LayerJacobian::log_smallest),
        })
        .collect()
}

/// The mean and its standard error, of independent values.
fn mean(values: Vec<f64>) -> Exponent {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - value).powi(2)).sum();
    Exponent {
        value,
        standard_error: (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(logs: &[f64], steps: usize) -> JacobianProduct {
        JacobianProduct {
            log_singular_values: logs.to_vec(),
            log_growth: vec![0.0; steps],
            complete: true,
            lower_bound: false,
            sweeps: 1,
            last_change: 0.0,
        }
    }

    fn layer(log: f64) -> LayerJacobian {
        LayerJacobian {
            log_growth: log,
            log_singular_values: vec![log + 1.0, log - 1.0],
        }
    }

    fn depth<'a>(
        names: &'a [String],
        products: &'a [JacobianProduct],
        layers: &'a [Vec<LayerJacobian>],
    ) -> GrowthSamples<'a> {
        GrowthSamples {
            axis: Axis::Depth,
            names,
            products,
            layers,
            failed_samples: 0,
            width: 2,
            seed: 0,
        }
    }

    #[test]
    fn means_errors_and_worst_layers() {
        let names = ["a".to_owned(), "b".to_owned()];
        let products = [product(&[4.0, -2.0], 2), product(&[6.0, -2.0], 2)];
        let layers = [vec![layer(0.0), layer(2.0)], vec![layer(1.0), layer(3.0)]];
        let samples = GrowthSamples {
            failed_samples: 1,
            ..depth(&names, &products, &layers)
        };
        let spectrum = GrowthSpectrum::from_samples(&samples).unwrap();
        assert_eq!(spectrum.exponents[0].value, 2.5);
        assert_eq!(spectrum.exponents[0].standard_error, Some(0.5));
        assert_eq!(spectrum.exponents[1].standard_error, Some(0.0));
        assert_eq!(spectrum.log_condition(), Some(7.0));
        let mean = spectrum.mean_log_growth().unwrap();
        assert_eq!((mean.value, mean.standard_error), (1.5, Some(1.0)));
        assert_eq!((spectrum.samples, spectrum.layer_samples), (2, 2));
        assert_eq!(spectrum.failed_samples, 1);
        assert_eq!(spectrum.worst_layers(1)[0].name, "b");
        assert_eq!(spectrum.worst_layers(9).len(), 2);
        let layers = [vec![layer(-1.0), layer(-3.0)]];
        let shrinking = GrowthSpectrum::from_samples(&depth(&names, &products, &layers));
        assert_eq!(shrinking.unwrap().worst_layers(1)[0].name, "b");
        let text = serde_json::to_string(&spectrum).unwrap();
        assert_eq!(
            serde_json::from_str::<GrowthSpectrum>(&text).unwrap(),
            spectrum
        );
    }

    #[test]
    fn odd_rows() {
        let build =
            |names: &[String], products: &[JacobianProduct], layers: &[Vec<LayerJacobian>]| {
                GrowthSpectrum::from_samples(&depth(names, products, layers))
            };
        assert_eq!(build(&[], &[], &[]), None);
        assert_eq!(build(&[], &[product(&[1.0], 0)], &[]), None);
        assert_eq!(
            build(&[], &[product(&[1.0], 1), product(&[1.0], 2)], &[]),
            None
        );
        assert_eq!(build(&[], &[product(&[1.0], 1)], &[vec![layer(0.0)]]), None);
        let one = build(&[], &[product(&[1.0], 1)], &[]).unwrap();
        assert_eq!(one.lambda_1().unwrap().standard_error, None);
        assert_eq!(one.mean_log_growth(), None);
        // With a single exponent the condition number is 1.
        assert_eq!(one.log_condition(), Some(0.0));
        let bound = JacobianProduct {
            lower_bound: true,
            ..product(&[1.0], 1)
        };
        assert_eq!(build(&[], &[bound], &[]).unwrap().log_condition(), None);
        // A dead layer passes no gradient: minus infinity survives JSON.
        let dead = [vec![layer(f64::NEG_INFINITY)]];
        let dead = build(&["x".to_owned()], &[product(&[1.0], 1)], &dead).unwrap();
        assert_eq!(dead.mean_log_growth(), None);
        let text = serde_json::to_string(&dead).unwrap();
        assert_eq!(serde_json::from_str::<GrowthSpectrum>(&text).unwrap(), dead);
    }
}
