use crate::random::{Purpose, generator, shuffle};

/// The values to predict.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// A class for each row.
    Classes {
        /// Class of each row, below `names.len()`.
        rows: Vec<usize>,
        /// Name of each class.
        names: Vec<String>,
    },
    /// A number for each row.
    Numbers(Vec<f32>),
}

/// Rows of numbers with a target, split into training and validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Number of features of each row.
    pub features: usize,
    /// The features, row by row.
    pub values: Vec<f32>,
    /// The values to predict.
    pub target: Target,
    /// Row numbers for training.
    pub training: Vec<usize>,
    /// Row numbers for validation.
    pub validation: Vec<usize>,
}

impl Table {
    /// A fifth of the rows is for validation.
    const VALIDATION_SHARE: usize = 5;

    /// Splits the rows. The split is the same for every seed, so that trials are comparable.
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

    /// The table with half of its rows for validation, in the same order. A metric on more rows
    /// depends less on chance.
    #[must_use]
    pub fn split_in_half(mut self) -> Self {
        let mut rows = self.training;
        rows.extend(self.validation);
        self.validation = rows.split_off(rows.len() - rows.len() / 2);
        self.training = rows;
        self
    }

    /// The table with every feature multiplied by this.
    #[must_use]
    pub fn scaled(mut self, factor: f32) -> Self {
        self.values.iter_mut().for_each(|value| *value *= factor);
        self
    }

    /// Number of outputs that a model needs: one for each class, or one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_half_and_features_are_scaled() {
        for count in [0u8, 1, 7, 10] {
            let values: Vec<f32> = (0..2 * count).map(f32::from).collect();
            let table = Table::new(2, values.clone(), Target::Numbers(vec![0.0; count.into()]));
            let half = table.scaled(0.5).split_in_half();
            assert_eq!(half.validation.len(), usize::from(count) / 2);
            let mut rows = half.training.clone();
            rows.extend(&half.validation);
            rows.sort_unstable();
            assert_eq!(rows, (0..usize::from(count)).collect::<Vec<_>>());
            let scaled: Vec<f32> = values.iter().map(|value| value / 2.0).collect();
            assert_eq!(half.values, scaled);
        }
    }
}
