use faer::{MatMut, MatRef};

/// A block of tangent vectors: `rows x cols`, column after column, one tangent vector a column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
}

impl Block {
    /// All zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self {
            rows,
            cols,
            values: vec![0.0; rows * cols],
        }
    }

    /// From its values, column after column. `None` when their number is not `rows * cols`.
    pub fn from_columns(rows: usize, cols: usize, values: Vec<f64>) -> Option<Self> {
        (values.len() == rows * cols).then_some(Self { rows, cols, values })
    }

    /// Length of each vector.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of vectors.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All values, column after column.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// All values, column after column.
    pub fn values_mut(&mut self) -> &mut [f64] {
        &mut self.values
    }

    /// The vectors. None when the block has no rows.
    pub fn columns(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.rows.max(1))
    }

    /// The vectors. None when the block has no rows.
    #[inline]
    pub fn columns_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        self.values.chunks_exact_mut(self.rows.max(1))
    }

    /// Becomes `rows` long, keeping the number of vectors; what it holds afterwards is unspecified.
    pub fn resize_rows(&mut self, rows: usize) {
        self.rows = rows;
        self.values.resize(rows * self.cols, 0.0);
    }

    /// Keeps the first `cols` vectors.
    pub fn truncate_cols(&mut self, cols: usize) {
        self.cols = self.cols.min(cols);
        self.values.truncate(self.rows * self.cols);
    }

    /// A view for linear algebra.
    pub fn as_mat(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.values, self.rows, self.cols)
    }

    /// A view for linear algebra.
    pub fn as_mat_mut(&mut self) -> MatMut<'_, f64> {
        MatMut::from_column_major_slice_mut(&mut self.values, self.rows, self.cols)
    }
}
