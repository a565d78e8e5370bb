use rand::RngExt;

use crate::random::{Purpose, generator};

/// The temporal order task: a long sequence of distractors has two relevant symbols, each X or Y,
/// and the class is their order.
///
/// Symbols: 0-3 distractors, 4 = X, 5 = Y, 6 = start, 7 = end. The first relevant symbol is between
/// 1/10 and 2/10 of the length, the second one between 4/10 and 5/10, so that a network must
/// remember them over half of the sequence.
///
/// Source: Hochreiter and Schmidhuber (1997), task 6a, with the positions of Pascanu et al. (2013).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemporalOrder {
    /// Time steps of each sequence.
    pub sequence_length: usize,
    /// The symbols of all sequences, one sequence after the other.
    pub symbols: Vec<u8>,
    /// Class of each sequence: `2 * first + second`, with X = 0 and Y = 1.
    pub classes: Vec<u8>,
}

impl TemporalOrder {
    /// Number of different symbols.
    pub const SYMBOLS: usize = 8;
    /// Number of classes.
    pub const CLASSES: usize = 4;
    /// The shortest length at which the two positions cannot coincide with an end or each other.
    pub const SHORTEST: usize = 10;

    /// Draws `count` sequences.
    ///
    /// # Panics
    /// If `sequence_length` is below [`Self::SHORTEST`].
    pub fn generate(sequence_length: usize, count: usize, seed: u64) -> Self {
        assert!(
            sequence_length >= Self::SHORTEST,
            "the task needs {} time steps",
            Self::SHORTEST
        );
        let mut rng = generator(seed, Purpose::Split);
        let mut symbols = Vec::with_capacity(count * sequence_length);
        let mut classes = Vec::with_capacity(count);
        let tenth = |part: usize| (sequence_length * part / 10).max(1);
        for _ in 0..count {
            let start = symbols.len();
            symbols.push(6);
            symbols.extend((2..sequence_length).map(|_| rng.random_range(0..4u8)));
            symbols.push(7);
            let first_at = rng.random_range(tenth(1)..=tenth(2));
            let second_at = rng.random_range(tenth(4)..=tenth(5));
            let (first, second) = (rng.random_range(0..2u8), rng.random_range(0..2u8));
            symbols[start + first_at] = 4 + first;
            symbols[start + second_at] = 4 + second;
            classes.push(2 * first + second);
        }
        Self {
            sequence_length,
            symbols,
            classes,
        }
    }

    /// One sequence.
    pub fn sequence(&self, row: usize) -> &[u8] {
        &self.symbols[row * self.sequence_length..(row + 1) * self.sequence_length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sequence_holds_what_its_class_says() {
        for length in [TemporalOrder::SHORTEST, 11, 50, 100] {
            let task = TemporalOrder::generate(length, 200, 3);
            for row in 0..200 {
                let sequence = task.sequence(row);
                assert_eq!((sequence[0], sequence[length - 1]), (6, 7));
                let relevant: Vec<u8> = sequence
                    .iter()
                    .copied()
                    .filter(|s| [4, 5].contains(s))
                    .collect();
                assert_eq!(relevant.len(), 2, "{sequence:?}");
                assert_eq!(task.classes[row], 2 * (relevant[0] - 4) + relevant[1] - 4);
            }
            for class in 0..4 {
                assert!(task.classes.contains(&class));
            }
        }
    }
}
