//! Compares every policy with a peer library or the paper's formula on the same 1,000 steps of
//! gradients. `golden/make_clip.py` writes `golden/clip.json`.

#![allow(
    clippy::print_stdout,
    reason = "--nocapture shows the worst difference of each policy"
)]

use serde::Deserialize;
use steadygrad::Workers;
use steadygrad::clip::{Clipper, ParameterSlices, Policy, SliceGradients};
use steadygrad::stats::{SecondMoment, Units};

const STEPS: usize = 1000;
const MATRIX: usize = 6;
const VALUES: usize = 8;

#[derive(Deserialize)]
struct Golden {
    beta2: f64,
    weights: Vec<f32>,
    gradients: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    policy: Policy,
    peer: String,
    clipped: Vec<f32>,
}

fn golden() -> Golden {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/clip.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Returns the stream of gradients after our policy.
fn clip_all(golden: &Golden, case: &Case) -> Vec<f32> {
    let mut clipper = Clipper::new(case.policy.clone()).unwrap();
    let workers = Workers::single();
    let update = matches!(case.policy, Policy::UpdateRms(_) | Policy::Clippy(_));
    let corrected = matches!(case.policy, Policy::UpdateRms(_));
    let units = if case.name.ends_with("columns") {
        Units::Columns(3)
    } else {
        Units::Rows(2)
    };
    let mut moments = [0.0f64; VALUES];
    let mut all = Vec::new();
    for step in 0..STEPS {
        let mut gradient: [f32; VALUES] = golden.gradients[step * VALUES..][..VALUES]
            .try_into()
            .unwrap();
        let mut change = gradient.map(|value| -0.01 * value);
        let before = moments;
        for (v, g) in moments.iter_mut().zip(gradient) {
            *v = golden.beta2 * *v + (1.0 - golden.beta2) * f64::from(g).powi(2);
        }
        let seen = if corrected { moments } else { before };
        let factor = if corrected {
            1.0 / (1.0 - golden.beta2.powi(step as i32 + 1))
        } else {
            1.0
        };
        let (matrix, vector) = gradient.split_at_mut(MATRIX);
        let (matrix_change, vector_change) = change.split_at_mut(MATRIX);
        let parameter = |gradient, change, range: std::ops::Range<usize>, units| ParameterSlices {
            units,
            weight: Some((&golden.weights[range.clone()]).into()),
            second_moment: Some(SecondMoment {
                factor,
                ..SecondMoment::new(&seen[range])
            }),
            update: update.then_some(change),
            ..ParameterSlices::new(gradient)
        };
        let mut gradients = SliceGradients {
            parameters: vec![
                parameter(
                    matrix.into_mut(),
                    matrix_change.into_mut(),
                    0..MATRIX,
                    units,
                ),
                parameter(
                    vector.into_mut(),
                    vector_change.into_mut(),
                    MATRIX..VALUES,
                    Units::One,
                ),
            ],
            workers: &workers,
        };
        let Ok(_) = clipper.clip(&mut gradients);
        all.extend(if update { change } else { gradient });
    }
    all
}

trait IntoMut<'a> {
    fn into_mut(self) -> steadygrad::stats::ValuesMut<'a>;
}

impl<'a> IntoMut<'a> for &'a mut [f32] {
    fn into_mut(self) -> steadygrad::stats::ValuesMut<'a> {
        self.into()
    }
}

#[test]
fn every_policy_agrees_with_its_peer() {
    let golden = golden();
    assert_eq!(golden.cases.len(), 12);
    for case in &golden.cases {
        let ours = clip_all(&golden, case);
        let source: &[f32] = &golden.gradients;
        let (mut worst, mut changed) = (0.0f64, 0);
        for (index, (&ours, &theirs)) in ours.iter().zip(&case.clipped).enumerate() {
            let (ours, theirs) = (f64::from(ours), f64::from(theirs));
            let error = (ours - theirs).abs() / theirs.abs().max(1e-37);
            assert!(
                error <= 1e-6,
                "{}, step {}, value {}: {ours:e} here, {theirs:e} by {}",
                case.name,
                index / VALUES,
                index % VALUES,
                case.peer,
            );
            worst = worst.max(error);
            changed += usize::from(theirs != f64::from(source[index]));
        }
        // A case without any clipping would prove nothing.
        assert!(
            changed > 50,
            "{}: only {changed} values were clipped",
            case.name
        );
        println!(
            "{:28} worst relative difference {worst:.1e}, {changed} of 8000 values clipped",
            case.name
        );
    }
}

/// Proves that the check above can fail: another threshold gives other values.
#[test]
fn another_policy_does_not_agree() {
    let golden = golden();
    let case = golden
        .cases
        .iter()
        .find(|case| case.name == "global_norm")
        .unwrap();
    let other = Case {
        policy: steadygrad::clip::GlobalNormClip::new(0.701).into(),
        ..Case {
            name: case.name.clone(),
            policy: case.policy.clone(),
            peer: String::new(),
            clipped: Vec::new(),
        }
    };
    let (ours, theirs) = (clip_all(&golden, &other), &case.clipped);
    assert!(
        ours.iter()
            .zip(theirs)
            .any(|(ours, theirs)| (ours - theirs).abs() > 1e-6 * theirs.abs())
    );
}
