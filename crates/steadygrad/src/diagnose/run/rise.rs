use super::growth::{CALM, Growth, growth};
use super::signals::{Signal, reward_rises};
use super::{Ending, Row, median};
use crate::trace::{Objective, Role, Trace};

/// Growth by less than a hundredfold may be a schedule's, a stage's or a policy's that learns. With
/// a NaN at its end, less is enough.
const FAR: f64 = 1e3;

/// A loss that ends an order of magnitude above its usual is no noise.
const TENFOLD: f64 = 10.0;

/// A loss that ends in NaN, or above three times its start, has grown by at least this factor.
const LEAST_OF_LOSS: f64 = 3.0;

/// Losses that are no measure of progress swing tenfold without harm.
const SWINGS: f64 = 100.0;

/// A policy this far from its reference, in nats, has left it: a usual sample has become e^10 times
/// as likely, or as unlikely.
const FAR_POLICY: f64 = 10.0;

/// Rows of a loss that is higher than usual by chance are fewer.
const RISEN: f64 = 1.5;

/// Columns whose growth begins within so many rows begin together: noise decides which is first.
const TOGETHER: usize = 4;

/// A column that grew over several rows and did not come back.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ColumnRise {
    /// The column's role: the gradient norm where it grew, else a loss or a divergence.
    pub role: Role,
    /// The row that the growth began in.
    pub from_row: usize,
    /// The row of the largest finite value.
    pub to_row: usize,
    /// The usual value before.
    pub from: f64,
    /// The largest finite value.
    pub to: f64,
    /// Factor a step: the `(to_step - from_step + 1)`-th root of `to / from`.
    pub per_step: f64,
    /// Factor a row.
    pub per_row: f64,
    /// Whether the run cannot be well: the loss or what stands for it grew, or nothing shows that
    /// it did not.
    pub is_fatal: bool,
}

/// Finds the growth that the run is lost in, or about to be lost in.
pub(super) fn rise(
    trace: &Trace,
    rows: &[Row],
    signals: &[Signal],
    ending: Ending,
) -> Option<ColumnRise> {
    let end = match ending {
        Ending::NonFinite { row } => row,
        _ => rows.len(),
    };
    let by_step = trace.is_by_step();
    let mut found: Vec<ColumnRise> = signals
        .iter()
        .filter_map(|signal| {
            let growth = growth(&signal.points, end, end == rows.len(), by_step)?;
            let is_fatal = judge(trace, rows, signal, &growth, ending)?;
            Some(column_rise(rows, &signal.role, &growth, is_fatal))
        })
        .collect();
    let fatal = found.iter().any(|rise| rise.is_fatal);
    for rise in &mut found {
        // Two columns that grow together are one explosion.
        rise.is_fatal |= fatal;
    }
    // A policy's columns rise from nothing at the start, which is how they learn.
    if found.iter().any(|rise| rise.from_row >= CALM) {
        found.retain(|rise| rise.from_row >= CALM);
    }
    let is_norm = |rise: &ColumnRise| rise.role == Role::GradNorm;
    // A policy's loss and divergence rise as it learns: its norm has no such reason.
    if trace.objective == Objective::Rl
        && let Some(norm) = found.iter().position(is_norm)
    {
        return Some(found.swap_remove(norm));
    }
    let first = found.iter().map(|rise| rise.from_row).min()?;
    found
        .into_iter()
        .find(|rise| rise.from_row <= first + TOGETHER)
}

/// Whether this growth is a fault, `None` if it is not, and whether it is fatal by itself.
fn judge(
    trace: &Trace,
    rows: &[Row],
    signal: &Signal,
    growth: &Growth,
    ending: Ending,
) -> Option<bool> {
    let ratio = growth.to / growth.from;
    if matches!(ending, Ending::NonFinite { .. }) {
        let least = match (&signal.role, trace.objective) {
            (Role::Loss, Objective::Supervised) => LEAST_OF_LOSS,
            (_, Objective::Supervised) | (Role::Kl, _) => TENFOLD,
            // Losses of two networks, or of a policy, swing.
            _ => SWINGS,
        };
        return (ratio >= least).then_some(true);
    }
    let is_learning =
        || trace.objective != Objective::Supervised && reward_rises(trace, rows, growth.from_row);
    if is_learning() {
        return None;
    }
    let goes_on = growth.is_steady || growth.is_from_calm;
    match (&signal.role, trace.objective) {
        (Role::Kl, _) => (ratio >= TENFOLD && growth.last >= FAR_POLICY).then_some(true),
        (Role::Loss, Objective::Supervised) => {
            let start = rows.iter().find_map(|row| row.loss)?;
            let diverged = matches!(ending, Ending::Diverged { .. }) && ratio >= LEAST_OF_LOSS;
            let far = ratio >= TENFOLD && growth.last > start;
            (diverged || far).then_some(true)
        }
        (Role::GradNorm, Objective::Supervised) => {
            let lost = matches!(ending, Ending::Diverged { .. } | Ending::Relapsed { .. });
            let has_loss = trace.series(&Role::Loss).is_some();
            let rose = has_loss && loss_rose(rows, growth.from_row);
            if lost {
                return (ratio >= TENFOLD).then_some(true);
            }
            let far = ratio >= FAR && goes_on;
            match has_loss {
                // A norm that rises while the loss falls is a network that leaves a plateau.
                true if rose => (ratio >= TENFOLD).then_some(true),
                true => (far && growth.is_steady).then_some(false),
                false => far.then_some(true),
            }
        }
        _ => (ratio >= FAR && goes_on).then_some(true),
    }
}

/// Whether the last losses are well above those before this row.
fn loss_rose(rows: &[Row], from_row: usize) -> bool {
    let finite = |rows: &[Row]| {
        let losses = rows.iter().filter_map(|row| row.loss);
        median(losses.filter(|loss| loss.is_finite()))
    };
    let before = finite(&rows[from_row.saturating_sub(20)..from_row.max(1)]);
    let after = finite(&rows[rows.len().saturating_sub(3)..]);
    before
        .zip(after)
        .is_some_and(|(before, after)| before > 0.0 && after > RISEN * before)
}

fn column_rise(rows: &[Row], role: &Role, growth: &Growth, is_fatal: bool) -> ColumnRise {
    let ratio = growth.to / growth.from;
    let steps = rows[growth.to_row]
        .step
        .abs_diff(rows[growth.from_row].step)
        + 1;
    let count = growth.to_row + 1 - growth.from_row;
    ColumnRise {
        role: role.clone(),
        from_row: growth.from_row,
        to_row: growth.to_row,
        from: growth.from,
        to: growth.to,
        per_step: ratio.powf(1.0 / steps as f64),
        per_row: ratio.powf(1.0 / count as f64),
        is_fatal,
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::sketch::{Sketch, diverging, healthy};
    use crate::diagnose::{Ending, History};
    use crate::trace::{Cadence, Objective, Role};

    #[test]
    fn a_geometric_rise_has_its_rate_and_begins_where_it_begins() {
        let trace = diverging().trace();
        let history = History::of(&trace);
        let rise = history.rise().unwrap();
        assert_eq!((rise.role.clone(), rise.to_row), (Role::GradNorm, 129));
        assert!((100..=103).contains(&rise.from_row), "{}", rise.from_row);
        assert!((1.4..1.6).contains(&rise.per_step), "{}", rise.per_step);
        assert!(rise.is_fatal);
    }

    #[test]
    fn a_log_without_a_loss_is_judged_by_its_norm() {
        for rate in [1.03f64, 1.05, 1.6] {
            let sketch = Sketch::healthy(600)
                .norm(40, |since, norm| (norm * rate.powi(since as i32)).min(1e30));
            let mut trace = sketch.trace();
            trace.series.retain(|series| *series.role() != Role::Loss);
            let history = History::of(&trace);
            let rise = history.rise().unwrap();
            assert!((38..90).contains(&rise.from_row), "{rate}: {rise:?}");
            assert!(matches!(history.ending(), Ending::Diverged { .. }));
        }
        let mut trace = healthy();
        trace.series.retain(|series| *series.role() != Role::Loss);
        assert_eq!(History::of(&trace).rise(), None);
    }

    #[test]
    fn a_nan_from_nothing_and_a_healthy_run_have_none() {
        let trace = Sketch::healthy(50).loss(40, |_, _| f64::NAN).trace();
        assert_eq!(History::of(&trace).rise(), None);
        assert_eq!(History::of(&healthy()).rise(), None);
    }

    #[test]
    fn a_run_that_is_killed_on_the_way_up_is_on_the_way_up() {
        let up = |rows: usize| {
            let up = |since: usize, loss: f64| loss * 1.9f64.powi(since as i32);
            Sketch::healthy(rows).loss(100, up).norm(99, up).trace()
        };
        for rows in [104, 108, 120] {
            let trace = up(rows);
            let history = History::of(&trace);
            assert!(history.rise().is_some_and(|rise| rise.is_fatal), "{rows}");
            assert!(
                matches!(history.ending(), Ending::Diverged { .. }),
                "{rows}"
            );
        }
    }

    #[test]
    fn a_part_that_runs_away_is_found_in_any_kind_of_training() {
        let of = |role: Role, objective: Objective, reward: f64| {
            let grown = |row: usize| 0.5 * 1.4f64.powi(row.saturating_sub(60) as i32);
            let mut trace = Sketch::healthy(100)
                .with(role, grown)
                .with(Role::Reward, move |row| reward * row as f64)
                .trace();
            (trace.objective, trace.cadence) = (objective, Cadence::Unknown);
            History::of(&trace).rise().map(|rise| rise.from_row)
        };
        let begins = |row: Option<usize>| row.is_some_and(|row| (59..64).contains(&row));
        for objective in [Objective::Gan, Objective::Rl] {
            for role in [Role::LossPart("loss_G".into()), Role::ValueLoss, Role::Kl] {
                assert!(begins(of(role.clone(), objective, -1.0)), "{role:?}");
                assert!(begins(of(role, objective, 0.0)));
            }
        }
        // The values grow because the agent earns more.
        assert_eq!(of(Role::ValueLoss, Objective::Rl, 1.0), None);
    }

    #[test]
    fn a_policy_s_loss_that_rises_from_zero_to_a_level_has_not_grown_out_of_bounds() {
        let level = |row: usize, _: f64| 0.02 * (1.0 - (-(row as f64) / 40.0).exp());
        let mut trace = Sketch::healthy(300).loss(0, level).trace();
        trace.objective = Objective::Rl;
        assert_eq!(History::of(&trace).rise(), None);
    }
}
