/// Eigenvalues that could not be computed, with the reason. `E` is the error of a product.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LanczosError<E> {
    /// The start vector has no entries.
    #[error("the start vector is empty; an operator on no dimensions has no eigenvalues")]
    Empty,
    /// The start vector is zero or holds a value that is not finite.
    #[error("the start vector must be finite and not zero")]
    Start,
    /// A product has another length than the vector.
    #[error("product {iteration} has {found} values instead of {expected}")]
    Length {
        /// The number of the product, from 1.
        iteration: usize,
        /// The length of the start vector.
        expected: usize,
        /// The length of the product.
        found: usize,
    },
    /// A product holds NaN or infinity, or is too large to be squared.
    #[error("product {iteration} is not finite")]
    NonFinite {
        /// The number of the product, from 1.
        iteration: usize,
    },
    /// The small eigenvalue problem did not converge.
    #[error("the eigenvalues of the {size} x {size} tridiagonal matrix did not converge")]
    Tridiagonal {
        /// The size of the matrix.
        size: usize,
    },
    /// The product itself failed.
    #[error("the product failed: {0}")]
    Product(E),
}
