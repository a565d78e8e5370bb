/// When the iteration stops. The default allows 100 products and a relative residual of a
/// thousandth.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct LanczosSettings {
    /// The largest number of products. At least one is made.
    pub max_iterations: usize,
    /// The largest eigenvalue is accurate enough when its residual is at most this fraction of its
    /// absolute value, however large the other end of the spectrum is.
    pub tolerance: f64,
}

impl Default for LanczosSettings {
    fn default() -> Self {
        Self {
            max_iterations: 100,
            tolerance: 1e-3,
        }
    }
}

impl LanczosSettings {
    /// Allows this number of products.
    pub fn with_max_iterations(self, max_iterations: usize) -> Self {
        Self {
            max_iterations,
            ..self
        }
    }

    /// Accepts this relative residual of the largest eigenvalue.
    pub fn with_tolerance(self, tolerance: f64) -> Self {
        Self { tolerance, ..self }
    }
}
