use faer::{Mat, MatRef};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{Block, DynamicsError};

/// Makes orthonormal columns in random directions.
pub(super) fn random_block(
    width: usize,
    vectors: usize,
    seed: u64,
) -> Result<Block, DynamicsError> {
    let mut block = Block::zeros(width, vectors);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    block
        .values_mut()
        .iter_mut()
        .for_each(|value| *value = rng.random_range(-1.0..1.0));
    factorise(&mut block, 0)?;
    Ok(block)
}

/// `block <- matrix block`.
pub(super) fn multiply(block: &mut Block, matrix: MatRef<'_, f64>) {
    let product = matrix * block.as_mat();
    block.assign(&product);
}

/// Orthonormalises the block in place, `block = Q R`, and returns `R`.
///
/// A block with more columns than rows keeps as many columns as it has rows: `Q` is square, and `R`
/// has the block's own shape.
pub(super) fn factorise(block: &mut Block, step: usize) -> Result<Mat<f64>, DynamicsError> {
    let (rows, vectors) = (block.rows(), block.cols().min(block.rows()));
    if !block.values().iter().all(|value| value.is_finite()) {
        return Err(DynamicsError::NonFinite {
            what: "tangent",
            step,
        });
    }
    let lengths: Vec<f64> = block
        .columns()
        .map(|column| column.iter().map(|value| value * value).sum::<f64>().sqrt())
        .collect();
    let factors = block.as_mat().qr();
    let triangle = factors.thin_R().to_owned();
    for (rank, length) in lengths.iter().enumerate().take(vectors) {
        let size = triangle[(rank, rank)].abs();
        if size.is_nan() || size <= f64::EPSILON * rows as f64 * length {
            return Err(DynamicsError::RankDeficient {
                step,
                rank,
                vectors,
            });
        }
    }
    block.assign(&factors.compute_thin_Q());
    Ok(triangle)
}
