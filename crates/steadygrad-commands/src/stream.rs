//! `diagnose -`: a log from the standard input, which may still be written.
//!
//! ```text
//! standard input --Spool: whole lines--> temporary file --every two seconds--> Diagnosis
//! ```

use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use steadygrad::Trace;
use steadygrad::diagnose::{Diagnosis, FindingLevel, RunState};
use steadygrad_logs::{Columns, read};
use steadygrad_report::terminal;

use crate::error::CommandError;
use crate::output;
use crate::spool::Spool;

/// Time between two diagnoses while the log grows.
const INTERVAL: Duration = Duration::from_secs(2);

/// Time between two looks at the input and at Ctrl-C.
const LOOK: Duration = Duration::from_millis(50);

/// A diagnosis takes at most one part in this many of the time, however long the log is.
const SHARE: u32 = 10;

/// The run's name: the input has none.
const NAME: &str = "standard input";

/// Exit code of a second Ctrl-C, which ends the program at once.
const INTERRUPTED: i32 = 130;

static CANCELLED: AtomicBool = AtomicBool::new(false);

/// Diagnoses the standard input once it ends, or at Ctrl-C.
///
/// If `tells` is true, one line on the standard error says when the state or the headline changes.
pub(crate) fn diagnose(
    columns: &Columns,
    as_diagnosis: impl Fn(Vec<Trace>) -> Diagnosis,
    tells: bool,
) -> Result<Diagnosis, CommandError> {
    watch_ctrl_c();
    let spool = Spool::start(std::io::stdin())?;
    let (mut read_bytes, mut pause, mut told) = (0, INTERVAL, None);
    while !wait(&spool, pause) {
        let bytes = spool.bytes();
        if !tells || bytes == read_bytes {
            continue;
        }
        read_bytes = bytes;
        let begin = Instant::now();
        // A log that has just begun may be unreadable; only its end decides.
        if let Ok(traces) = traces(&spool, columns) {
            let now = as_diagnosis(traces);
            let outline = Some(outline(&now));
            if told != outline {
                output::say(&terminal::brief(&now));
                told = outline;
            }
        }
        pause = INTERVAL.max(begin.elapsed() * (SHARE - 1));
    }
    Ok(as_diagnosis(traces(&spool, columns)?))
}

/// Waits, and returns whether the input has ended or a person wants the diagnosis now.
fn wait(spool: &Spool, pause: Duration) -> bool {
    let begin = Instant::now();
    loop {
        if spool.has_ended() || CANCELLED.load(Ordering::Relaxed) {
            return true;
        }
        if begin.elapsed() >= pause {
            return false;
        }
        std::thread::sleep(LOOK.min(pause));
    }
}

fn traces(spool: &Spool, columns: &Columns) -> Result<Vec<Trace>, CommandError> {
    let mut traces = read(spool.path(), columns).map_err(|error| error.renamed(Path::new(NAME)))?;
    for trace in &mut traces {
        trace.name = NAME.into();
        trace.notes.extend(spool.note());
    }
    Ok(traces)
}

/// What a line is printed for: each run's state, and the code and level of its headline.
type Outline = Vec<(Discriminant<RunState>, Option<(String, FindingLevel)>)>;

fn outline(diagnosis: &Diagnosis) -> Outline {
    let runs = diagnosis.runs.iter();
    runs.map(|run| {
        let headline = run.findings.first();
        let headline = headline.map(|finding| (finding.code.clone(), finding.level));
        (discriminant(&run.state), headline)
    })
    .collect()
}

/// The first Ctrl-C asks for the diagnosis, a second one ends the program.
fn watch_ctrl_c() {
    // If another handler is there already, Ctrl-C ends the program as usual.
    let _ = ctrlc::set_handler(|| {
        if CANCELLED.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    });
}
