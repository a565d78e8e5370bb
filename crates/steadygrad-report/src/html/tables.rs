//! The tables: baseline, ranking, derivations, verification.

use maud::{Markup, html};
use steadygrad::cure::{CureReport, End, Outcome, Trial, TrialKind, Verdict, Verification};

use crate::{facts, number};

pub(super) fn baseline(report: &CureReport) -> Markup {
    let Some((_, outcome)) = facts::baseline(report) else {
        return html! { p { "The baseline has not run." } };
    };
    let onset = facts::Onset::of(outcome);
    html! {
        dl.facts {
            dt { "First detection" }
            dd {
                @match onset.detection {
                    Some(seen) => {
                        "step " (seen.step) ", " code { (seen.place) } ", by "
                        (seen.detector.title()) ": " (seen.message)
                    }
                    None => { "never" }
                }
            }
            dt { "First non-finite value" }
            dd { (onset.non_finite_sentence()) }
            dt { "End" }
            dd {
                (facts::end(outcome)) "; " (badge(outcome)) ", " (report.subject.metric)
                " " (number::metric(outcome.validation_metric))
            }
        }
    }
}

pub(super) fn ranking(report: &CureReport) -> Markup {
    let ranked = facts::ranked(report);
    let goal = report.subject.goal;
    html! {
        p.hint {
            "Goal: " (report.subject.metric) " " (number::metric(goal.metric))
            "; the trivial predictor has " (number::metric(goal.trivial)) "."
        }
        div.scroll {
            table {
                caption.sr { "Trials, best first" }
                thead {
                    tr {
                        th scope="col" { "#" }
                        th scope="col" { "Trial" }
                        th scope="col" { "Change" }
                        th scope="col" { "Verdict" }
                        @for name in [
                            &report.subject.metric, "Margin", "Work", "Time", "Clipped", "Alarms",
                        ] {
                            th.number scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    @for row in &ranked {
                        (trial_row(
                            &row.place.rank.to_string(),
                            row.trial,
                            row.outcome,
                            row.place.tied_with_best,
                        ))
                    }
                    @if let Some((trial, outcome)) = facts::baseline(report) {
                        (trial_row("–", trial, outcome, false))
                    }
                }
            }
        }
        p.hint {
            "≈ within one standard error of the best. Margin: largest tried multiple of the \
             trial's own learning rate that survives. Work: arithmetic, relative to the \
             baseline's. Clipped: share of steps. Alarms: steps with a detection."
        }
    }
}

fn trial_row(rank: &str, trial: &Trial, outcome: &Outcome, tied: bool) -> Markup {
    let (class, kind) = match trial.kind {
        TrialKind::Baseline => ("baseline", "baseline"),
        TrialKind::Family(_) => ("family", "family"),
        TrialKind::Control => ("control", "control"),
    };
    html! {
        tr class=(class) {
            td { (rank) }
            th scope="row" { (trial.name) " " span.kind { (kind) } }
            td { (facts::change(trial)) }
            td { (badge(outcome)) }
            td.number {
                @if tied { span title="within one standard error of the best" { "≈ " } }
                (number::metric(outcome.validation_metric))
            }
            td.number { (outcome.stability_margin.map_or("–".into(), number::times)) }
            td.number { (number::times(outcome.work)) }
            td.number { (number::duration(outcome.seconds)) }
            td.number { (number::percent(outcome.clip_rate)) }
            td.number { (outcome.detection_steps) }
        }
    }
}

/// The verdict in words, with a sign and a colour.
fn badge(outcome: &Outcome) -> Markup {
    let (class, sign) = match outcome.verdict {
        _ if outcome.end == End::Interrupted => ("idle", "–"),
        Verdict::Cured => ("cured", "✓"),
        Verdict::BelowGoal => ("below", "↓"),
        Verdict::DoesNotLearn => ("idle", "–"),
        Verdict::Diverged => ("diverged", "✗"),
    };
    html! {
        span.badge.(class) {
            span aria-hidden="true" { (sign) } " " (facts::verdict(outcome))
        }
    }
}

pub(super) fn not_tried(report: &CureReport) -> Markup {
    let rows = facts::not_tried(report);
    html! {
        @if !rows.is_empty() {
            h3 { "Not tried" }
            dl.facts {
                @for (name, reason) in rows { dt { (name) } dd { (reason) } }
            }
        }
    }
}

pub(super) fn derivations(report: &CureReport) -> Markup {
    let derived: Vec<_> = report
        .trials
        .iter()
        .filter_map(|trial| Some((trial, trial.remedy?, trial.derivation.as_ref()?)))
        .collect();
    html! {
        @if !derived.is_empty() {
            section {
                h2 { "How each parameter was computed" }
                div.scroll {
                    table.wide {
                        thead {
                            tr {
                                th scope="col" { "Family" }
                                th scope="col" { "Formula" }
                                th scope="col" { "Measured" }
                                th scope="col" { "Change" }
                            }
                        }
                        tbody {
                            @for (trial, remedy, derivation) in derived {
                                tr {
                                    th scope="row" { (trial.name) }
                                    td { (derivation.formula) }
                                    td {
                                        @for evidence in &derivation.measured {
                                            div {
                                                (evidence.name) " "
                                                strong { (number::short(evidence.value)) }
                                            }
                                        }
                                    }
                                    td { (remedy) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn verification(report: &CureReport) -> Markup {
    html! {
        div.scroll {
            table {
                caption.sr { "The winner and the controls on fresh seeds" }
                thead {
                    tr {
                        th scope="col" { "Trial" }
                        @for name in ["Solved", "Worst", "Mean", "Std. dev."] {
                            th.number scope="col" { (name) }
                        }
                        th scope="col" { (report.subject.metric) " by seed" }
                    }
                }
                tbody {
                    @for verified in &report.verification { (verification_row(report, verified)) }
                }
            }
        }
        @if let Some(sentence) = facts::control_as_good(report) { p.warning { (sentence) } }
    }
}

fn verification_row(report: &CureReport, verified: &Verification) -> Markup {
    let control = report
        .trial(&verified.trial)
        .is_some_and(|trial| trial.kind == TrialKind::Control);
    let (class, kind) = if control {
        ("control", "control")
    } else {
        ("family", "family")
    };
    html! {
        tr class=(class) {
            th scope="row" { (verified.trial) " " span.kind { (kind) } }
            td.number { (verified.solved) " of " (verified.seeds.len()) }
            td.number { (number::metric(verified.worst)) }
            td.number { (number::metric(verified.mean)) }
            td.number { (number::metric(verified.standard_deviation)) }
            td {
                @for run in &verified.seeds {
                    span.seed {
                        (run.seed) ": "
                        strong { (number::metric(run.outcome.validation_metric)) }
                    }
                    " "
                }
            }
        }
    }
}
