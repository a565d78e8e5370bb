//! Losses that Hugging Face's trainer filtered.

use steadygrad::trace::{Role, Series};

/// Writes NaN where the trainer logged 0 for a loss that was not finite, and says so.
///
/// By default (`logging_nan_inf_filter`) the trainer leaves non-finite losses out of the mean that
/// it logs. Where no loss is finite the mean is 0. Other tools do not log a loss of exactly 0 beside
/// a gradient norm that is not finite, and other spellings of the three columns are left alone.
pub(crate) fn restore(series: &mut [Series]) -> Option<String> {
    let column = |role: Role| series.iter().find(|series| *series.role() == role);
    let (loss, norm) = (column(Role::Loss)?, column(Role::GradNorm)?);
    let group = loss.column().strip_suffix("loss")?;
    let is_trainer = norm.column().strip_prefix(group) == Some("grad_norm")
        && column(Role::LearningRate)?.column().strip_prefix(group) == Some("learning_rate")
        && ["", "train/"].contains(&group);
    if !is_trainer || loss.steps() != norm.steps() {
        return None;
    }
    let mut count = 0usize;
    let mut values = loss.values().to_vec();
    for (value, norm) in values.iter_mut().zip(norm.values()) {
        if *value == 0.0 && !norm.is_finite() {
            *value = f64::NAN;
            count += 1;
        }
    }
    let name = loss.column().to_owned();
    let restored = Series::new(Role::Loss, name.as_str(), loss.steps().clone(), values).ok()?;
    let place = series
        .iter()
        .position(|series| *series.role() == Role::Loss)?;
    series[place] = restored;
    (count > 0).then(|| {
        format!(
            "`{name}` is 0 beside a gradient norm that is not finite in {count} rows: read as NaN, \
             which Hugging Face's trainer leaves out of its means"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: [&str; 3], losses: &[f64], norms: &[f64]) -> (Vec<f64>, Option<String>) {
        let steps: std::sync::Arc<[u64]> = (0..losses.len() as u64).collect();
        let rates = vec![0.1; losses.len()];
        let mut series = [
            (Role::Loss, losses),
            (Role::GradNorm, norms),
            (Role::LearningRate, &rates),
        ]
        .into_iter()
        .zip(names)
        .map(|((role, values), name)| {
            Series::new(role, name, steps.clone(), values.to_vec()).unwrap()
        })
        .collect::<Vec<Series>>();
        let note = restore(&mut series);
        (series[0].values().to_vec(), note)
    }

    const TRAINER: [&str; 3] = ["loss", "grad_norm", "learning_rate"];

    #[test]
    fn a_zero_beside_a_nan_is_a_nan() {
        let (losses, note) = of(
            TRAINER,
            &[1.5, 0.0, 0.0, 0.0],
            &[1.0, f64::NAN, f64::INFINITY, 0.5],
        );
        assert!(losses[0] == 1.5 && losses[1].is_nan() && losses[2].is_nan());
        assert_eq!(losses[3], 0.0);
        assert!(note.unwrap().contains("in 2 rows"));
        assert_eq!(of(TRAINER, &[], &[]), (vec![], None));
    }

    #[test]
    fn other_tools_losses_stay() {
        let names = ["loss", "gnorm", "lr"];
        assert_eq!(of(names, &[0.0], &[f64::NAN]), (vec![0.0], None));
    }
}
