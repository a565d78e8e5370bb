use steadygrad::dynamics::SpectralNorm;
use steadygrad::measurements::{MatrixRole, WeightMatrix};
use steadygrad_burn::for_each_parameter;

use crate::Subject;

/// Power iterations for a spectral norm.
const ITERATIONS: usize = 50;

/// The model's weight matrices, each with its role and its norms.
pub(crate) fn weight_matrices<S: Subject>(subject: &S, model: &S::Model) -> Vec<WeightMatrix> {
    let mut matrices = Vec::new();
    for_each_parameter(model, |parameter, values| {
        let &[fan_in, fan_out] = parameter.shape.as_slice() else {
            return;
        };
        matrices.push(WeightMatrix {
            role: subject.role(&parameter.name).unwrap_or(MatrixRole::Hidden),
            name: parameter.name,
            fan_in,
            fan_out,
            frobenius_norm: values
                .iter()
                .map(|v| f64::from(*v).powi(2))
                .sum::<f64>()
                .sqrt(),
            spectral_norm: SpectralNorm::new(fan_out).estimate(values, ITERATIONS),
        });
    });
    let last = matrices.len().saturating_sub(1);
    for (index, role) in [(last, MatrixRole::Output), (0, MatrixRole::Input)] {
        if let Some(matrix) = matrices.get_mut(index)
            && subject.role(&matrix.name).is_none()
        {
            matrix.role = role;
        }
    }
    matrices
}
