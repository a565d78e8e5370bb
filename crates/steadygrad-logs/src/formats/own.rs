//! A run that steadygrad recorded.

use std::path::Path;
use std::sync::Arc;

use steadygrad::Trace;
use steadygrad::detect::Detector;
use steadygrad::diagnose::GUARDED;
use steadygrad::guard::Incident;
use steadygrad::trace::{Cadence, Role, Series};
use steadygrad_record::{
    Manifest, RunStatus, StepRecord, StepTable, has_writer, read_incidents, read_manifest,
    read_steps,
};

use crate::format::{Format, Place};
use crate::{LogError, name_of, odd};

pub(super) const FORMAT: Format = Format {
    name: "run of steadygrad",
    // A run is a folder. No single file of it is one.
    recognise: |_| false,
    endings: &[],
    place,
    read: |folders, _| read(&folders[0]).map(|trace| vec![trace]),
};

fn place(path: &Path) -> Place {
    match path.join(STEPS).is_file() {
        true => Place::Run,
        false => Place::Unknown,
    }
}

/// The file that makes a folder a run.
const STEPS: &str = "steps.arrow";

/// Decisions that leave the step out.
const NOT_APPLIED: [&str; 4] = ["skip", "lower_learning_rate", "rollback", "stop"];

/// Reads the folder of a run. Rows with a wrong checksum are left out, and a note counts them.
fn read(path: &Path) -> Result<Trace, LogError> {
    let found = read_steps(path)?;
    // Without incidents the rows still show that the guard intervened, though not why.
    let incidents = read_incidents(path).map(|found| found.value);
    let mut trace = trace(&found.value, &incidents.unwrap_or_default());
    trace.name = name_of(path);
    trace
        .notes
        .extend(found.problems.iter().map(ToString::to_string));
    // Without a manifest the rows still tell what they tell.
    if let Ok(manifest) = read_manifest(path) {
        let recorded = found.value.rows.last().map_or(0, |row| row.step + 1);
        let ended = End::of(&manifest.value, recorded, has_writer(path));
        trace.cut_short = ended.cut_short;
        trace.notes.extend(ended.note);
    }
    Ok(trace)
}

/// How the record ends, by its manifest and the lock of its writer.
#[derive(Debug, Default, PartialEq, Eq)]
struct End {
    cut_short: Option<String>,
    note: Option<String>,
}

impl End {
    /// `recorded` is the number of steps up to the last row, `writer` whether a living process
    /// writes the record.
    fn of(manifest: &Manifest, recorded: u64, writer: Option<bool>) -> Self {
        let planned = manifest.steps;
        let (steps, of) = (grouped(recorded), grouped(planned));
        // A guard of PyTorch does not know how many steps are planned.
        let is_short = planned > recorded;
        match (manifest.status, writer) {
            (RunStatus::Ended, _) => Self::default(),
            (RunStatus::Running, Some(true)) => Self::note(match is_short {
                true => format!("the run goes on: {steps} of {of} steps are recorded so far"),
                false => "the run goes on: its process still writes the record".into(),
            }),
            (RunStatus::Running, None) => Self::note(
                "the record is not closed, and this file system does not tell whether its process \
                 still runs",
            ),
            (RunStatus::Running, Some(false)) if is_short => Self::cut_short(format!(
                "{steps} of {of} steps, and the process that wrote the record is gone: it was \
                 killed, or the disk was full"
            )),
            (RunStatus::Running, Some(false)) => Self::note(
                "the record was not closed: its process was killed, or ended without closing it",
            ),
            (RunStatus::Interrupted, _) if is_short => {
                Self::cut_short(format!("{steps} of {of} steps, then it was interrupted"))
            }
            (RunStatus::Interrupted, _) => Self::default(),
        }
    }

    fn note(text: impl Into<String>) -> Self {
        Self {
            note: Some(text.into()),
            ..Self::default()
        }
    }

    fn cut_short(text: String) -> Self {
        Self {
            cut_short: Some(text),
            ..Self::default()
        }
    }
}

/// A whole number in groups of three digits: `3,000`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// 1 for each step that was not applied, else 0.
///
/// Incidents are written at once, rows in batches. A run that goes on, or was killed, has incidents
/// for steps without a row.
fn not_applied(rows: &[StepRecord], incidents: &[Incident]) -> (Vec<u64>, Vec<f64>) {
    let flag = |row: &StepRecord| f64::from(u8::from(NOT_APPLIED.contains(&row.decision.as_str())));
    let mut found: (Vec<u64>, Vec<f64>) = rows.iter().map(|row| (row.step, flag(row))).unzip();
    for incident in incidents {
        let (step, last) = (incident.step, found.0.last().copied());
        let is_later = last.is_none_or(|last| last < step);
        if !is_later || incident.judgement.decision.applies() {
            continue;
        }
        // One applied step in between stands for all: a number in a file must not decide memory.
        if let Some(between) = step.checked_sub(1).filter(|step| last < Some(*step)) {
            found.0.push(between);
            found.1.push(0.0);
        }
        found.0.push(step);
        found.1.push(1.0);
    }
    found
}

/// How often the guard left a step out, and its first reason. `None` if it applied all steps.
fn account(skipped: &Series, incidents: &[Incident]) -> Option<String> {
    let all = skipped.steps().iter().zip(skipped.values());
    let mut stopped = all
        .filter(|(_, value)| **value > 0.0)
        .map(|(step, _)| *step);
    let first = stopped.next()?;
    let (count, last) = stopped.fold((1usize, first), |(count, _), step| (count + 1, step));
    let mut account = match count {
        1 => format!("{GUARDED} once, in step {first}"),
        _ => format!("{GUARDED} {count} times, in steps {first} to {last}"),
    };
    let incident = incidents.iter().find(|incident| incident.step == first);
    if let Some(reason) = incident.and_then(reason) {
        account.push_str(if count > 1 { "; the first: " } else { ": " });
        account.push_str(reason);
    }
    Some(account)
}

/// The reason why a step was not applied.
fn reason(incident: &Incident) -> Option<&str> {
    // A jump of the learning rate causes the large update and the jump of the loss.
    let mut seen = incident.judgement.detections.iter();
    if let Some(jump) = seen.find(|seen| seen.detector == Detector::LearningRateJump) {
        return Some(&jump.message);
    }
    incident.judgement.decision.reason()
}

/// A note if the guard lowered the learning rate: the trace holds the rate that the user set.
fn lowered(table: &StepTable) -> Option<String> {
    let scales = table.rows.iter().map(|row| row.learning_rate_scale);
    let lowered = scales.filter(|scale| *scale < 1.0);
    let count = lowered.clone().count();
    let least = lowered.fold(1.0, f64::min);
    (count > 0).then(|| {
        format!(
            "the guard lowered the learning rate in {count} rows, down to {least:.1e} of the \
             user's rate: \
             the rates shown are the user's"
        )
    })
}

fn trace(table: &StepTable, incidents: &[Incident]) -> Trace {
    let steps: Arc<[u64]> = table.rows.iter().map(|row| row.step).collect();
    let column = |role: Role, value: &dyn Fn(&StepRecord) -> f64| {
        let values = table.rows.iter().map(value).collect();
        let name = role.column();
        Series::new(role, name, steps.clone(), values).ok()
    };
    let mut series: Vec<Series> = [
        column(Role::Loss, &|row| row.loss),
        column(Role::GradNorm, &|row| row.grad_norm),
        column(Role::GradNormClipped, &|row| row.grad_norm_clipped),
        // The user's rate. What the guard makes of it is not a schedule that the user could change.
        column(Role::LearningRate, &|row| row.learning_rate),
        column(Role::NonFinite, &|row| row.non_finite as f64),
        column(Role::Subnormal, &|row| row.subnormal as f64),
    ]
    .into_iter()
    .flatten()
    .collect();
    let (at, flags) = not_applied(&table.rows, incidents);
    let skipped = Series::new(Role::Skipped, Role::Skipped.column(), at.into(), flags).ok();
    let told = skipped
        .as_ref()
        .and_then(|skipped| account(skipped, incidents));
    series.extend(skipped);
    let measured = |role: Role, value: &dyn Fn(&StepRecord) -> Option<f64>| {
        let rows = table.rows.iter();
        let (at, norms): (Vec<u64>, Vec<f64>) =
            rows.filter_map(|row| Some((row.step, value(row)?))).unzip();
        let name = role.column();
        (!at.is_empty()).then(|| Series::new(role, name, at.into(), norms).ok())?
    };
    series.extend(measured(Role::UpdateNorm, &|row| row.update_norm));
    series.extend(measured(Role::WeightNorm, &|row| row.weight_norm));
    for (index, parameter) in table.parameters.iter().enumerate() {
        let norm = |row: &StepRecord| row.tensor_norms.get(index).copied().unwrap_or(f64::NAN);
        series.extend(column(Role::ParameterGradNorm(parameter.clone()), &norm));
    }
    let mut notes = odd::notes(&series);
    notes.extend(told);
    notes.extend(lowered(table));
    Trace {
        format: FORMAT.name.into(),
        series,
        notes,
        cadence: Cadence::Step,
        ..Trace::default()
    }
}

#[cfg(test)]
mod tests {
    use steadygrad::StepReading;
    use steadygrad::diagnose::{FindingLevel, RunDiagnosis};
    use steadygrad::guard::{Guard, Preset};
    use steadygrad::stats::{GradientStats, NamedStats, TensorStats};
    use steadygrad_record::{FORMAT, RunDir};

    use super::*;

    fn manifest(steps: u64, status: RunStatus) -> Manifest {
        Manifest {
            format: FORMAT,
            name: "run".into(),
            subject: "a test".into(),
            seed: 0,
            steps,
            parameters: vec!["w".into()],
            status,
        }
    }

    /// A guarded run, by its loss, gradient norm and learning rate at each step.
    fn kept(steps: u64, of: impl Fn(u64) -> (f64, f64, f64)) -> Trace {
        kept_until(steps, steps, of)
    }

    /// The same run with its first rows only, and the incidents of all steps.
    fn kept_until(rows: u64, steps: u64, of: impl Fn(u64) -> (f64, f64, f64)) -> Trace {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let manifest = manifest(steps, RunStatus::Running);
        let mut run = RunDir::create(&path, manifest).unwrap();
        let mut guard = Guard::from(Preset::Default);
        for step in 0..steps {
            let (loss, tensor_norm, rate) = of(step);
            let stats = TensorStats {
                tensor_norm,
                ..TensorStats::default()
            };
            let tensors = vec![NamedStats {
                name: "w".into(),
                stats,
            }];
            let reading = StepReading::new(step, loss, rate, GradientStats { tensors });
            let judged = guard.step(&reading);
            let mut row = StepRecord::new(&reading, &judged.decision);
            row.learning_rate_scale = judged.learning_rate_scale;
            if step < rows {
                run.push_step(row).unwrap();
            }
            if let Some(incident) = judged.incident(step) {
                run.push_incident(&incident).unwrap();
            }
        }
        run.finish(RunStatus::Ended).unwrap();
        read(&path).unwrap()
    }

    fn noise(step: u64) -> f64 {
        1.0 + 0.1 * (step as f64 * 12.9).sin()
    }

    #[test]
    fn a_jump_that_the_guard_lowers_is_the_user_s_and_what_the_guard_chose_is_not_advised() {
        let trace = kept(300, |step| {
            let rate = if (120..170).contains(&step) {
                50.0
            } else {
                0.05
            };
            (noise(step), noise(step + 3), rate)
        });
        let rates = trace.series(&Role::LearningRate).unwrap().values();
        assert!(rates[119] == 0.05 && rates[120] == 50.0 && rates[169] == 50.0);
        let found = RunDiagnosis::of(&trace);
        let first = &found.findings[0];
        assert_eq!(
            (first.code.as_str(), first.step),
            ("SG014", Some(120)),
            "{found:#?}"
        );
        assert!(
            first.title.contains("from 5.0e-2 to 5.0e1, 1000 times"),
            "{first:?}"
        );
        assert!(first.help.contains("at 5.0e-2"), "{first:?}");
        assert!(
            found
                .notes
                .iter()
                .any(|note| note.contains("lowered the learning rate in")),
            "{:?}",
            found.notes
        );
    }

    #[test]
    fn what_the_guard_did_is_told_with_its_first_reason() {
        let trace = kept(200, |step| {
            let bad = step % 60 == 50;
            let times = if bad { 1e4 } else { 1.0 };
            (noise(step), times * noise(step + 3), 0.05)
        });
        let found = RunDiagnosis::of(&trace);
        let told = found
            .findings
            .iter()
            .find(|finding| finding.code == "SG016")
            .unwrap();
        assert_eq!(told.level, FindingLevel::Warning);
        assert!(
            told.title.starts_with(
                "the guard intervened 3 times, in steps 50 to 170; the first: the global norm"
            ),
            "{told:?}"
        );
        assert_eq!(found.notes, [] as [&str; 0]);
    }

    /// The state that a killed process leaves.
    #[test]
    fn incidents_without_a_row_are_counted_and_are_no_end() {
        let jump = |step: u64| {
            (
                noise(step),
                noise(step + 3),
                if step < 120 { 0.05 } else { 50.0 },
            )
        };
        let trace = kept_until(121, 125, jump);
        let found = RunDiagnosis::of(&trace);
        assert_eq!(found.findings[0].code, "SG014");
        let told = found
            .findings
            .iter()
            .find(|finding| finding.code == "SG016")
            .unwrap();
        assert_eq!(
            (told.level, told.until),
            (FindingLevel::Warning, Some(124)),
            "{told:?}"
        );
        assert!(told.title.starts_with("5 steps in a row"), "{told:?}");
        assert!(
            told.notes[0].contains("; the first: the learning rate rose to 5.000e1"),
            "{told:?}"
        );
        assert!(!told.title.contains("the end of the log"), "{told:?}");
    }

    #[test]
    fn a_guard_that_did_nothing_is_not_mentioned() {
        let trace = kept(200, |step| (noise(step), noise(step + 3), 0.05));
        assert_eq!(trace.notes, [] as [&str; 0]);
        assert!(RunDiagnosis::of(&trace).is_healthy());
    }

    #[test]
    fn a_run_whose_process_is_gone_is_cut_short() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run");
        let mut run = RunDir::create(&path, manifest(3_000, RunStatus::Running)).unwrap();
        for step in 0..130 {
            let stats = GradientStats::default();
            let reading = StepReading::new(step, noise(step), 0.05, stats);
            let row = StepRecord::new(&reading, &steadygrad::Decision::Keep);
            run.push_step(row).unwrap();
        }
        run.flush().unwrap();
        let running = read(&path).unwrap();
        assert_eq!(running.cut_short, None);
        assert_eq!(
            running.notes,
            ["the run goes on: 130 of 3,000 steps are recorded so far"]
        );
        // As the system does for a killed process.
        drop(run);
        let killed = read(&path).unwrap();
        assert_eq!(killed.notes, [] as [&str; 0]);
        let told = killed.cut_short.unwrap();
        assert!(
            told.starts_with("130 of 3,000 steps, and the process"),
            "{told}"
        );
    }

    #[test]
    fn the_end_of_a_record_is_told_and_nothing_is_made_up() {
        use RunStatus::{Ended, Interrupted, Running};
        let of = |status, planned, recorded, writer| {
            let end = End::of(&manifest(planned, status), recorded, writer);
            (end.cut_short.is_some(), end.note.is_some())
        };
        for (status, planned, recorded, writer, expected) in [
            (Ended, 3_000, 744, Some(false), (false, false)),
            (Running, 3_000, 744, Some(false), (true, false)),
            (Running, 3_000, 0, Some(false), (true, false)),
            (Running, 3_000, 744, Some(true), (false, true)),
            (Running, 3_000, 744, None, (false, true)),
            // All steps are there, or their number was never known.
            (Running, 3_000, 3_000, Some(false), (false, true)),
            (Running, 0, 744, Some(false), (false, true)),
            (Running, 0, 744, Some(true), (false, true)),
            (Interrupted, 3_000, 744, Some(false), (true, false)),
            (Interrupted, 0, 744, Some(false), (false, false)),
        ] {
            let found = of(status, planned, recorded, writer);
            assert_eq!(
                found, expected,
                "{status:?} {planned} {recorded} {writer:?}"
            );
        }
    }

    #[test]
    fn numbers_have_groups_of_three_digits() {
        for (number, text) in [
            (0, "0"),
            (744, "744"),
            (3_000, "3,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
