use steadygrad::dynamics::Axis;

/// A section of the report. Each of its parts may be empty.
#[derive(Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// Name and value.
    pub(crate) rows: Vec<(String, String)>,
    pub(crate) table: Option<Table>,
    /// How to read the section, or the settings it was computed with.
    pub(crate) note: Option<String>,
}

/// The first column holds words, the others numbers.
pub(crate) struct Table {
    pub(crate) header: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Section {
    pub(super) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    pub(super) fn row(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.rows.push((name.into(), value.into()));
        self
    }

    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    pub(super) fn table(mut self, header: &[&str], rows: Vec<Vec<String>>) -> Self {
        self.table = Some(Table {
            header: header.iter().map(|name| (*name).to_owned()).collect(),
            rows,
        });
        self
    }

    /// Adds a row for a number that could not be measured, with the reason.
    pub(super) fn not_measured(self, name: &str, reason: &str) -> Self {
        self.row(name, format!("not measured: {reason}"))
    }
}

/// `depth` or `time`.
pub(crate) fn through(axis: Axis) -> &'static str {
    match axis {
        Axis::Depth => "depth",
        Axis::Time => "time",
    }
}
