use rand_chacha::ChaCha8Rng;

use crate::random::{Purpose, generator, shuffle};

/// Batches of row numbers. Each epoch is a new shuffle. An incomplete last batch is dropped; the
/// next epoch has its rows again.
#[derive(Debug, Clone)]
pub(crate) struct Batches {
    order: Vec<usize>,
    next: usize,
    batch_size: usize,
    rng: ChaCha8Rng,
}

impl Batches {
    pub(crate) fn new(training_samples: usize, batch_size: usize, seed: u64) -> Self {
        Self {
            order: (0..training_samples).collect(),
            next: training_samples,
            batch_size: batch_size.min(training_samples),
            rng: generator(seed, Purpose::Batches),
        }
    }

    pub(crate) fn next_batch(&mut self) -> &[usize] {
        if self.next + self.batch_size > self.order.len() {
            shuffle(&mut self.order, &mut self.rng);
            self.next = 0;
        }
        let batch = &self.order[self.next..self.next + self.batch_size];
        self.next += self.batch_size;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_an_epoch_and_the_seed_fixes_the_order() {
        let (mut a, mut b) = (Batches::new(10, 5, 3), Batches::new(10, 5, 3));
        let mut epoch: Vec<usize> = a.next_batch().to_vec();
        assert_eq!(epoch, b.next_batch());
        epoch.extend(a.next_batch());
        let mut sorted = epoch.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        assert_ne!(epoch, sorted);
        assert_ne!(
            Batches::new(10, 10, 4).next_batch(),
            Batches::new(10, 10, 5).next_batch()
        );
    }

    #[test]
    fn a_batch_larger_than_the_data_is_all_of_it() {
        assert_eq!(Batches::new(3, 64, 1).next_batch().len(), 3);
    }
}
