use std::collections::BTreeSet;

use super::sketch::{Sketch, diverging, healthy};
use super::testing::verdict;
use super::*;
use crate::trace::{Cadence, Objective, Role, Series, Trace};

fn codes(trace: &Trace) -> Vec<String> {
    let found = diagnose_run(&History::of(trace));
    found.into_iter().map(|finding| finding.code).collect()
}

/// What a rule lacks, in words; nothing for a whole one.
fn missing(rule: &Rule) -> Vec<String> {
    let texts = [
        ("name", rule.name),
        ("what", rule.what),
        ("why", rule.why),
        ("evidence", rule.evidence),
        ("blind", rule.blind),
        ("remedy", rule.remedy),
        ("fix_safety", rule.fix_safety),
    ];
    let short = texts.into_iter().filter(|(_, text)| text.len() < 8);
    let mut missing: Vec<String> = short.map(|(name, _)| format!("no {name}")).collect();
    let twins = RULES.iter().filter(|other| other.code == rule.code);
    if twins.count() != 1 {
        missing.push("its code is not its own".into());
    }
    if rule.references.is_empty() {
        missing.push("no reference".into());
    }
    if rule.before_training.is_none() && rule.of_run.is_none() {
        missing.push("no check".into());
    }
    if rule
        .hit_rate
        .is_some_and(|hits| hits.right > hits.headlines || hits.headlines == 0)
    {
        missing.push("an impossible hit rate".into());
    }
    let (fires, silent) = examples(rule);
    match fires {
        None => missing.push("its example does not fire".into()),
        Some(found) => {
            let whole = found.code == rule.code
                && ![&found.title, &found.why, &found.help]
                    .into_iter()
                    .any(String::is_empty)
                && !found.evidence.is_empty();
            if !whole {
                missing.push("its finding is not whole".into());
            }
        }
    }
    if silent.is_some() {
        missing.push("its silent example fires".into());
    }
    missing
}

/// What a rule finds in its two examples.
fn examples(rule: &Rule) -> (Option<Finding>, Option<Finding>) {
    match rule.example {
        Example::Logs { fires, silent } => {
            let found = |example: fn() -> Trace| rule.check_run(&History::of(&example()));
            (
                found(fires).filter(|found| found.step.is_some()),
                found(silent),
            )
        }
        Example::Measured { fires, silent } => {
            let found = |example: MeasuredExample| {
                let check = |case: &ModelCase<'_>| rule.check_model(case);
                let found = verdict(check, |model, _, _| (example.change)(model));
                found.filter(|_| example.text.len() >= 8)
            };
            (found(fires), found(silent))
        }
    }
}

#[test]
fn every_rule_is_whole() {
    for rule in RULES {
        assert_eq!(missing(rule), [] as [&str; 0], "{}", rule.code);
    }
}

#[test]
fn half_a_rule_is_refused() {
    let whole = *rule("SG014").unwrap();
    let Example::Logs { fires, silent } = whole.example else {
        panic!("SG014's example is a log");
    };
    let example = |fires, silent| Example::Logs { fires, silent };
    for (half, lacks) in [
        (Rule { blind: "", ..whole }, "no blind"),
        (
            Rule {
                references: &[],
                ..whole
            },
            "no reference",
        ),
        (
            Rule {
                code: "SG099",
                ..whole
            },
            "its code is not its own",
        ),
        (
            Rule {
                hit_rate: Some(HitRate::new(2, 1)),
                ..whole
            },
            "an impossible hit rate",
        ),
        (
            Rule {
                example: example(silent, silent),
                ..whole
            },
            "its example does not fire",
        ),
        (
            Rule {
                example: example(fires, fires),
                ..whole
            },
            "its silent example fires",
        ),
        (
            Rule {
                of_run: None,
                ..whole
            },
            "no check",
        ),
    ] {
        assert!(
            missing(&half).iter().any(|missing| missing == lacks),
            "{lacks}"
        );
    }
}

#[test]
fn a_code_is_found_however_it_is_written() {
    for code in ["SG014", "sg014", "sg14", "Sg0014"] {
        assert_eq!(rule(code).unwrap().code, "SG014", "{code}");
    }
    for code in [
        "", "SG", "SG99", "14", "SG+14", "SG-14", "sg14a", "\u{e9}14",
    ] {
        assert!(rule(code).is_none(), "{code}");
    }
}

#[test]
fn a_healthy_log_and_an_empty_one_have_no_finding() {
    assert_eq!(codes(&healthy()), [] as [&str; 0]);
    assert_eq!(codes(&Trace::default()), [] as [&str; 0]);
    assert_eq!(codes(&Sketch::healthy(1).trace()), [] as [&str; 0]);
    assert_eq!(
        codes(&Sketch::healthy(200).layers(30, 1.0).trace()),
        [] as [&str; 0]
    );
}

#[test]
fn a_healthy_model_has_no_finding() {
    let found = |case: &ModelCase<'_>| diagnose(case).into_iter().next();
    assert_eq!(verdict(found, |_, _, _| ()), None);
}

/// The cause first, what follows from it after.
#[test]
fn the_headline_is_the_first_domino() {
    assert_eq!(codes(&diverging().trace()), ["SG006", "SG002"]);
    assert_eq!(
        codes(&diverging().layers(20, 1e5).trace())[..2],
        ["SG007", "SG003"]
    );
    let headline = |code: &str| match rule(code).unwrap().example {
        Example::Logs { fires, .. } => codes(&fires()).first().cloned().unwrap_or_default(),
        Example::Measured { .. } => unreachable!(),
    };
    for code in [
        "SG005", "SG008", "SG009", "SG010", "SG011", "SG012", "SG014", "SG016", "SG017", "SG019",
    ] {
        assert_eq!(headline(code), code, "of {code}");
    }
    let nan = diverging().loss(125, |_, _| f64::NAN);
    assert_eq!(codes(&nan.trace()).last().unwrap(), "SG001");
}

/// The unit that a loss or a norm is measured in says nothing.
#[test]
fn findings_do_not_depend_on_the_unit() {
    for rule in RULES {
        let Example::Logs { fires, .. } = rule.example else {
            continue;
        };
        let trace = fires();
        let scaled = |factor: f64| {
            let series = trace.series.iter().map(|series| {
                let by = match series.role() {
                    Role::Skipped | Role::LossScale | Role::LearningRate => 1.0,
                    _ => factor,
                };
                let values = series.values().iter().map(|value| by * value).collect();
                Series::new(
                    series.role().clone(),
                    series.column(),
                    series.steps().clone(),
                    values,
                )
            });
            Trace {
                series: series.collect::<Result<_, _>>().unwrap(),
                ..trace.clone()
            }
        };
        for factor in [2f64.powi(-40), 2f64.powi(40)] {
            assert_eq!(
                codes(&scaled(factor)),
                codes(&trace),
                "{} times {factor}",
                rule.code
            );
        }
    }
}

/// Whatever a log holds, no rule panics and each place is a step of the log.
#[test]
fn hostile_logs() {
    for seed in 0..2_000 {
        let trace = hostile(seed);
        let known: BTreeSet<u64> = trace
            .series
            .iter()
            .flat_map(|series| series.steps().to_vec())
            .collect();
        let found = RunDiagnosis::of(&trace);
        for finding in &found.findings {
            for step in finding.step.iter().chain(&finding.until) {
                assert!(known.contains(step), "{finding:?}");
            }
            let is_loud = finding.level > FindingLevel::Note;
            assert!(
                !(is_loud && found.state == RunState::NothingSeen),
                "{found:?}"
            );
            assert!(
                trace.cadence.is_one_step() || !says_batch(finding),
                "{finding:?}"
            );
        }
    }
}

fn says_batch(finding: &Finding) -> bool {
    let says = |text: &String| text.contains("the batch of");
    says(&finding.title) || says(&finding.help) || says(&finding.why)
}

/// A healthy run, as it is logged: other noise, other levels.
fn healthy_of(seed: usize) -> Sketch {
    let noise = |row: usize| sketch::noise(31 * seed + row);
    let size = 0.1 * 1.7f64.powi((seed % 9) as i32);
    Sketch::healthy(400)
        .loss(0, |row, loss| size * loss * (1.0 + 0.1 * noise(row)))
        .norm(0, |row, norm| size * norm * (0.6 * noise(row + 99)).exp())
        .rate(0, |row, rate| rate * ((row + 1) as f64 / 40.0).min(1.0))
}

/// The log with every so many rows, and that cadence.
fn thinned(trace: &Trace, every: usize) -> Trace {
    let series = trace.series.iter().map(|series| {
        let steps: Vec<u64> = series.steps().iter().copied().step_by(every).collect();
        let values: Vec<f64> = series.values().iter().copied().step_by(every).collect();
        sketch::series(series.role().clone(), &steps, &values)
    });
    Trace {
        series: series.collect(),
        cadence: Cadence::Steps(every as u64),
        ..trace.clone()
    }
}

#[test]
fn a_thinned_log_of_a_healthy_run_has_no_error() {
    for seed in 0..60 {
        let whole = healthy_of(seed).trace();
        for every in [1, 7, 10, 50, 130] {
            let found = RunDiagnosis::of(&thinned(&whole, every));
            let loud = found
                .findings
                .iter()
                .find(|each| each.level > FindingLevel::Note);
            assert_eq!(loud, None, "seed {seed}, every {every}");
        }
    }
}

#[test]
fn a_constant_column_changes_nothing() {
    for rule in RULES {
        let Example::Logs { fires, .. } = rule.example else {
            continue;
        };
        let trace = fires();
        for role in [
            Role::ValidationLoss,
            Role::Reward,
            Role::Kl,
            Role::LossPart("b".into()),
        ] {
            let mut more = trace.clone();
            let steps = trace.series[0].steps();
            more.series
                .push(sketch::series(role, steps, &vec![0.7; steps.len()]));
            assert_eq!(codes(&more), codes(&trace), "{}", rule.code);
        }
    }
}

/// Losses of two networks, and of a policy, have no level to fall from or to come back to.
#[test]
fn a_loss_that_swings_is_no_fault_where_it_measures_no_progress() {
    for seed in 0..40 {
        let swing = |row: usize, _: f64| 3.0 * sketch::noise(17 * seed + row);
        let mut trace = Sketch::healthy(300).loss(0, swing).trace();
        for objective in [Objective::Gan, Objective::Rl] {
            trace.objective = objective;
            let found = RunDiagnosis::of(&trace);
            assert_eq!(found.state, RunState::NothingSeen, "seed {seed}: {found:?}");
        }
    }
}

/// A log with a random choice of columns, steps that sometimes go back, and a third of odd values.
fn hostile(seed: u64) -> Trace {
    let odd = [
        0.0,
        -1.0,
        1.0,
        1e300,
        f64::MIN_POSITIVE / 8.0,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut series = Vec::new();
    for role in all_roles() {
        if next(4) == 0 {
            continue;
        }
        let rows = next(60) as usize;
        let mut step = 0;
        let steps: Vec<u64> = (0..rows)
            .map(|_| {
                step = match next(20) {
                    0 => next(9),
                    _ => step + next(3),
                };
                step
            })
            .collect();
        let values: Vec<f64> = (0..rows)
            .map(|_| match next(3) {
                0 => odd[next(odd.len() as u64) as usize],
                _ => 1.0 + next(100) as f64 / 100.0,
            })
            .collect();
        series.push(sketch::series(role, &steps, &values));
    }
    let cadences = [
        Cadence::Unknown,
        Cadence::Step,
        Cadence::Steps(9),
        Cadence::Epoch,
    ];
    let objectives = [Objective::Supervised, Objective::Gan, Objective::Rl];
    Trace {
        series,
        cadence: cadences[next(4) as usize],
        objective: objectives[next(3) as usize],
        ..Trace::default()
    }
}

/// Every column that a rule reads.
fn all_roles() -> Vec<Role> {
    let mut roles = vec![
        Role::Loss,
        Role::GradNorm,
        Role::LearningRate,
        Role::GradNormClipped,
        Role::WeightNorm,
        Role::LossScale,
        Role::Skipped,
    ];
    roles.extend([
        Role::LossPart("g".into()),
        Role::ValueLoss,
        Role::Kl,
        Role::Reward,
    ]);
    roles.extend((0..4).map(|layer| Role::ParameterGradNorm(format!("l.{layer}.w"))));
    roles
}
