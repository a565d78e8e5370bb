//! What a log could not have shown.

use super::{Finding, History};
use crate::trace::{Cadence, Objective, Role};

/// Rows before a detector can see that one stands out.
const LEAST_ROWS: usize = 20;

/// The rule of a loss that stands still.
const STUCK: &str = "SG022";

/// Returns what the log could not have shown, in sentences: without one of them the run may be
/// called healthy. An empty log has none.
pub(super) fn unseen(history: &History<'_>, findings: &[Finding]) -> Vec<String> {
    let rows = history.rows().len();
    let has = |role: &Role| history.trace().series(role).is_some();
    let has_norm = history.rows().iter().any(|row| row.grad_norm.is_some());
    let mut unseen = Vec::new();
    let mut say = |sentence: String| unseen.push(sentence);
    if rows == 0 {
        return unseen;
    }
    if !has(&Role::Loss) {
        say("The log has no loss: whether the run learns cannot be seen.".into());
    }
    if !has_norm {
        say("The log has no gradient norm: a spike that clipping absorbed cannot be seen.".into());
    }
    if rows < LEAST_ROWS {
        say(format!(
            "The log has {rows} rows: {LEAST_ROWS} are needed to say what is usual."
        ));
    }
    match history.cadence() {
        Cadence::Steps(2..) | Cadence::Epoch | Cadence::Unknown => say(between(history.cadence())),
        _ => {}
    }
    match history.objective() {
        Objective::Gan => say(
            "The losses of two networks against each other measure no progress: a loss that rises, \
             stands still or goes back is not judged."
                .into(),
        ),
        Objective::Rl => say(
            "The loss of a policy measures no progress: a loss that rises, stands still or goes \
             back is not judged."
                .into(),
        ),
        _ => {}
    }
    if let Some(cut_short) = &history.trace().cut_short {
        say(format!(
            "The log ends early ({cut_short}): what came after cannot be seen."
        ));
    }
    if findings.iter().any(|finding| finding.code == STUCK) {
        say("The loss stands still: whether there is more to learn cannot be seen.".into());
    }
    unseen
}

fn between(cadence: Cadence) -> String {
    match cadence {
        Cadence::Steps(steps) => format!(
            "Rows are {steps} steps apart: what began and ended between two of them cannot be seen."
        ),
        Cadence::Epoch => {
            "A row is an epoch: what began and ended within one cannot be seen.".into()
        }
        _ => "The log does not tell how many steps a row stands for: what began and ended within \
              one cannot be seen."
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sketch::{Sketch, healthy};
    use super::super::{RunDiagnosis, RunState};
    use crate::trace::{Cadence, Objective, Role, Trace};

    #[test]
    fn healthy_is_said_only_where_a_fault_would_have_been_seen() {
        let of = |change: &dyn Fn(&mut Trace)| {
            let mut trace = healthy();
            change(&mut trace);
            RunDiagnosis::of(&trace)
        };
        let whole = of(&|_| ());
        assert_eq!((whole.state, whole.unseen), (RunState::Alive, vec![]));
        let without = |role: Role| {
            move |trace: &mut Trace| trace.series.retain(|series| *series.role() != role)
        };
        for (part, change) in [
            (
                "no gradient norm",
                &without(Role::GradNorm) as &dyn Fn(&mut Trace),
            ),
            ("no loss", &without(Role::Loss)),
            ("50 steps apart", &|trace| {
                trace.cadence = Cadence::Steps(50)
            }),
            ("an epoch", &|trace| trace.cadence = Cadence::Epoch),
            ("how many steps", &|trace| trace.cadence = Cadence::Unknown),
            ("two networks", &|trace| trace.objective = Objective::Gan),
            ("a policy", &|trace| trace.objective = Objective::Rl),
            ("744 of 3,000", &|trace| {
                trace.cut_short = Some("744 of 3,000 steps".into())
            }),
        ] {
            let found = of(change);
            assert_eq!(found.state, RunState::NothingSeen, "{part}");
            assert!(found.unseen.concat().contains(part), "{:?}", found.unseen);
        }
        let short = RunDiagnosis::of(&Sketch::healthy(10).trace());
        assert_eq!(short.state, RunState::NothingSeen);
    }
}
