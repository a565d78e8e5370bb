//! Other tools' rules for a failing run, as their papers and sources state them, on the same logs.

use steadygrad::trace::Role;

use super::Run;

/// A rule of another tool.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The tool and the rule.
    pub name: &'static str,
    /// The first step with an alarm.
    pub first_alarm: fn(&Run) -> Option<u64>,
}

/// All rules.
pub const PEERS: [Peer; 6] = [
    Peer {
        name: "AutoTrainer, exploding",
        first_alarm: auto_trainer,
    },
    Peer {
        name: "SageMaker, ExplodingTensor",
        first_alarm: sage_maker,
    },
    Peer {
        name: "TheDeepChecker, exploding",
        first_alarm: deep_checker,
    },
    Peer {
        name: "Lightning, SpikeDetection",
        first_alarm: lightning,
    },
    Peer {
        name: "OLMo, SkipStep 6 sigma",
        first_alarm: olmo,
    },
    Peer {
        name: "Megatron, 10x",
        first_alarm: megatron,
    },
];

fn column(run: &Run, role: &Role) -> Vec<f64> {
    run.trace
        .series(role)
        .map_or(Vec::new(), |series| series.values().to_vec())
}

fn first(mut alarms: impl Iterator<Item = bool>) -> Option<u64> {
    alarms.position(|alarm| alarm).map(|step| step as u64)
}

/// An alarm if the first gradient is above 70 times the last one, a loss or gradient is not finite,
/// or the loss is at least 1,000. The rule looks at every third epoch; here it looks at every third
/// step.
fn auto_trainer(run: &Run) -> Option<u64> {
    let losses = column(run, &Role::Loss);
    let weights: Vec<&[f64]> = run
        .trace
        .parameters()
        .filter(|(name, _)| name.ends_with("weight"))
        .map(|(_, series)| series.values())
        .collect();
    let ends = weights.first().zip(weights.last());
    let alarms = losses.iter().enumerate().map(|(step, loss)| {
        let ratio = ends.map_or(f64::NAN, |(front, back)| front[step] / back[step]);
        let norms = weights.iter().map(|norms| norms[step]);
        let broken = !loss.is_finite() || norms.into_iter().any(|norm| !norm.is_finite());
        // The rule applies to runs that do not converge: no better than at the start.
        let stuck = *loss >= losses[0];
        step % 3 == 2 && (broken || *loss >= 1e3 || (ratio > 70.0 && stuck))
    });
    first(alarms)
}

/// An alarm at the first NaN or infinity.
fn sage_maker(run: &Run) -> Option<u64> {
    run.first_non_finite
}

/// An alarm if a mean absolute gradient is above a million, or doubles in each of 5 steps. Here the
/// root mean square takes the place of the mean absolute value, which is not larger.
fn deep_checker(run: &Run) -> Option<u64> {
    const STEPS: usize = 5;
    let rms = &run.gradient_rms;
    let alarms = (0..rms.len()).map(|step| {
        (0..rms[step].len()).any(|parameter| {
            let now = rms[step][parameter];
            let grows = step >= STEPS
                && (step - STEPS..step).all(|at| {
                    let (from, to) = (rms[at][parameter], rms[at + 1][parameter]);
                    from > 0.0 && to >= 2.0 * from
                });
            !now.is_finite() || now > 1e6 || grows
        })
    });
    first(alarms)
}

/// An alarm if the loss is at least three times the mean of the last ten, after one step, or not
/// finite.
fn lightning(run: &Run) -> Option<u64> {
    const WINDOW: usize = 10;
    let losses = column(run, &Role::Loss);
    let alarms = losses.iter().enumerate().map(|(step, loss)| {
        let past = &losses[step.saturating_sub(WINDOW)..step];
        let mean = past.iter().sum::<f64>() / past.len() as f64;
        !loss.is_finite() || (step > 1 && *loss >= 3.0 * mean)
    });
    first(alarms)
}

/// An alarm if the loss or the gradient norm is six standard deviations above the mean of the last
/// 128, or of at least 64 at the start.
fn olmo(run: &Run) -> Option<u64> {
    const WINDOW: usize = 128;
    let far = |values: &[f64], step: usize| {
        let past = &values[step.saturating_sub(WINDOW)..step];
        if past.len() < WINDOW / 2 {
            return false;
        }
        let count = past.len() as f64;
        let mean = past.iter().sum::<f64>() / count;
        let variance = past.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        values[step] > mean + 6.0 * variance.sqrt()
    };
    let (losses, norms) = (column(run, &Role::Loss), column(run, &Role::GradNorm));
    let alarms = (0..losses.len()).map(|step| {
        !losses[step].is_finite()
            || !norms[step].is_finite()
            || far(&losses, step)
            || far(&norms, step)
    });
    first(alarms)
}

/// An alarm if the loss is at least ten times the largest of the first hundred, or not finite.
fn megatron(run: &Run) -> Option<u64> {
    const SAMPLES: usize = 100;
    let losses = column(run, &Role::Loss);
    let largest = losses.iter().take(SAMPLES).copied().fold(0.0, f64::max);
    let alarms = losses
        .iter()
        .enumerate()
        .map(|(step, loss)| !loss.is_finite() || (step >= SAMPLES && *loss >= 10.0 * largest));
    first(alarms)
}
