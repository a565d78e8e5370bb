use std::error::Error;
use std::path::{Path, PathBuf};

use super::{Table, Target};

/// Rows that training and validation need.
const MIN_ROWS: usize = 20;

/// Up to this many different whole numbers are classes.
const MAX_AUTO_CLASSES: usize = 20;

/// Whether the target of a CSV is a class or a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CsvTask {
    /// Classes if the target holds text or at most 20 different whole numbers, else numbers.
    #[default]
    Auto,
    /// Classes, whatever the target holds.
    Classification,
    /// Numbers.
    Regression,
}

impl CsvTask {
    /// All names in a study.
    pub const NAMES: [&str; 3] = ["auto", "classification", "regression"];

    /// Its name in a study.
    pub fn name(self) -> &'static str {
        match self {
            CsvTask::Auto => "auto",
            CsvTask::Classification => "classification",
            CsvTask::Regression => "regression",
        }
    }

    /// The task of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [CsvTask::Auto, CsvTask::Classification, CsvTask::Regression]
            .into_iter()
            .find(|task| task.name() == name)
    }
}

/// Why a CSV file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CsvError {
    /// The file cannot be opened or is not CSV.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file does not have the target column.
    #[error(
        "`{}` has no column `{target}`{}; its columns are {}",
        path.display(),
        nearest(.target, .columns),
        columns.join(", ")
    )]
    NoTarget {
        /// The file.
        path: PathBuf,
        /// The target column.
        target: String,
        /// The columns of the file.
        columns: Vec<String>,
    },
    /// A feature, or the target of a regression, is not a finite number.
    #[error(
        "`{}` line {line}, column `{column}`: `{found}` is not a finite number; only the target of \
         a classification may be text",
        path.display()
    )]
    NotANumber {
        /// The file.
        path: PathBuf,
        /// Line number; the header is line 1.
        line: u64,
        /// The column.
        column: String,
        /// The text of the cell.
        found: String,
    },
    /// The file has too little data to train and validate on.
    #[error("`{}` has {found}; {allowed}", path.display())]
    TooSmall {
        /// The file.
        path: PathBuf,
        /// What the file has.
        found: String,
        /// What is needed.
        allowed: &'static str,
    },
}

fn nearest(name: &str, candidates: &[String]) -> String {
    crate::nearest::nearest(name, candidates.iter().map(String::as_str))
        .map_or(String::new(), |near| format!(" (did you mean `{near}`?)"))
}

/// Reads a CSV with a header line. Every column except the target is a numeric feature.
///
/// # Errors
/// [`CsvError`] names the file and the place.
pub fn read_csv(path: &Path, target: &str, task: CsvTask) -> Result<Table, CsvError> {
    let file = File { path, target };
    let (columns, values, targets) = file.cells()?;
    if targets.len() < MIN_ROWS {
        return Err(file.too_small(
            format!("{} rows", targets.len()),
            "at least 20 are needed to train and validate",
        ));
    }
    let mut names: Vec<String> = targets.iter().map(|(_, text)| text.clone()).collect();
    names.sort();
    names.dedup();
    let target = if are_classes(&names, task) {
        file.classes(&targets, names)?
    } else {
        file.numbers(&targets)?
    };
    Ok(Table::new(columns - 1, values, target))
}

fn are_classes(names: &[String], task: CsvTask) -> bool {
    let whole = |text: &String| text.parse::<i64>().is_ok();
    let numeric = |text: &String| text.parse::<f64>().is_ok();
    match task {
        CsvTask::Classification => true,
        CsvTask::Regression => false,
        CsvTask::Auto => {
            !names.iter().all(numeric)
                || (names.len() <= MAX_AUTO_CLASSES && names.iter().all(whole))
        }
    }
}

/// The text of a target, with its line.
type TargetCell = (u64, String);

struct File<'a> {
    path: &'a Path,
    target: &'a str,
}

impl File<'_> {
    /// The number of columns, and all features and targets row by row.
    fn cells(&self) -> Result<(usize, Vec<f32>, Vec<TargetCell>), CsvError> {
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(self.path)
            .map_err(|error| self.unreadable(error))?;
        let headers = reader.headers().map_err(|error| self.unreadable(error))?;
        let columns: Vec<String> = headers.iter().map(str::to_owned).collect();
        let target = self.target_index(&columns)?;
        let (mut values, mut targets) = (Vec::new(), Vec::new());
        for record in reader.records() {
            let record = record.map_err(|error| self.unreadable(error))?;
            let line = record.position().map_or(0, csv::Position::line);
            for (index, text) in record.iter().enumerate() {
                if index == target {
                    targets.push((line, text.to_owned()));
                } else {
                    values.push(self.number(text, line, &columns[index])?);
                }
            }
        }
        Ok((columns.len(), values, targets))
    }

    fn target_index(&self, columns: &[String]) -> Result<usize, CsvError> {
        let index = columns
            .iter()
            .position(|column| column == self.target)
            .ok_or_else(|| CsvError::NoTarget {
                path: self.path.to_owned(),
                target: self.target.to_owned(),
                columns: columns.to_vec(),
            })?;
        if columns.len() < 2 {
            return Err(self.too_small(
                "only one column".into(),
                "at least one feature is needed besides the target",
            ));
        }
        Ok(index)
    }

    fn classes(&self, targets: &[TargetCell], names: Vec<String>) -> Result<Target, CsvError> {
        if names.len() < 2 || names.len() * 2 > targets.len() {
            return Err(self.too_small(
                format!(
                    "{} different values in `{}` over {} rows",
                    names.len(),
                    self.target,
                    targets.len()
                ),
                "a classification needs at least 2 classes with 2 rows each on average; is it a \
                 regression?",
            ));
        }
        let rows = targets
            .iter()
            .map(|(_, text)| names.partition_point(|name| name < text))
            .collect();
        Ok(Target::Classes { rows, names })
    }

    fn numbers(&self, targets: &[TargetCell]) -> Result<Target, CsvError> {
        let numbers = targets
            .iter()
            .map(|(line, text)| self.number(text, *line, self.target))
            .collect::<Result<Vec<_>, _>>()?;
        if numbers.iter().all(|value| *value == numbers[0]) {
            return Err(self.too_small(
                format!("one single value in `{}`", self.target),
                "there is nothing to predict",
            ));
        }
        Ok(Target::Numbers(numbers))
    }

    fn number(&self, text: &str, line: u64, column: &str) -> Result<f32, CsvError> {
        text.parse::<f32>()
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(|| CsvError::NotANumber {
                path: self.path.to_owned(),
                line,
                column: column.to_owned(),
                found: text.to_owned(),
            })
    }

    fn too_small(&self, found: String, allowed: &'static str) -> CsvError {
        CsvError::TooSmall {
            path: self.path.to_owned(),
            found,
            allowed,
        }
    }

    fn unreadable(&self, error: csv::Error) -> CsvError {
        CsvError::Read {
            path: self.path.to_owned(),
            source: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    fn read(text: &str, target: &str, task: CsvTask) -> Result<Table, CsvError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("points.csv");
        std::fs::write(&path, text).unwrap();
        read_csv(&path, target, task)
    }

    fn points(rows: usize, target: impl Fn(usize) -> String) -> String {
        let mut text = "x,label,y\n".to_owned();
        for row in 0..rows {
            writeln!(text, "{row}, {}, {}", target(row), row * 2).unwrap();
        }
        text
    }

    #[test]
    fn the_target_tells_the_task() {
        let task_of = |text: String, task| match read(&text, "label", task).unwrap().target {
            Target::Classes { names, .. } => Some(names),
            Target::Numbers(_) => None,
        };
        let words = |row: usize| ["cat", "dog"][row % 2].to_owned();
        assert_eq!(
            task_of(points(30, words), CsvTask::Auto).unwrap(),
            ["cat", "dog"]
        );
        let few = |row: usize| (row % 3).to_string();
        assert_eq!(
            task_of(points(30, few), CsvTask::Auto).unwrap(),
            ["0", "1", "2"]
        );
        assert_eq!(task_of(points(30, few), CsvTask::Regression), None);
        assert_eq!(
            task_of(points(30, |row| row.to_string()), CsvTask::Auto),
            None
        );
        assert_eq!(
            task_of(points(30, |row| format!("{}.5", row % 2)), CsvTask::Auto),
            None
        );
    }

    #[test]
    fn features_and_classes_are_read_in_place() {
        let table = read(
            &points(30, |row| (row % 2).to_string()),
            "label",
            CsvTask::Auto,
        )
        .unwrap();
        assert_eq!((table.features, table.row(7)), (2, &[7.0, 14.0][..]));
        let Target::Classes { rows, .. } = &table.target else {
            panic!("classes")
        };
        assert_eq!(rows[7], 1);
        assert_eq!((table.training.len(), table.validation.len()), (24, 6));
    }

    #[test]
    fn every_error_names_the_place() {
        let error = |text: String, target, task| read(&text, target, task).unwrap_err().to_string();
        let few = |row: usize| (row % 2).to_string();
        let found = error(points(30, few), "lable", CsvTask::Auto);
        assert!(found.contains("did you mean `label`"), "{found}");
        let found = error(
            points(30, few).replace("5, 1, 10", "5, 1, NaN"),
            "label",
            CsvTask::Auto,
        );
        assert!(found.contains("line 7, column `y`: `NaN`"), "{found}");
        let found = error(points(30, |row| format!("w{row}")), "label", CsvTask::Auto);
        assert!(found.contains("30 different values"), "{found}");
        let found = error(points(5, few), "label", CsvTask::Auto);
        assert!(found.contains("5 rows"), "{found}");
        let found = error(points(30, |_| "1".into()), "label", CsvTask::Regression);
        assert!(found.contains("one single value"), "{found}");
        let found = error(
            points(30, |row| format!("w{}", row % 2)),
            "label",
            CsvTask::Regression,
        );
        assert!(found.contains("`w0` is not a finite number"), "{found}");
        let found = error(
            points(30, few).replace("3, 1, 6", "3, 1"),
            "label",
            CsvTask::Auto,
        );
        assert!(found.contains("points.csv"), "{found}");
        assert!(read_csv(Path::new("/no/such.csv"), "label", CsvTask::Auto).is_err());
    }
}
