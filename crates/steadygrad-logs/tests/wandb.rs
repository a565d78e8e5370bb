//! Reads a file that W&B wrote offline. `wandb/generate.py` made it.

use std::path::Path;

use steadygrad::diagnose::{RunDiagnosis, RunState};
use steadygrad::trace::Role;
use steadygrad_logs::{Columns, read};

#[test]
fn a_run_of_w_and_b_is_read_and_diagnosed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wandb");
    for path in [folder.join("offline.wandb"), folder] {
        let traces = read(&path, &Columns::default()).unwrap();
        let [trace] = traces.as_slice() else {
            panic!("{} traces", traces.len());
        };
        assert_eq!((trace.name.as_str(), trace.notes.len()), ("offline", 0));
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(loss.steps().to_vec(), (0..40).collect::<Vec<u64>>());
        assert_eq!(&loss.values()[..2], [2.0, 2.0 * 0.97]);
        assert!(loss.values()[30..].iter().all(|loss| loss.is_nan()));
        assert!(
            trace.series(&Role::GradNorm).is_some() && trace.series(&Role::LearningRate).is_some()
        );
        assert_eq!(trace.parameters().count(), 2);
        let found = RunDiagnosis::of(trace);
        assert_eq!(found.state, RunState::NonFinite { step: 30 });
        assert!(!found.is_healthy());
    }
}
