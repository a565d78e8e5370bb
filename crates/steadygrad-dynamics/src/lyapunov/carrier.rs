use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LyapunovSettings;
use super::drift::{FEW_COLUMNS, has_changed_size, has_lost_digits};
use crate::orthonormalize::orthonormalize;
use crate::{Block, DynamicsError, TangentSystem};

/// The most that a column may lose between two factorisations, in logarithms: six of 16 digits.
const LOG_LOSS: f64 = 13.8;

/// The longest interval between two factorisations of a block that is too wide to be checked after
/// each step. The factorisation of 100 columns of 100 rows costs about five steps of a network of
/// that width (measured, docs/LOG.md 2026-11-25), so a longer interval would save little. And a
/// system that suddenly loses half a digit a step, where nothing grows, still keeps eight digits.
const LONGEST: usize = 16;

/// Carries an orthonormal block along a system.
pub(super) struct Carrier<'a, S> {
    system: &'a mut S,
    block: Block,
    /// Sums of `ln |R_ii|` over the current window.
    totals: Vec<f64>,
    /// `ln |R_ii|` of the last factorisation.
    logs: Vec<f64>,
    /// The interval that the settings ask for.
    fixed: Option<usize>,
    /// The largest loss of a column per step, as a logarithm.
    log_loss: f64,
    /// The largest loss of a column between two factorisations.
    lost: f64,
    /// The longest interval so far.
    longest: usize,
    narrowest: usize,
    done: usize,
}

impl<'a, S: TangentSystem> Carrier<'a, S> {
    pub(super) fn new(
        system: &'a mut S,
        vectors: usize,
        settings: &LyapunovSettings,
    ) -> Result<Self, DynamicsError> {
        if settings.interval == Some(0) {
            return Err(DynamicsError::Setting {
                field: "interval",
                value: 0.0,
                allowed: "at least 1",
            });
        }
        let rows = system.dim();
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut block = Block::zeros(rows, vectors);
        block
            .values_mut()
            .iter_mut()
            .for_each(|value| *value = rng.random_range(-1.0..1.0));
        let mut logs = vec![0.0; vectors];
        orthonormalize(&mut block, &mut logs, 0)?;
        Ok(Self {
            system,
            block,
            totals: vec![0.0; vectors],
            logs,
            fixed: settings.interval,
            log_loss: 0.0,
            lost: 1.0,
            longest: 0,
            narrowest: rows,
            done: 0,
        })
    }

    /// The largest number of steps between two factorisations.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The most that a column lost between two factorisations: its length over the length of the
    /// part that no other column has.
    pub(super) fn lost(&self) -> f64 {
        self.lost
    }

    /// The width of the narrowest state.
    pub(super) fn narrowest(&self) -> usize {
        self.narrowest
    }

    /// Advances by `steps` and returns the sums of `ln |R_ii|` over them. A factorisation follows
    /// the last step.
    #[inline]
    pub(super) fn advance(&mut self, steps: usize) -> Result<&[f64], DynamicsError> {
        self.totals.fill(0.0);
        let mut left = steps;
        while left > 0 {
            let most = self.longest_allowed().min(left);
            let mut length = 0;
            loop {
                self.step()?;
                length += 1;
                if length == most || self.is_due() {
                    break;
                }
            }
            left -= length;
            self.factorise(length)?;
        }
        Ok(&self.totals)
    }

    #[inline]
    fn step(&mut self) -> Result<(), DynamicsError> {
        self.system.step(&mut self.block)?;
        self.done += 1;
        let (rows, vectors) = (self.block.rows(), self.block.cols());
        self.narrowest = self.narrowest.min(rows);
        if rows == 0 {
            return Err(DynamicsError::ZeroWidth { step: self.done });
        }
        if rows < vectors {
            return Err(DynamicsError::VectorCount {
                vectors,
                width: rows,
            });
        }
        Ok(())
    }

    /// The number of steps after which the next factorisation comes at the latest.
    #[inline]
    fn longest_allowed(&self) -> usize {
        match self.fixed {
            Some(fixed) => fixed,
            None if self.block.cols() <= FEW_COLUMNS => usize::MAX,
            None => {
                // Infinite without any loss. The cast saturates.
                let by_loss = (LOG_LOSS / self.log_loss) as usize;
                // At most doubled: the steps ahead may lose more than any step so far.
                by_loss.min(2 * self.longest).clamp(1, LONGEST)
            }
        }
    }

    /// Whether the block must be factorised before the interval is over.
    #[inline]
    fn is_due(&self) -> bool {
        match self.fixed {
            Some(_) => false,
            None if self.block.cols() <= FEW_COLUMNS => has_lost_digits(&self.block),
            None => has_changed_size(&self.block),
        }
    }

    #[inline]
    fn factorise(&mut self, length: usize) -> Result<(), DynamicsError> {
        let lost = orthonormalize(&mut self.block, &mut self.logs, self.done).map_err(|error| {
            match error {
                // Only a factorisation after each step can distinguish the two.
                DynamicsError::RankDeficient { step, .. } if length > 1 => {
                    DynamicsError::DriftedApart {
                        step,
                        interval: length,
                    }
                }
                other => other,
            }
        })?;
        for (total, log) in self.totals.iter_mut().zip(&self.logs) {
            *total += log;
        }
        if self.block.cols() > FEW_COLUMNS {
            self.log_loss = self.log_loss.max(lost.ln() / length as f64);
        }
        self.lost = self.lost.max(lost);
        self.longest = self.longest.max(length);
        Ok(())
    }
}
