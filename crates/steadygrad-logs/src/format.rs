use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::{LogError, lenient, tensorboard, wandb};

/// The format of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    TensorBoard,
    Wandb,
    Csv,
    Json,
    JsonLines,
}

/// So much of a file is looked at.
const HEAD: u64 = 1 << 16;

impl Format {
    /// The format of this file, by what is in it.
    pub(crate) fn of(path: &Path) -> Result<Self, LogError> {
        let mut head = Vec::new();
        let file = File::open(path).map_err(LogError::io(path))?;
        file.take(HEAD)
            .read_to_end(&mut head)
            .map_err(LogError::io(path))?;
        Self::recognise(&head).map_err(|found| LogError::Unrecognised {
            path: path.to_owned(),
            found,
        })
    }

    fn recognise(head: &[u8]) -> Result<Self, String> {
        if head.is_empty() {
            return Err("it is empty".into());
        }
        if tensorboard::begins(head) {
            return Ok(Self::TensorBoard);
        }
        if wandb::begins(head) {
            return Ok(Self::Wandb);
        }
        let text = without_mark(head);
        if text.contains(&0) {
            return Err("it is a binary file of another kind".into());
        }
        let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let mut lines = lines.by_ref().filter(|line| !line.is_empty());
        let first = lines.next().ok_or("it holds blank lines only")?;
        match first.first() {
            Some(b'[') => return Ok(Self::Json),
            Some(b'{') => {
                // A whole object in the first line, and it is no state with a history in it.
                let object = lenient::parse(first).ok();
                let rows = object.is_some_and(|object| {
                    object
                        .as_object()
                        .is_some_and(|keys| !keys.values().any(serde_json::Value::is_array))
                });
                return Ok(if rows { Self::JsonLines } else { Self::Json });
            }
            _ => {}
        }
        let name = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_' || !byte.is_ascii();
        if first.iter().any(name) && lines.next().is_some() {
            return Ok(Self::Csv);
        }
        Err("it is text without a header line and rows".into())
    }
}

/// Without the mark that some editors put before UTF-8.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_content() {
        for (text, expected) in [
            ("step,loss\n0,1\n", Some(Format::Csv)),
            ("\u{feff}step\tloss\n0\t1\n", Some(Format::Csv)),
            (
                "{\"step\": 0, \"loss\": NaN}\n{\"step\": 1}\n",
                Some(Format::JsonLines),
            ),
            ("{\n \"log_history\": []}", Some(Format::Json)),
            ("{\"log_history\": [{\"loss\": 1}]}", Some(Format::Json)),
            ("[{\"loss\": 1}]", Some(Format::Json)),
            ("", None),
            ("\n\n", None),
            ("one line of text", None),
            ("1,2\n3,4\n", None),
            (":W&B\u{1}", None),
            (":W&B", None),
            ("a\0b", None),
        ] {
            assert_eq!(
                Format::recognise(text.as_bytes()).ok(),
                expected,
                "{text:?}"
            );
        }
        assert_eq!(Format::recognise(b":W&B\xe1\xbe\0"), Ok(Format::Wandb));
    }
}
