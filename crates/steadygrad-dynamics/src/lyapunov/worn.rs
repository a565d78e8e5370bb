//! Whether a block of tangent vectors has to be re-orthonormalised now.

use crate::Block;
use crate::orthonormalize::dot;

/// Up to this many columns the check is exact. It costs half of a factorisation: nothing beside a
/// step of any network, and a tenth of a map's.
pub(super) const FEW_COLUMNS: usize = 16;

/// A column that has lost three digits is worn: the step that follows may take three more.
const WORN: f64 = 1e6;

/// Squared lengths within which nothing over- or underflows, a wild step ahead included.
const SQUARES: std::ops::Range<f64> = 1e-80..1e80;

/// Squared lengths of columns that have not grown or shrunk a hundredfold: where half of the
/// directions suddenly grow tenfold a step and the others shrink as fast, that is seen after three
/// steps, six digits.
const CALM: std::ops::Range<f64> = 1e-4..1e4;

/// Whether a column of a block of at most [`FEW_COLUMNS`] is a thousand times longer than the part
/// of it that is its own, or far from 1 in size. A block with a value that is not finite is worn.
#[inline]
pub(super) fn is_worn(block: &Block) -> bool {
    match (block.rows(), block.cols()) {
        // The compiler unrolls what has a known length.
        (1, 1) => is_worn_square::<1>(block),
        (2, 2) => is_worn_square::<2>(block),
        (3, 3) => is_worn_square::<3>(block),
        _ => is_worn_any(block),
    }
}

#[inline(always)]
fn is_worn_square<const N: usize>(block: &Block) -> bool {
    let values = &block.values()[..N * N];
    pivots::<N>(N, |i, j| {
        (0..N)
            .map(|row| values[i * N + row] * values[j * N + row])
            .sum()
    })
}

fn is_worn_any(block: &Block) -> bool {
    let (rows, values) = (block.rows(), block.values());
    let column = |j: usize| &values[j * rows..(j + 1) * rows];
    pivots::<FEW_COLUMNS>(block.cols(), |i, j| dot(column(i), column(j)))
}

/// `L D L^T` of the Gram matrix: `D_jj / G_jj` is the squared share of a column that is its own.
/// Rounding matters to a pivot from a loss of eight digits on, long after the answer is known.
#[allow(clippy::needless_range_loop)] // the rows of a triangle refer to each other by number
#[inline(always)]
fn pivots<const MOST: usize>(columns: usize, gram: impl Fn(usize, usize) -> f64) -> bool {
    let mut lower = [[0.0; MOST]; MOST];
    let mut inverse = [0.0; MOST];
    for j in 0..columns {
        let square = gram(j, j);
        let mut pivot = square;
        let mut scaled = [0.0; MOST];
        for i in 0..j {
            let mut shared = gram(i, j);
            for m in 0..i {
                shared -= scaled[m] * lower[i][m];
            }
            scaled[i] = shared;
            lower[j][i] = shared * inverse[i];
            pivot -= shared * lower[j][i];
        }
        let sound = SQUARES.contains(&square) && SQUARES.contains(&pivot) && pivot * WORN > square;
        if !sound {
            return true;
        }
        inverse[j] = 1.0 / pivot;
    }
    false
}

/// Whether a column has grown or shrunk a hundredfold, or is not finite.
#[inline]
pub(super) fn is_outgrown(block: &Block) -> bool {
    !block
        .columns()
        .all(|column| CALM.contains(&dot(column, column)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns `e_j`, the last one `e_0 + own e_last`.
    fn leaning(cols: usize, rows: usize, own: f64, size: f64) -> Block {
        let mut block = Block::zeros(rows, cols);
        for (j, column) in block.columns_mut().enumerate() {
            column[j] = size;
        }
        let values = block.values_mut();
        values[(cols - 1) * rows] = size;
        values[(cols - 1) * rows + cols - 1] = own * size;
        block
    }

    #[test]
    fn a_column_is_worn_when_a_thousandth_is_its_own() {
        for (cols, rows) in [(2, 2), (3, 3), (2, 5), (7, 7), (16, 40)] {
            for size in [1e-30, 1.0, 1e30] {
                assert!(
                    !is_worn(&leaning(cols, rows, 1.1e-3, size)),
                    "{cols}x{rows}"
                );
                assert!(is_worn(&leaning(cols, rows, 0.9e-3, size)), "{cols}x{rows}");
                assert!(is_worn(&leaning(cols, rows, 1e-12, size)), "{cols}x{rows}");
                assert!(is_worn(&leaning(cols, rows, 0.0, size)), "{cols}x{rows}");
            }
        }
    }

    #[test]
    fn sizes_far_from_one_and_values_that_are_not_finite_are_worn() {
        for (cols, rows) in [(1, 1), (2, 2), (3, 3), (2, 5), (16, 40)] {
            for size in [1e41, 1e-41, 1e300, 1e-300, 0.0, f64::NAN, f64::INFINITY] {
                assert!(
                    is_worn(&leaning(cols, rows, 1.0, size)),
                    "{cols}x{rows} {size}"
                );
            }
            let mut broken = leaning(cols, rows, 1.0, 1.0);
            assert!(!is_worn(&broken));
            if let Some(last) = broken.values_mut().last_mut() {
                *last = f64::NAN;
            }
            assert!(is_worn(&broken));
        }
    }

    #[test]
    fn a_hundredfold_is_outgrown() {
        for (size, outgrown) in [
            (1.0, false),
            (70.0, false),
            (101.0, true),
            (0.0101, false),
            (0.0099, true),
            (f64::NAN, true),
            (f64::INFINITY, true),
        ] {
            assert_eq!(is_outgrown(&leaning(20, 20, 1.0, size)), outgrown, "{size}");
        }
    }
}
