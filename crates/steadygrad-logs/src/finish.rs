//! The last step of each reader: from series to a trace.

use steadygrad::Trace;
use steadygrad::trace::{Objective, Series};

use crate::cadence::{Counted, cadence};
use crate::{odd, parts};

/// A run as a reader found it.
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) format: String,
    pub(crate) series: Vec<Series>,
    pub(crate) unmatched: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) objective: Objective,
    pub(crate) counted: Counted,
}

impl Run {
    /// Makes the trace: adds a loss that is there in parts only, and says what a row stands for.
    pub(crate) fn trace(mut self) -> Trace {
        let of_parts = parts::add_loss(&mut self.series, self.objective);
        self.notes.extend(of_parts);
        self.notes.extend(odd::notes(&self.series));
        Trace {
            cadence: cadence(&self.series, self.counted, self.objective),
            unit: self.counted.unit,
            objective: self.objective,
            name: self.name,
            format: self.format,
            series: self.series,
            unmatched: self.unmatched,
            notes: self.notes,
            cut_short: None,
        }
    }
}
