use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Row;
use super::quantiles::{deviation, lower_quartile, median};
use super::streaks::is_broken;
use crate::trace::{Objective, Role, Trace};

/// A run whose loss ends above this many times its start has diverged: Lightning's SpikeDetection
/// calls threefold a spike.
const DIVERGED: f64 = 3.0;

/// A run whose loss ends above this many times its start has relapsed, if most of its last losses
/// are above the start by more than losses differ from row to row. The start is a median, so one
/// loss that is low by chance does not count.
const WORSE: f64 = 1.5;

/// Share of the progress that a relapse loses, at least: the guard's own bound.
const RELAPSED: f64 = 0.8;

/// Progress is at least this many times the deviation of the losses at the end.
const PROGRESS: f64 = 3.0;

/// Progress is at least this share of the loss at the start: less cannot be lost.
const LEARNT: f64 = 0.2;

/// Share of the progress that a relapse loses if the network is dead as well.
const HALF: f64 = 0.5;

/// The largest noise of a dead network's losses, as a share of their level. A dead network gives
/// one answer to every input, so its losses differ only by how often that answer is right in a
/// batch. As in SG015; chosen on the zoo's tuning part.
const FLAT: f64 = 0.05;

/// The largest gradient norm of a dead network, as a share of its norm at its best, or in most of
/// the run. A living network has a larger gradient where its loss is higher.
const QUIET: f64 = 0.25;

/// The least losses that a relapse lasts for: noise may make fewer.
const LASTS: usize = 3;

/// Losses that make up the start.
const START: usize = 5;

/// Steps without a finite gradient norm after which the run is lost although its loss is finite:
/// so many skipped steps in a row end a run of torchtitan's and Megatron-LM's.
const SKIPPED: usize = 5;

/// How a run ended, as far as its log shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ending {
    /// The log is empty.
    #[default]
    Unknown,
    /// The log does not show that the run is lost.
    Alive,
    /// Loss or gradient norm are NaN or infinite from this row to the end.
    NonFinite {
        /// The first such row.
        row: usize,
    },
    /// The loss ends above three times its start, and stays above its start from this row on. Or a
    /// loss, a norm or a divergence grew out of bounds from this row on.
    Diverged {
        /// The first row of the last stretch above the start, or of the growth.
        row: usize,
    },
    /// The loss ends where it began, after it had been well below. Or it ends above one and a half
    /// times that. Or it stays halfway back on one level, with a gradient norm far below its best.
    Relapsed {
        /// The first row of the last stretch up there.
        row: usize,
    },
}

impl Ending {
    /// Returns the row from which the run is lost; `None` if it is not.
    pub fn row(self) -> Option<usize> {
        match self {
            Self::Unknown | Self::Alive => None,
            Self::NonFinite { row } | Self::Diverged { row } | Self::Relapsed { row } => Some(row),
        }
    }

    pub(super) fn of(rows: &[Row], trace: &Trace) -> Self {
        if rows.is_empty() {
            return Self::Unknown;
        }
        if let Some(row) = broken_from(rows, trace) {
            return Self::NonFinite { row };
        }
        if trace.objective != Objective::Supervised {
            return Self::Alive;
        }
        let finite = |row: &Row| row.loss.filter(|loss| loss.is_finite());
        let losses: Vec<f64> = rows.iter().filter_map(finite).collect();
        let begin_of = |bound: f64| {
            let mut above = None;
            for (index, row) in rows.iter().enumerate().rev() {
                match finite(row) {
                    Some(loss) if loss > bound => above = Some(index),
                    Some(_) => break,
                    None => {}
                }
            }
            above
        };
        let last_of = |count: usize| {
            let with_loss = rows.iter().enumerate().rev();
            let mut with_loss = with_loss.filter(|(_, row)| finite(row).is_some());
            with_loss.nth(count - 1).map(|(index, _)| index)
        };
        // Places count rows with a loss; a copy of those rows would be large.
        let norm_of = |places: Range<usize>| {
            let with_loss = rows.iter().filter(|row| finite(row).is_some());
            let these = with_loss.skip(places.start).take(places.len());
            median(these.filter_map(|row| row.grad_norm))
        };
        Self::by_loss(&losses, norm_of, begin_of, last_of).unwrap_or(Self::Alive)
    }

    /// `norm_of` returns the median gradient norm of a range of losses, `begin_of` the first row of
    /// the last stretch of losses above a bound, `last_of` the first row of the last so many
    /// losses.
    fn by_loss(
        losses: &[f64],
        norm_of: impl Fn(Range<usize>) -> Option<f64>,
        begin_of: impl Fn(f64) -> Option<usize>,
        last_of: impl Fn(usize) -> Option<usize>,
    ) -> Option<Self> {
        // The end is a twentieth of the losses, at least five of them, at most half of a short log.
        let last = (losses.len() / 20).max(START.min(losses.len() / 2)).max(1);
        let start = middle(losses.get(..START.min(losses.len()))?)?;
        let first = losses.first()?.min(start);
        let end = middle(&losses[losses.len() - last..])?;
        if first > 0.0 && end > DIVERGED * first {
            let row = begin_of(first)?;
            return Some(Self::Diverged { row });
        }
        // Three quarters of twice as many losses: pure noise is below the start now and then.
        let tail = &losses[losses.len().saturating_sub(2 * last)..];
        let most_are_above = lower_quartile(tail.iter().copied())? > start;
        let beyond_noise = end - start > deviation(tail)?;
        if start > 0.0 && end > WORSE * start && most_are_above && beyond_noise {
            let row = begin_of(start).or_else(|| last_of(last))?;
            return Some(Self::Relapsed { row });
        }
        let blocks = losses.chunks_exact(last).map(middle).enumerate();
        let blocks = blocks.filter_map(|(index, block)| Some((index, block?)));
        let (at_best, best) = blocks.min_by(|a, b| a.1.total_cmp(&b.1))?;
        let progress = start - best;
        let noise = deviation(&losses[losses.len() - last..])?;
        if progress <= (PROGRESS * noise).max(LEARNT * start.abs()) {
            return None;
        }
        let is_dead = || {
            let now = norm_of(losses.len() - last..losses.len())?;
            // A network that fits well also has a small gradient at its best.
            let best = norm_of(at_best * last..(at_best + 1) * last)?;
            let then = best.max(norm_of(0..losses.len())?);
            Some(noise <= FLAT * end.abs() && now < QUIET * then)
        };
        let back_to = |share: f64| {
            let bound = start - (1.0 - share) * progress;
            let row = begin_of(bound)?;
            let lasts = row <= last_of(LASTS.min(losses.len()))?;
            (end > bound && lasts).then_some(Self::Relapsed { row })
        };
        back_to(RELAPSED).or_else(|| back_to(HALF).filter(|_| is_dead() == Some(true)))
    }
}

/// The row from which on every row has a value that is not finite. `None` for a run whose last
/// steps a loss scaler, or a guard, left out.
fn broken_from(rows: &[Row], trace: &Trace) -> Option<usize> {
    let broken = rows.iter().rev().take_while(|row| is_broken(row)).count();
    let from = rows.len() - broken;
    let is_skipped = |row: &Row| {
        !row.is_part_broken
            && row.loss.is_some_and(f64::is_finite)
            && row.grad_norm.is_some_and(|norm| !norm.is_finite())
    };
    // Such a row did no harm before, or a scaler is known to leave it out.
    let is_harmless =
        rows[..from].iter().any(is_skipped) || trace.series(&Role::LossScale).is_some();
    let few = broken < SKIPPED && rows[from..].iter().all(is_skipped);
    (broken > 0 && !(few && is_harmless)).then_some(from)
}

/// Returns the median of the losses.
fn middle(losses: &[f64]) -> Option<f64> {
    median(losses.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(losses: impl IntoIterator<Item = f64>) -> Ending {
        let rows: Vec<Row> = losses
            .into_iter()
            .zip(0..)
            .map(|(loss, step)| Row::new(step, Some(loss), None, None))
            .collect();
        Ending::of(&rows, &Trace::default())
    }

    fn falling(steps: u32) -> impl Iterator<Item = f64> {
        (0..steps).map(|step| 2.0 * 0.97f64.powi(step as i32) + 0.1)
    }

    #[test]
    fn each_ending() {
        assert_eq!(of([]), Ending::Unknown);
        assert_eq!(of(falling(100)), Ending::Alive);
        assert_eq!(of(vec![2.3; 100]), Ending::Alive);
        let nan = falling(50).chain([f64::NAN; 3]);
        assert_eq!(of(nan), Ending::NonFinite { row: 50 });
        let diverged = falling(50).chain((0..30).map(|step| 1.3f64.powi(step)));
        assert!(matches!(of(diverged), Ending::Diverged { row: 50..60 }));
        let relapsed = falling(80).chain([2.3; 40]);
        assert_eq!(of(relapsed), Ending::Relapsed { row: 80 });
    }

    #[test]
    fn worse_than_it_began_is_lost_although_nothing_was_learnt() {
        let noisy = |level: f64| {
            let noise = move |step: u32| level + [0.0, 0.8, -0.4, 0.3, -0.7][step as usize % 5];
            (0..60).map(|_| 2.3).chain((60..120).map(noise))
        };
        assert_eq!(of(noisy(4.0)), Ending::Relapsed { row: 60 });
        // The last loss alone is below the start: the relapse begins where the median begins.
        let dips = noisy(4.0).chain([2.0]);
        assert_eq!(of(dips), Ending::Relapsed { row: 115 });
        assert_eq!(of(noisy(2.6)), Ending::Alive);
        // One low loss at the start does not count.
        assert_eq!(of([1.2].into_iter().chain([2.3; 119])), Ending::Alive);
        // The noise is as large: a quarter of the losses are back at the start.
        let swings = (0..120).map(|step| [2.3, 6.0, 4.0, 1.0][step as usize % 4]);
        assert_eq!(of(swings), Ending::Alive);
    }

    /// Fine-tuning ends where it begins, and its losses differ by a third from row to row. If the
    /// first loss alone were the start, one run in seven would be lost.
    #[test]
    fn noise_around_one_level_is_seldom_lost() {
        use rand::{RngExt, SeedableRng};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
        let mut lost = 0;
        for _ in 0..300 {
            let losses: Vec<f64> = (0..100)
                .map(|_| {
                    let uniforms: f64 = (0..12).map(|_| random.random_range(0.0..1.0)).sum();
                    (0.3 * (uniforms - 6.0)).exp()
                })
                .collect();
            lost += u32::from(of(losses) != Ending::Alive);
        }
        assert!(lost <= 20, "{lost} of 300");
    }

    #[test]
    fn half_way_back_is_lost_where_the_network_is_dead() {
        // Falls from above chance, then stays at chance, with this gradient norm and noise.
        let from = |height: f64, norm: Option<f64>, noise: f64| {
            let fell = (0..80).map(|step| (height * 0.95f64.powi(step) + 0.1, Some(1.0)));
            let stays = (0..60).map(|step| {
                let away = [0.0, 1.0, -1.0, 0.5, -0.5][step % 5];
                (2.0 * (1.0 + noise * away), norm)
            });
            let rows: Vec<Row> = fell
                .chain(stays)
                .zip(0..)
                .map(|((loss, norm), step)| Row::new(step, Some(loss), norm, None))
                .collect();
            Ending::of(&rows, &Trace::default())
        };
        let ends = |norm: Option<f64>, noise: f64| from(3.0, norm, noise);
        assert_eq!(ends(Some(0.1), 0.01), Ending::Relapsed { row: 80 });
        // A fifth of the way back may come from other data.
        assert_eq!(from(8.0, Some(0.1), 0.01), Ending::Alive);
        assert_eq!(ends(Some(0.0), 0.0), Ending::Relapsed { row: 80 });
        // A larger gradient, noisier losses, or no gradient in the log.
        assert_eq!(ends(Some(0.5), 0.01), Ending::Alive);
        assert_eq!(ends(Some(0.1), 0.1), Ending::Alive);
        assert_eq!(ends(None, 0.01), Ending::Alive);
        assert_eq!(ends(Some(f64::NAN), 0.01), Ending::NonFinite { row: 80 });
    }

    #[test]
    fn a_run_that_comes_back_is_alive() {
        let spike = falling(50)
            .chain([100.0, f64::NAN, 30.0])
            .chain(falling(50));
        assert_eq!(of(spike), Ending::Alive);
        // Negative losses have no multiples, and one row has no course.
        assert_eq!(of((0..50).map(|step| -f64::from(step))), Ending::Alive);
        assert_eq!(of([7.0]), Ending::Alive);
        assert_eq!(of([f64::INFINITY]), Ending::NonFinite { row: 0 });
        assert_eq!(of([0.0; 9]), Ending::Alive);
    }
}
