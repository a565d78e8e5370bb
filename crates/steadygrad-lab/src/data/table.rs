use crate::random::{Purpose, generator, shuffle};

/// What is to be predicted.
#[derive(Debug, Clone, PartialEq)]
pub enum Target {
    /// A class each.
    Classes {
        /// Class of each row, below `names.len()`.
        rows: Vec<usize>,
        /// Name of each class.
        names: Vec<String>,
    },
    /// A number each.
    Numbers(Vec<f32>),
}

/// Rows of numbers with a target, split into training and validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Number of features of each row.
    pub features: usize,
    /// Row by row.
    pub values: Vec<f32>,
    /// What is to be predicted.
    pub target: Target,
    /// Row numbers for training.
    pub training: Vec<usize>,
    /// Row numbers for validation.
    pub validation: Vec<usize>,
}

impl Table {
    /// A fifth of the rows is set apart for validation.
    const VALIDATION_SHARE: usize = 5;

    /// Splits the rows: the same split for every seed, so that trials are comparable.
    pub fn new(features: usize, values: Vec<f32>, target: Target) -> Self {
        let count = match &target {
            Target::Classes { rows, .. } => rows.len(),
            Target::Numbers(rows) => rows.len(),
        };
        let mut training: Vec<usize> = (0..count).collect();
        shuffle(&mut training, &mut generator(0, Purpose::Split));
        let validation = training.split_off(count - count / Self::VALIDATION_SHARE);
        Self {
            features,
            values,
            target,
            training,
            validation,
        }
    }

    /// Number of outputs a model of it needs: one a class, or one.
    pub fn outputs(&self) -> usize {
        match &self.target {
            Target::Classes { names, .. } => names.len(),
            Target::Numbers(_) => 1,
        }
    }

    /// The features of one row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.features..(row + 1) * self.features]
    }
}
