/// How a product of Jacobians is measured. The default measures all singular values from seed 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProductSettings {
    /// The number of leading directions; `None` for as many as the narrowest state has units.
    pub vectors: Option<usize>,
    /// Seed of the first directions.
    pub seed: u64,
}

impl ProductSettings {
    /// Measures this number of leading directions.
    pub fn with_vectors(self, vectors: usize) -> Self {
        Self {
            vectors: Some(vectors),
            ..self
        }
    }

    /// Draws the first directions from this seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }
}
