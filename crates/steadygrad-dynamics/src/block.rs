use faer::{Mat, MatMut, MatRef};

/// A block of tangent vectors: `rows x cols`, one vector a column, stored column after column.
///
/// A matrix is a block too. Multiplying the unit vectors by a Jacobian gives the Jacobian itself.
///
/// ```
/// use steadygrad_dynamics::Block;
///
/// let block = Block::from_columns(2, 1, vec![3.0, 4.0]).expect("two values");
/// assert_eq!(block.columns().next(), Some(&[3.0, 4.0][..]));
/// assert_eq!(Block::from_columns(2, 2, vec![1.0]), None);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
}

impl Block {
    /// Makes a block of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            values: vec![0.0; rows * cols],
        }
    }

    /// Makes the `size` unit vectors.
    pub fn identity(size: usize) -> Self {
        let mut block = Self::zeros(size, size);
        for (j, column) in block.columns_mut().enumerate() {
            column[j] = 1.0;
        }
        block
    }

    /// Takes the values column after column. `None` when their number is not `rows * cols`.
    pub fn from_columns(rows: usize, cols: usize, values: Vec<f64>) -> Option<Self> {
        (values.len() == rows * cols).then_some(Self { rows, cols, values })
    }

    /// The length of each vector.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of vectors.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, column after column.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All values, column after column, to be changed.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// Iterates over the vectors. A block without rows gives none.
    pub fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.rows.max(1))
    }

    /// Iterates over the vectors, to be changed. A block without rows gives none.
    #[inline]
    pub fn columns_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.rows.max(1))
    }

    /// Changes the length of the vectors and keeps their number. Their values are unspecified
    /// afterwards.
    pub fn resize_rows(&mut self, rows: usize) {
        self.rows = rows;
        self.values.resize(rows * self.cols, 0.0);
    }

    pub(crate) fn as_mat(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.values, self.rows, self.cols)
    }

    pub(crate) fn as_mat_mut(&mut self) -> MatMut<'_, f64> {
        MatMut::from_column_major_slice_mut(&mut self.values, self.rows, self.cols)
    }

    /// Takes the shape and the values of `matrix`.
    pub(crate) fn assign(&mut self, matrix: &Mat<f64>) {
        self.rows = matrix.nrows();
        self.cols = matrix.ncols();
        self.values.resize(self.rows * self.cols, 0.0);
        self.as_mat_mut().copy_from(matrix);
    }
}
