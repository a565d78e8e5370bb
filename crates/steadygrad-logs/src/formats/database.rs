//! The databases of trackers, in SQLite: MLflow's `mlflow.db` and Trackio's `PROJECT.db`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use steadygrad::Trace;

use crate::format::{Format, anywhere};
use crate::objects::Objects;
use crate::own_steps;
use crate::{Columns, LogError, lenient};

pub(super) const FORMAT: Format = Format {
    name: "database of MLflow or Trackio",
    recognise: |head| head.bytes().starts_with(b"SQLite format 3\0"),
    endings: &["db", "sqlite", "sqlite3"],
    place: anywhere,
    read: |files, columns| read(&files[0], columns),
};

/// MLflow stores an infinite value as the largest number of a double.
const INFINITE: f64 = f64::MAX;

/// Reads all runs of a database.
fn read(path: &Path, columns: &Columns) -> Result<Vec<Trace>, LogError> {
    let database = open(path)?;
    let known = names(&database, path)?;
    let has = |wanted: &[&str]| {
        wanted
            .iter()
            .all(|wanted| known.iter().any(|known| known == wanted))
    };
    let runs = if has(&["key", "value", "step", "run_uuid"]) {
        mlflow(&database, path, columns)?
    } else if has(&["run_name", "step", "metrics"]) {
        trackio(&database, path, columns, has(&["run_id"]))?
    } else {
        let found = "it is an SQLite database without the metrics of MLflow or Trackio";
        return Err(LogError::unrecognised(path, found));
    };
    // A run that stores no loss must not hide the others.
    let mut traces = Vec::new();
    let mut refused = None;
    for run in runs {
        match run {
            Ok(trace) => traces.push(trace),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match (traces.is_empty(), refused) {
        (false, _) => Ok(traces),
        (true, Some(error)) => Err(error),
        (true, None) => Err(LogError::unrecognised(path, "its runs have no metrics")),
    }
}

type Runs = Vec<Result<Trace, LogError>>;

/// Opens the database without writing to it, nor to its folder.
fn open(path: &Path) -> Result<Connection, LogError> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name).exists()
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = if beside("-wal") || beside("-journal") {
        // The newest rows are in the file beside it.
        Connection::open_with_flags(path, flags)
    } else {
        // Without this word SQLite makes files beside a database that a program left in its
        // write-ahead mode.
        let name = path.to_string_lossy();
        let name = name
            .replace('%', "%25")
            .replace('?', "%3f")
            .replace('#', "%23");
        let uri = format!("file:{name}?immutable=1");
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
    };
    opened.map_err(|error| unreadable(path, &error))
}

/// Says what is wrong with a database in words of its user.
fn unreadable(path: &Path, error: &rusqlite::Error) -> LogError {
    use rusqlite::ErrorCode;
    let found = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has locked it; close that program, or copy the file"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the SQLite database is damaged; `sqlite3 FILE .recover` may save a part of it"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            "the SQLite database cannot be opened; check its permissions, or copy the file"
        }
        _ => "the SQLite database cannot be read; it may be damaged",
    };
    LogError::Database {
        path: path.to_owned(),
        found,
    }
}

/// The names of the columns in the table of metrics; none if there is no such table.
fn names(database: &Connection, path: &Path) -> Result<Vec<String>, LogError> {
    let mut names = Vec::new();
    rows(
        database,
        path,
        "SELECT name FROM pragma_table_info('metrics')",
        |row| {
            names.push(text(row, 0));
        },
    )?;
    Ok(names)
}

/// Hands each row of an answer on.
fn rows(
    database: &Connection,
    path: &Path,
    question: &str,
    mut take: impl FnMut(&rusqlite::Row<'_>),
) -> Result<(), LogError> {
    let wrong = |error: rusqlite::Error| unreadable(path, &error);
    let mut statement = database.prepare(question).map_err(wrong)?;
    let mut rows = statement.query([]).map_err(wrong)?;
    while let Some(row) = rows.next().map_err(wrong)? {
        take(row);
    }
    Ok(())
}

/// A cell as text; empty for a number. Trackio stores its JSON as bytes.
fn text(row: &rusqlite::Row<'_>, place: usize) -> String {
    match row.get_ref(place) {
        Ok(ValueRef::Text(text) | ValueRef::Blob(text)) => {
            String::from_utf8_lossy(text).into_owned()
        }
        _ => String::new(),
    }
}

/// A cell as a number; NaN for one of another type.
fn float(row: &rusqlite::Row<'_>, place: usize) -> f64 {
    match row.get_ref(place) {
        Ok(ValueRef::Real(value)) => value,
        Ok(ValueRef::Integer(value)) => value as f64,
        _ => f64::NAN,
    }
}

/// A cell as a step; 0 for one before the first.
fn step(row: &rusqlite::Row<'_>, place: usize) -> u64 {
    match row.get_ref(place) {
        Ok(ValueRef::Integer(value)) => value.try_into().unwrap_or(0),
        _ => 0,
    }
}

/// The runs of MLflow. A row of `metrics` is one value.
fn mlflow(database: &Connection, path: &Path, columns: &Columns) -> Result<Runs, LogError> {
    /// The steps and the values of each metric.
    type Metrics = BTreeMap<String, (Vec<u64>, Vec<f64>)>;
    let mut runs: BTreeMap<String, Metrics> = BTreeMap::new();
    let question = "SELECT run_uuid, key, value, step, is_nan FROM metrics ORDER BY rowid";
    rows(database, path, question, |row| {
        let value = match (float(row, 4) == 1.0, float(row, 2)) {
            (true, _) => f64::NAN,
            (false, value) if value.abs() == INFINITE => value * 2.0,
            (false, value) => value,
        };
        let run = runs.entry(text(row, 0)).or_default();
        let (steps, values) = run.entry(text(row, 1)).or_default();
        steps.push(step(row, 3));
        values.push(value);
    })?;
    let mut names = BTreeMap::new();
    // Without its table the runs still have their numbers.
    let _ = rows(database, path, "SELECT run_uuid, name FROM runs", |row| {
        names.insert(text(row, 0), text(row, 1));
    });
    let traces = runs.into_iter().map(|(id, metrics)| {
        let name = names.remove(&id).filter(|name| !name.is_empty());
        let values = metrics.into_iter().unzip();
        let name = name.unwrap_or(id);
        own_steps::trace(path, name, "MLflow database", values, columns, Vec::new())
    });
    Ok(traces.collect())
}

/// The runs of Trackio. A row of `metrics` is a call of `log`, with its values as JSON.
fn trackio(
    database: &Connection,
    path: &Path,
    columns: &Columns,
    has_ids: bool,
) -> Result<Runs, LogError> {
    let mut runs: BTreeMap<(String, String), (Objects, usize)> = BTreeMap::new();
    let id = if has_ids { "run_id" } else { "run_name" };
    let question = format!("SELECT run_name, {id}, step, metrics FROM metrics ORDER BY id");
    rows(database, path, &question, |row| {
        let (objects, odd) = runs.entry((text(row, 0), text(row, 1))).or_default();
        match lenient::parse(text(row, 3).as_bytes()) {
            Ok(Value::Object(mut object)) => {
                // As W&B's, this step counts the calls unless the user gives one.
                object.entry("_step").or_insert(step(row, 2).into());
                objects.push(&object);
            }
            _ => *odd += 1,
        }
    })?;
    let traces = runs.into_iter().map(|((name, _), (objects, odd))| {
        let note = format!("{odd} rows hold no readable values and were left out");
        let notes = Some(note).filter(|_| odd > 0).into_iter().collect();
        let mut trace = objects.trace(path, "Trackio database", columns, notes)?;
        trace.name = name;
        Ok(trace)
    });
    Ok(traces.collect())
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::{Cadence, Role};

    use super::*;
    use crate::read as read_any;

    /// A database with the tables of the tools' own, as far as they are read.
    fn database(statements: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a run?#%41.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(statements).unwrap();
        (folder, path)
    }

    const MLFLOW: &str = "
        CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250));
        CREATE TABLE metrics (key VARCHAR(250) NOT NULL, value FLOAT NOT NULL,
            timestamp BIGINT NOT NULL, run_uuid VARCHAR(32) NOT NULL,
            step BIGINT DEFAULT '0' NOT NULL, is_nan BOOLEAN DEFAULT '0' NOT NULL,
            PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
        INSERT INTO runs VALUES ('a1', 'calm-fox'), ('b2', ''), ('c3', 'none');
        INSERT INTO metrics VALUES
            ('train_loss', 2.5, 1, 'a1', 0, 0), ('train_loss', 2.0, 2, 'a1', 10, 0),
            ('train_loss', 0, 3, 'a1', 20, 1), ('lr', 0.1, 1, 'a1', 0, 0),
            ('grad_norm', 1.7976931348623157e308, 1, 'a1', 0, 0),
            ('loss', 1, 1, 'b2', 0, 0), ('accuracy', 1, 1, 'c3', 0, 0);";

    #[test]
    fn mlflow_s_runs() {
        let (_folder, path) = database(MLFLOW);
        let traces = read_any(&path, &Columns::default()).unwrap();
        let names: Vec<&str> = traces.iter().map(|trace| trace.name.as_str()).collect();
        assert_eq!(names, ["calm-fox", "b2"]);
        let loss = traces[0].series(&Role::Loss).unwrap();
        assert_eq!(&**loss.steps(), [0, 10, 20]);
        assert!(loss.values()[..2] == [2.5, 2.0] && loss.values()[2].is_nan());
        let norm = traces[0].series(&Role::GradNorm).unwrap();
        assert_eq!(norm.values(), [f64::INFINITY]);
        assert_eq!(traces[0].cadence, Cadence::Steps(10));
    }

    const TRACKIO: &str = "PRAGMA journal_mode = WAL;
        CREATE TABLE metrics (id INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL,
            timestamp TEXT NOT NULL, run_name TEXT NOT NULL, step INTEGER NOT NULL,
            metrics TEXT NOT NULL);
        INSERT INTO metrics (run_id, timestamp, run_name, step, metrics) VALUES
            ('x', '', 'calm', 0, CAST('{\"train\": {\"loss\": 2.5}, \"lr\": 0.1}' AS BLOB)),
            ('x', '', 'calm', 1, '{\"train\": {\"loss\": \"NaN\"}, \"grad_norm\": \"Infinity\"}'),
            ('x', '', 'calm', 2, 'torn'),
            ('y', '', 'calm', 0, '{\"loss\": 3}');";

    #[test]
    fn trackio_s_runs() {
        let (folder, path) = database(TRACKIO);
        let traces = read_any(&path, &Columns::default()).unwrap();
        assert_eq!(traces.len(), 2);
        let loss = traces[0].series(&Role::Loss).unwrap();
        assert_eq!(
            (loss.column(), &**loss.steps()),
            ("train/loss", &[0, 1][..])
        );
        assert!(loss.values()[1].is_nan());
        // The step counts calls of `log`.
        assert_eq!(
            (traces[0].name.as_str(), traces[0].cadence),
            ("calm", Cadence::Unknown)
        );
        assert!(
            traces[0]
                .notes
                .iter()
                .any(|note| note.starts_with("1 rows hold no"))
        );
        // Nothing was written beside it.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn other_databases_and_damaged_ones_are_refused_in_words() {
        let says = |path: &Path| read_any(path, &Columns::default()).unwrap_err().to_string();
        let (_folder, path) = database("CREATE TABLE metrics (a INTEGER);");
        assert!(says(&path).contains("without the metrics of MLflow or Trackio"));
        let (_folder, path) = database(MLFLOW);
        let bytes = std::fs::read(&path).unwrap();
        for cut in [20, 100, 1000, bytes.len() - 4096] {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let said = says(&path);
            assert!(said.contains("SQLite database"), "{cut}: {said}");
        }
    }

    #[test]
    fn a_locked_database_is_told() {
        let (_folder, path) = database(MLFLOW);
        let writer = Connection::open(&path).unwrap();
        writer
            .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; DELETE FROM runs;")
            .unwrap();
        let said = read_any(&path, &Columns::default());
        // A writer that has not written to the file yet locks nobody out of what it holds.
        let told = said.map_or_else(|error| error.to_string().contains("locked"), |_| true);
        assert!(told);
    }
}
