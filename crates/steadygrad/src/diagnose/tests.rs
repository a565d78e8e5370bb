use std::collections::BTreeSet;

use super::example::{Sketch, diverging, healthy};
use super::*;
use crate::trace::{Role, Series, Trace};

fn codes(trace: &Trace) -> Vec<String> {
    let found = diagnose_run(&History::of(trace));
    found.into_iter().map(|finding| finding.code).collect()
}

#[test]
fn every_rule_has_its_text_and_its_examples() {
    let codes: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!(codes.len(), RULES.len(), "a code is one rule's");
    for rule in &RULES {
        for text in [
            rule.name,
            rule.what,
            rule.why,
            rule.evidence,
            rule.blind,
            rule.remedy,
            rule.fix_safety,
        ] {
            assert!(text.len() >= 8, "{}: `{text}`", rule.code);
        }
        assert!(!rule.references.is_empty(), "{}", rule.code);
        match rule.example {
            Example::Logs { fires, silent } => {
                let found = rule.check_run(&History::of(&fires()));
                let found = found.unwrap_or_else(|| panic!("{} is silent", rule.code));
                assert_eq!(found.code, rule.code);
                assert!(found.step.is_some() && !found.title.is_empty() && !found.help.is_empty());
                assert!(!found.evidence.is_empty(), "{}", rule.code);
                assert_eq!(
                    rule.check_run(&History::of(&silent())),
                    None,
                    "{}",
                    rule.code
                );
            }
            Example::Measured { fires, silent } => {
                assert!(!fires.is_empty() && !silent.is_empty());
                assert!(rule.before_training.is_some() && rule.of_run.is_none());
            }
        }
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
    let nan = diverging().loss(25, |_, _| f64::NAN);
    assert_eq!(codes(&nan.trace()).last().unwrap(), "SG001");
}

/// The unit that a loss or a norm is measured in says nothing.
#[test]
fn findings_do_not_depend_on_the_unit() {
    for rule in &RULES {
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
    for seed in 0..2_000u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let roles = [
            Role::Loss,
            Role::GradNorm,
            Role::LearningRate,
            Role::GradNormClipped,
            Role::WeightNorm,
            Role::LossScale,
            Role::Skipped,
            Role::ParameterGradNorm("l.0.w".into()),
            Role::ParameterGradNorm("l.1.w".into()),
            Role::ParameterGradNorm("l.2.w".into()),
            Role::ParameterGradNorm("l.3.w".into()),
        ];
        let mut series = Vec::new();
        for role in roles {
            if next(4) == 0 {
                continue;
            }
            let rows = next(60) as usize;
            let mut step = 0;
            let steps: Vec<u64> = (0..rows)
                .map(|_| {
                    step = if next(20) == 0 {
                        next(9)
                    } else {
                        step + next(3)
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
            series.push(example::series(role, &steps, &values));
        }
        let trace = Trace {
            series,
            ..Trace::default()
        };
        let known: BTreeSet<u64> = trace
            .series
            .iter()
            .flat_map(|series| series.steps().to_vec())
            .collect();
        for finding in diagnose_run(&History::of(&trace)) {
            for step in finding.step.iter().chain(&finding.until) {
                assert!(known.contains(step), "{finding:?}");
            }
        }
    }
}
