//! What a cure found.

use steadygrad::cure::{
    BASELINE, CureReport, End, Outcome, RankedTrial, Trial, TrialKind, Verdict, Verification,
};
use steadygrad::detect::Detection;
use steadygrad::remedy::Family;

use crate::number;

/// A row of the ranking, with its trial.
pub(crate) struct RankingRow<'a> {
    pub(crate) place: &'a RankedTrial,
    pub(crate) trial: &'a Trial,
    pub(crate) outcome: &'a Outcome,
}

/// The ranking, best first, without entries whose trial is missing from the report.
pub(crate) fn ranked(report: &CureReport) -> Vec<RankingRow<'_>> {
    report
        .ranking
        .iter()
        .filter_map(|place| {
            let trial = report.trial(&place.trial)?;
            let outcome = trial.outcome.as_ref()?;
            Some(RankingRow {
                place,
                trial,
                outcome,
            })
        })
        .collect()
}

/// The families that do not apply, with the reason.
pub(crate) fn not_tried(report: &CureReport) -> Vec<(&str, &str)> {
    report
        .trials
        .iter()
        .filter_map(|trial| Some((trial.name.as_str(), trial.not_tried.as_deref()?)))
        .collect()
}

/// The user's own run; `None` before it has an outcome.
pub(crate) fn baseline(report: &CureReport) -> Option<(&Trial, &Outcome)> {
    let trial = report
        .trials
        .iter()
        .find(|trial| trial.kind == TrialKind::Baseline)?;
    Some((trial, trial.outcome.as_ref()?))
}

/// The trials that an interrupted job did not run. Empty for a job that ran to its end.
pub(crate) fn missing(report: &CureReport) -> Vec<String> {
    if !report.interrupted {
        return Vec::new();
    }
    let lists = |kind| report.trials.iter().any(|trial| trial.kind == kind);
    let mut missing = Vec::new();
    if !lists(TrialKind::Baseline) {
        missing.push("baseline".into());
    }
    for trial in &report.trials {
        match &trial.outcome {
            None if trial.not_tried.is_none() => missing.push(trial.name.clone()),
            Some(outcome) if outcome.end == End::Interrupted => missing.push(format!(
                "{} (stopped after {})",
                trial.name,
                number::count(outcome.steps_done, "step")
            )),
            _ => (),
        }
    }
    missing.extend(
        Family::ALL
            .into_iter()
            .filter(|family| !lists(TrialKind::Family(*family)))
            .map(|family| family.to_string()),
    );
    if !lists(TrialKind::Control) {
        missing.push("the controls".into());
    }
    if report.prescription.is_none() {
        missing.push("the verification on fresh seeds".into());
    }
    missing
}

/// When the untreated run broke.
pub(crate) struct Onset<'a> {
    pub(crate) detection: Option<&'a Detection>,
    pub(crate) non_finite: Option<u64>,
}

impl<'a> Onset<'a> {
    pub(crate) fn of(outcome: &'a Outcome) -> Self {
        Self {
            detection: outcome.first_detection(),
            non_finite: outcome.first_non_finite_step,
        }
    }

    /// The first non-finite step, and how many steps before it the alarm came.
    pub(crate) fn non_finite_sentence(&self) -> String {
        let Some(step) = self.non_finite else {
            return "never non-finite".into();
        };
        let lead = self
            .detection
            .and_then(|detection| step.checked_sub(detection.step));
        match lead {
            Some(0) => format!("step {step}, together with the first detection"),
            Some(lead) => format!(
                "step {step}, {} after the first detection",
                number::count(lead, "step")
            ),
            None => format!("step {step}, not detected before"),
        }
    }
}

/// How a run ended, in a few words.
pub(crate) fn end(outcome: &Outcome) -> String {
    let steps = number::count(outcome.steps_done, "step");
    match &outcome.end {
        End::Completed => format!("completed {steps}"),
        End::Failed { reason } => format!("failed after {steps}: {reason}"),
        End::Interrupted => format!("interrupted after {steps}"),
    }
}

/// The verdict in words. A run that a person stopped has none.
pub(crate) fn verdict(outcome: &Outcome) -> &'static str {
    match outcome.end {
        End::Interrupted => "interrupted",
        _ => outcome.verdict.name(),
    }
}

/// A trial's change in words.
pub(crate) fn change(trial: &Trial) -> String {
    match &trial.remedy {
        Some(remedy) => remedy.to_string(),
        None => "unchanged".into(),
    }
}

/// The results of the prescribed trial on fresh seeds.
fn verified_winner(report: &CureReport) -> Option<&Verification> {
    let winner = &report.prescription.as_ref()?.trial;
    report
        .verification
        .iter()
        .find(|verified| verified.trial == *winner)
}

/// A warning, if a control does at least as well on fresh seeds as the winner: then the computed
/// remedy is no improvement.
pub(crate) fn control_as_good(report: &CureReport) -> Option<String> {
    let winner = verified_winner(report)?;
    let control = report.verification.iter().find(|verified| {
        let is_control = report
            .trial(&verified.trial)
            .is_some_and(|trial| trial.kind == TrialKind::Control);
        is_control && verified.solved >= winner.solved && verified.mean >= winner.mean
    })?;
    Some(format!(
        "On fresh seeds `{}` does as well as `{}`: here the computed remedy is no better than this \
         control.",
        control.trial, winner.trial
    ))
}

/// The whole report in one sentence.
pub(crate) fn headline(report: &CureReport) -> String {
    let name = &report.subject.name;
    let Some((_, baseline)) = baseline(report) else {
        return format!("{name}: the baseline has not run");
    };
    let state = match baseline.verdict {
        _ if baseline.end == End::Interrupted => "was interrupted",
        Verdict::Diverged if baseline.detection_steps > 0 => "explodes",
        Verdict::Diverged => "diverges",
        Verdict::DoesNotLearn => "does not learn",
        Verdict::BelowGoal => "stays below its goal",
        Verdict::Cured => "reaches its goal without a change",
    };
    let cause = match report.findings.first() {
        Some(finding) => format!(": {}", finding.title),
        None => String::new(),
    };
    format!("{name} {state}{cause}; {}", conclusion(report))
}

fn conclusion(report: &CureReport) -> String {
    let Some(prescription) = &report.prescription else {
        return if report.interrupted {
            "interrupted before a cure could be verified".into()
        } else if solves_untreated(report) {
            "there is nothing to cure".into()
        } else {
            "no cure was found that holds on fresh seeds".into()
        };
    };
    let metric = &report.subject.metric;
    let cured = format!("cured by {} ({})", prescription.trial, prescription.summary);
    match verified_winner(report) {
        Some(verified) => format!(
            "{cured}: {metric} {} on average, goal reached on {} of {} fresh seeds",
            number::metric(verified.mean),
            verified.solved,
            verified.seeds.len()
        ),
        None => format!("{cured}, not verified on fresh seeds"),
    }
}

/// Whether the unchanged run reaches the goal: at once, or on as many fresh seeds as the winner.
fn solves_untreated(report: &CureReport) -> bool {
    let mut verified = report.verification.iter();
    // The winner is verified first.
    let winner = verified.next();
    let untreated = verified.find(|verified| verified.trial == BASELINE);
    baseline(report).is_some_and(|(_, run)| run.verdict == Verdict::Cured)
        || winner.zip(untreated).is_some_and(|(winner, untreated)| {
            2 * winner.solved > winner.seeds.len() && untreated.solved >= winner.solved
        })
}

/// What to do when nothing is prescribed.
pub(crate) fn next_steps(report: &CureReport) -> String {
    if report.interrupted {
        return "The job was interrupted. Run it again to the end for a prescription.".into();
    }
    let ranked = ranked(report);
    let cured = |kind: fn(TrialKind) -> bool| {
        ranked
            .iter()
            .find(|row| kind(row.trial.kind) && row.outcome.verdict == Verdict::Cured)
    };
    let is_family = |kind| matches!(kind, TrialKind::Family(_));
    let survivors: Vec<&RankingRow<'_>> = ranked
        .iter()
        .filter(|row| is_family(row.trial.kind) && row.outcome.verdict.survived())
        .collect();
    if baseline(report).is_some_and(|(_, run)| run.verdict == Verdict::Cured) {
        return "The baseline reaches its goal without a change: there is nothing to prescribe."
            .into();
    }
    if solves_untreated(report) {
        return "On fresh seeds the baseline reaches the goal as often as the best remedy: there is \
                nothing to prescribe. Next: look at more seeds of the unchanged run."
            .into();
    }
    if let Some(row) = cured(is_family) {
        return format!(
            "`{}` reached the goal once, but the fresh seeds do not confirm it, so nothing is \
             prescribed. Next: combine it with a second family, or train longer.",
            row.trial.name
        );
    }
    let next = if let Some(row) = cured(|kind| kind == TrialKind::Control) {
        format!(
            "`{}` reached the goal where no computed remedy did: start from it, on more seeds",
            row.trial.name
        )
    } else {
        match survivors.as_slice() {
            [] => "no family even survived: check the data for outliers and wrong scales, and \
                   lower the learning rate tenfold"
                .into(),
            [only] => format!(
                "only `{}` survived: start from it, train longer, and combine it with a second \
                 family",
                only.trial.name
            ),
            [first, second, ..] => format!(
                "combine `{}` with `{}`, the best two that survived, or train them longer",
                first.trial.name, second.trial.name
            ),
        }
    };
    format!(
        "No family alone reached the goal on this model, so nothing is prescribed. Next: {next}."
    )
}

/// `+` or `-` for a line that a unified diff adds or removes; `None` for its header and context.
pub(crate) fn diff_sign(line: &str) -> Option<char> {
    if line.starts_with("+++ ") || line.starts_with("--- ") {
        return None;
    }
    line.chars().next().filter(|sign| matches!(sign, '+' | '-'))
}
