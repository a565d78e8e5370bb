//! JSON lines: one object a line.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use steadygrad::Trace;

use crate::format::{Format, Head, anywhere, without_mark};
use crate::objects::Objects;
use crate::{Columns, LogError, lenient};

pub(super) const FORMAT: Format = Format {
    name: "JSON lines",
    recognise,
    endings: &["json", "jsonl", "ndjson", "log", "txt"],
    place: anywhere,
    read: |files, columns| read(&files[0], columns).map(|trace| vec![trace]),
};

/// The first line is a whole object. Alone, it must hold no list, which would be a history.
fn recognise(head: &Head<'_>) -> bool {
    let object = head.first_line().filter(|line| line.starts_with(b"{"));
    let object = object.and_then(|line| lenient::parse(line).ok());
    object.is_some_and(|object| {
        let keys = object.as_object();
        let is_row =
            |keys: &serde_json::Map<String, _>| !keys.values().any(serde_json::Value::is_array);
        let is_followed = head
            .second_line()
            .is_some_and(|line| line.starts_with(b"{"));
        keys.is_some_and(|keys| is_followed || is_row(keys))
    })
}

/// Whether a line is an object.
pub(super) fn is_object(line: &[u8]) -> bool {
    matches!(lenient::parse(line), Ok(serde_json::Value::Object(_)))
}

/// Reads one file. Lines that are not objects are left out, and a note counts them.
pub(super) fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let mut reader = BufReader::new(File::open(path).map_err(LogError::io(path))?);
    let (mut objects, mut line, mut number) = (Objects::default(), Vec::new(), 0usize);
    let (mut odd, mut first_odd) = (0usize, None);
    loop {
        line.clear();
        let read = reader
            .read_until(b'\n', &mut line)
            .map_err(LogError::io(path))?;
        if read == 0 {
            break;
        }
        number += 1;
        let text = without_mark(&line).trim_ascii();
        if text.is_empty() {
            continue;
        }
        match lenient::parse(text) {
            Ok(serde_json::Value::Object(object)) => objects.push(&object),
            _ => {
                odd += 1;
                first_odd.get_or_insert(number);
            }
        }
    }
    let mut notes = Vec::new();
    if let Some(line) = first_odd {
        notes.push(format!(
            "{odd} lines are not JSON objects, the first is line {line}: they were left out"
        ));
    }
    objects.trace(path, FORMAT.name, columns, notes)
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::{Cadence, Objective, Role, StepUnit};

    use super::*;

    #[test]
    fn keys_may_come_and_go_and_bad_lines_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let text = "{\"step\": 0, \"train\": {\"loss\": 2.5}}\nnot json\n{\"step\": 1, \"val_loss\": 2}\n\n\
                    {\"step\": 2, \"train\": {\"loss\": NaN}, \"grad_norm\": \"inf\"}\n{\"step\": 3, \"tr";
        std::fs::write(&path, text).unwrap();
        let trace = read(&path, &Columns::default()).unwrap();
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(
            (loss.column(), &**loss.steps()),
            ("train/loss", &[0, 2][..])
        );
        assert!(loss.values()[0] == 2.5 && loss.values()[1].is_nan());
        let norm = trace.series(&Role::GradNorm).unwrap();
        assert_eq!(
            (&**norm.steps(), norm.values()),
            (&[2][..], &[f64::INFINITY][..])
        );
        assert!(trace.notes[0].starts_with("2 lines are not JSON objects, the first is line 2"));
    }

    fn of(text: &str) -> Trace {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.json");
        std::fs::write(&path, text).unwrap();
        crate::read(&path, &Columns::default()).unwrap().remove(0)
    }

    fn lines(rows: std::ops::Range<u64>, line: impl Fn(u64) -> String) -> String {
        rows.map(|row| line(row) + "\n").collect()
    }

    #[test]
    fn ms_swift_s_step_is_the_first_of_two_numbers() {
        let trace = of(&lines(1..9, |row| {
            format!(
                "{{\"loss\": 1.5, \"reward\": 0.5, \"kl\": 0.1, \"grad_norm\": 1.0, \
                 \"epoch\": 0.{row}, \"global_step/max_steps\": \"{row}/300\", \
                 \"percentage\": \"0.{row}%\"}}"
            )
        }));
        assert_eq!(
            &**trace.series(&Role::Loss).unwrap().steps(),
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
        assert_eq!(
            (trace.cadence, trace.objective),
            (Cadence::Step, Objective::Rl)
        );
        assert!(trace.series(&Role::Kl).is_some() && trace.series(&Role::Reward).is_some());
    }

    #[test]
    fn llama_factory_s_current_steps() {
        let trace = of(&lines(1..5, |row| {
            format!(
                "{{\"current_steps\": {}, \"total_steps\": 900, \"loss\": 1.5, \"lr\": 1e-5, \
                 \"epoch\": 0.0{row}, \"elapsed_time\": \"0:01:07\"}}",
                5 * row
            )
        }));
        assert_eq!(
            &**trace.series(&Role::Loss).unwrap().steps(),
            [5, 10, 15, 20]
        );
        assert_eq!(
            (trace.cadence, trace.unit),
            (Cadence::Steps(5), StepUnit::Step)
        );
        assert_eq!(trace.notes, [] as [&str; 0]);
    }

    #[test]
    fn fairseq_s_numbers_are_texts() {
        let trace = of(&lines(1..5, |row| {
            format!(
                "{{\"epoch\": {row}, \"train_loss\": \"1{row}.25\", \"train_gnorm\": \"0.5\", \
                 \"train_num_updates\": \"{}\", \"train_lr\": \"1e-3\", \
                 \"train_loss_scale\": \"128.0\"}}",
                211 * row
            )
        }));
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(
            (&**loss.steps(), loss.values()[0]),
            (&[211, 422, 633, 844][..], 11.25)
        );
        assert!(trace.series(&Role::LossScale).is_some());
        assert!(trace.series(&Role::GradNorm).is_some());
        assert_eq!(trace.cadence, Cadence::Epoch);
    }

    #[test]
    fn mmdetection_s_iterations_begin_anew_in_each_epoch() {
        let head = "{\"env_info\": \"linux\", \"seed\": 0}\n";
        let rows = lines(0..12, |row| {
            let (epoch, iter) = (row / 4 + 1, 20 * (row % 4 + 1));
            match row % 4 {
                3 => format!("{{\"mode\": \"val\", \"epoch\": {epoch}, \"iter\": 9, \"loss\": 9}}"),
                _ => format!(
                    "{{\"mode\": \"train\", \"epoch\": {epoch}, \"iter\": {iter}, \"lr\": 0.02, \
                     \"loss_cls\": 0.5, \"loss\": 1.5, \"grad_norm\": 1.0}}"
                ),
            }
        });
        let trace = of(&(head.to_owned() + &rows));
        let loss = trace.series(&Role::Loss).unwrap();
        assert_eq!(&**loss.steps(), [20, 40, 60, 80, 100, 120, 140, 160, 180]);
        assert_eq!(
            trace.series(&Role::ValidationLoss).unwrap().values(),
            [9.0; 3]
        );
        assert_eq!(trace.cadence, Cadence::Steps(20));
        assert_eq!(trace.notes.len(), 1, "{:?}", trace.notes);
    }

    #[test]
    fn rllib_s_nested_results_with_lists() {
        let trace = of(&lines(1..5, |row| {
            format!(
                "{{\"training_iteration\": {row}, \"timesteps_total\": {}, \
                 \"episode_reward_mean\": 20.0, \"hist_stats\": {{\"episode_reward\": \
                 [1,2,3,4,5,6,7,8,9,10]}}, \"episodes\": [], \"info\": {{\"learner\": \
                 {{\"default_policy\": {{\"learner_stats\": {{\"total_loss\": NaN, \
                 \"policy_loss\": -0.1, \"vf_loss\": 1.5, \"kl\": 0.01, \"grad_gnorm\": 2.5, \
                 \"cur_lr\": 5e-05}}}}}}}}}}",
                4000 * row
            )
        }));
        let loss = trace.series(&Role::Loss).unwrap();
        assert!(loss.column().ends_with("total_loss") && loss.values()[0].is_nan());
        assert_eq!(&**loss.steps(), [4000, 8000, 12000, 16000]);
        assert_eq!(
            (trace.unit, trace.cadence),
            (StepUnit::EnvironmentStep, Cadence::Unknown)
        );
        assert_eq!(trace.objective, Objective::Rl);
        for role in [
            Role::ValueLoss,
            Role::Kl,
            Role::GradNorm,
            Role::LearningRate,
            Role::Reward,
        ] {
            assert!(trace.series(&role).is_some(), "{role:?}");
        }
    }
}
