use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};

/// The number of sweeps after which the iteration ends. Two neighbouring singular values whose
/// logarithms differ by `d` are off by `d e^(-2 d n)` after `n` sweeps: below 0.002 for every `d`.
const SWEEPS: usize = 100;

/// A sweep that moves no logarithm by more than this is the last.
const SETTLED: f64 = 1e-12;

/// Singular values above this share of the largest are read from the product itself, scaled so
/// that it cannot overflow. Rounding leaves nine digits in the smallest of them.
const EXPLICIT: f64 = 1e-7;

/// The logarithms of a product's singular values, and how they settled.
pub(super) struct SweptLogs {
    /// The largest first.
    pub(super) logs: Vec<f64>,
    pub(super) sweeps: usize,
    /// The largest change of a logarithm in the last sweep.
    pub(super) last_change: f64,
}

/// Reads the singular values of a product of triangular factors, the first factor applied first.
///
/// The factors are swept back and forth (the QR algorithm on a product that is never formed;
/// Stewart, 1995) until the logarithms of the diagonal settle. The scaled product itself then gives
/// the values that it holds to nine digits.
pub(super) fn singular_value_logs(triangles: &[Mat<f64>]) -> SweptLogs {
    let mut swept = sweep(triangles);
    for (log, explicit) in swept.logs.iter_mut().zip(explicit_logs(triangles)) {
        *log = explicit;
    }
    swept.logs.sort_by(|a, b| b.total_cmp(a));
    swept
}

/// `ln |r_jj|`, summed over the factors, for each column.
pub(super) fn diagonal_logs(triangles: &[Mat<f64>]) -> Vec<f64> {
    let vectors = triangles.first().map_or(0, Mat::ncols);
    (0..vectors)
        .map(|j| triangles.iter().map(|r| r[(j, j)].abs().ln()).sum())
        .collect()
}

/// The largest change, relative to the new value's size where that exceeds 1.
pub(super) fn largest_change(now: &[f64], before: &[f64]) -> f64 {
    now.iter()
        .zip(before)
        .map(|(now, before)| (now - before).abs() / (1.0 + now.abs()))
        .fold(0.0, f64::max)
}

/// Sweeps the factors until the logarithms of the diagonal settle.
fn sweep(triangles: &[Mat<f64>]) -> SweptLogs {
    let mut factors = triangles.to_vec();
    let mut swept = SweptLogs {
        logs: diagonal_logs(&factors),
        sweeps: 0,
        last_change: f64::INFINITY,
    };
    let vectors = swept.logs.len();
    while swept.sweeps < SWEEPS && swept.last_change > SETTLED {
        let mut orthonormal = Mat::<f64>::identity(vectors, vectors);
        let mut product = Mat::<f64>::zeros(vectors, vectors);
        factors = factors
            .iter()
            .rev()
            .map(|r| {
                matmul(
                    product.as_mut(),
                    Accum::Replace,
                    r.transpose(),
                    orthonormal.as_ref(),
                    1.0,
                    Par::Seq,
                );
                let qr = product.qr();
                orthonormal = qr.compute_thin_Q();
                qr.thin_R().to_owned()
            })
            .collect();
        let now = diagonal_logs(&factors);
        swept.last_change = largest_change(&now, &swept.logs);
        swept.logs = now;
        swept.sweeps += 1;
    }
    swept
}

/// `ln` of the singular values that the scaled product itself holds, the largest first.
fn explicit_logs(triangles: &[Mat<f64>]) -> Vec<f64> {
    let vectors = triangles.first().map_or(0, Mat::ncols);
    let mut product = Mat::<f64>::identity(vectors, vectors);
    let mut log_scale = 0.0;
    for r in triangles {
        product = r * &product;
        let largest = product.norm_max();
        product = faer::Scale(1.0 / largest) * &product;
        log_scale += largest.ln();
    }
    let Ok(values) = product.singular_values() else {
        return Vec::new();
    };
    let largest = values.first().copied().unwrap_or(0.0);
    values
        .into_iter()
        .take_while(|value| *value > EXPLICIT * largest)
        .map(|value| value.ln() + log_scale)
        .collect()
}
