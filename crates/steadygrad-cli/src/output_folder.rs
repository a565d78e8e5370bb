use std::path::{Path, PathBuf};

use steadygrad_record::RecordError;

/// Creates the folder for a command's results before any work is done: `wanted`, or the next free
/// `runs/SUBJECT-N`.
///
/// # Errors
/// [`RecordError`] if the folder cannot be created, is not empty or refuses files.
pub(crate) fn output_folder(wanted: Option<&Path>, subject: &str) -> Result<PathBuf, RecordError> {
    let path = wanted.map_or_else(|| next_free(subject), Path::to_owned);
    let io = |action: &'static str| {
        let path = path.clone();
        move |source| RecordError::Io {
            action,
            path,
            source,
        }
    };
    std::fs::create_dir_all(&path).map_err(io("create the output folder"))?;
    if std::fs::read_dir(&path)
        .map_err(io("list"))?
        .next()
        .is_some()
    {
        return Err(RecordError::NotEmpty { path });
    }
    // A folder that exists may still refuse files.
    let probe = path.join(".steadygrad-probe");
    std::fs::write(&probe, b"")
        .and_then(|()| std::fs::remove_file(&probe))
        .map_err(io("write into"))?;
    Ok(path)
}

/// `runs/digits-mlp-1`, `-2` and so on: no earlier result is overwritten.
fn next_free(subject: &str) -> PathBuf {
    (1u32..)
        .map(|number| Path::new("runs").join(format!("{subject}-{number}")))
        .find(|path| !path.exists())
        .unwrap_or_else(|| Path::new("runs").join(subject))
}
