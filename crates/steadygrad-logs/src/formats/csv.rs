//! Tables of text: Lightning's `metrics.csv`, W&B's exports, tables of any tool.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rayon::prelude::*;
use steadygrad::Trace;

use crate::format::{Format, Head, anywhere, without_mark};
use crate::names::is_held_out_split;
use crate::roles::{Selection, select};
use crate::table::{Column, Table, number};
use crate::{Columns, LogError, blanks, name_of};

pub(super) const FORMAT: Format = Format {
    name: "CSV",
    recognise,
    endings: &["csv", "tsv", "log", "txt"],
    place: anywhere,
    read: |files, columns| read(&files[0], columns).map(|trace| vec![trace]),
};

/// A line of names, and a line below it.
fn recognise(head: &Head<'_>) -> bool {
    let name = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_' || !byte.is_ascii();
    let named = |line: &[u8]| line.iter().any(name);
    head.first_line().is_some_and(named) && head.has_second_line()
}

/// Bytes that one thread parses at a time.
const BLOCK: usize = 1 << 20;

/// Reads one file.
///
/// Threads parse blocks of lines side by side. In a file with quotes a cell may hold a line's end,
/// so the `csv` crate reads it as a whole.
fn read(path: &Path, columns: &Columns) -> Result<Trace, LogError> {
    let (header, delimiter) = header(path)?;
    let selection = select(path, &header, columns)?;
    let mut slots: Vec<Option<usize>> = vec![None; header.len()];
    for (slot, index) in selection.wanted().enumerate() {
        slots[index] = Some(slot);
    }
    let layout = Layout {
        delimiter,
        slots,
        count: selection.wanted().count(),
        split: selection.split,
    };
    let rows = match plain(path, &layout)? {
        Some(rows) => rows,
        None => quoted(path, &layout)?,
    };
    Ok(trace(path, &header, selection, rows))
}

/// How a line splits into cells.
struct Layout {
    delimiter: u8,
    /// The place of each column's values; `None` for a column that is not read.
    slots: Vec<Option<usize>>,
    /// The number of columns that are read.
    count: usize,
    /// The column that says which part of the data a row is about.
    split: Option<usize>,
}

/// The names in the first line, and their separator.
fn header(path: &Path) -> Result<(Vec<String>, u8), LogError> {
    const HEAD: u64 = 4 << 20;
    let mut head = Vec::new();
    let file = File::open(path).map_err(LogError::io(path))?;
    file.take(HEAD)
        .read_to_end(&mut head)
        .map_err(LogError::io(path))?;
    let head = without_mark(&head);
    let blank = head
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace() && **byte != b'\t')
        .count();
    let line = head[blank..]
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let count = |delimiter: &u8| line.iter().filter(|byte| *byte == delimiter).count();
    // The comma stands first, so it wins a tie.
    let delimiter = [b';', b'\t', b',']
        .into_iter()
        .max_by_key(count)
        .unwrap_or(b',');
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(line);
    let mut record = ::csv::ByteRecord::new();
    // A line that is not CSV gives no names.
    let _ = reader.read_byte_record(&mut record);
    let names = record
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim().to_owned());
    Ok((names.collect(), delimiter))
}

/// The values of a block of lines.
#[derive(Default)]
struct Rows {
    columns: Vec<Column>,
    rows: usize,
    /// The number of cells without a number, and the first such cell with its line.
    odd_cells: usize,
    first_odd: Option<(usize, String)>,
    /// The number of lines with more or fewer cells than the header, and the first such line.
    odd_lines: usize,
    first_odd_line: Option<usize>,
}

impl Rows {
    fn new(count: usize) -> Self {
        Self {
            columns: vec![Column::default(); count],
            ..Self::default()
        }
    }

    fn append(&mut self, other: Rows) {
        for (column, rows) in self.columns.iter_mut().zip(other.columns) {
            column.append(rows);
        }
        let before = self.rows;
        self.rows += other.rows;
        self.odd_cells += other.odd_cells;
        self.odd_lines += other.odd_lines;
        let later = other.first_odd.map(|(row, text)| (row + before, text));
        self.first_odd = self.first_odd.take().or(later);
        let later = other.first_odd_line.map(|row| row + before);
        self.first_odd_line = self.first_odd_line.or(later);
    }

    /// Adds one line's cells.
    fn line<'a>(&mut self, layout: &Layout, cells: impl Iterator<Item = &'a [u8]>) {
        let mut seen = 0;
        for (index, cell) in cells.enumerate() {
            seen = index + 1;
            let Some(slot) = layout.slots.get(index).copied().flatten() else {
                continue;
            };
            if layout.split == Some(index) {
                let held_out = is_held_out_split(&String::from_utf8_lossy(cell));
                self.columns[slot].push(held_out.map(|held_out| f64::from(u8::from(held_out))));
                continue;
            }
            let value = number(cell).unwrap_or_else(|()| {
                self.odd_cells += 1;
                self.first_odd.get_or_insert_with(|| {
                    let text: String = String::from_utf8_lossy(cell).chars().take(20).collect();
                    (self.rows, text)
                });
                None
            });
            self.columns[slot].push(value);
        }
        if seen != layout.slots.len() {
            self.odd_lines += 1;
            self.first_odd_line.get_or_insert(self.rows);
        }
        self.rows += 1;
        for column in &mut self.columns {
            column.fill(self.rows);
        }
    }
}

/// Reads all lines after the first. `None` if there is a quote.
fn plain(path: &Path, layout: &Layout) -> Result<Option<Rows>, LogError> {
    let mut file = File::open(path).map_err(LogError::io(path))?;
    let most = BLOCK * rayon::current_num_threads().max(1);
    let mut all = Rows::new(layout.count);
    let (mut buffer, mut header) = (Vec::with_capacity(most), true);
    loop {
        let room = most.saturating_sub(buffer.len()).max(BLOCK);
        let mut part = file.by_ref().take(room as u64);
        let read = part.read_to_end(&mut buffer).map_err(LogError::io(path))?;
        let end = match (read, memchr::memrchr(b'\n', &buffer)) {
            // The last line may lack a line end.
            (0, _) => buffer.len(),
            (_, Some(end)) => end + 1,
            (_, None) => continue,
        };
        let mut lines = &buffer[..end];
        if header && end > 0 {
            lines = without_mark(lines);
            let blank = lines
                .iter()
                .take_while(|byte| byte.is_ascii_whitespace() && **byte != b'\t')
                .count();
            lines = &lines[blank..];
            let first = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
            lines = &lines[first..];
            header = false;
        }
        if memchr::memchr(b'"', lines).is_some() {
            return Ok(None);
        }
        let blocks: Vec<Rows> = blocks(lines)
            .into_par_iter()
            .map(|block| parse(block, layout))
            .collect();
        for block in blocks {
            all.append(block);
        }
        if read == 0 {
            return Ok(Some(all));
        }
        buffer.drain(..end);
    }
}

/// Parts of about equal size that end at line ends.
fn blocks(mut lines: &[u8]) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    while !lines.is_empty() {
        let end = lines
            .get(BLOCK..)
            .and_then(|rest| memchr::memchr(b'\n', rest))
            .map_or(lines.len(), |end| BLOCK + end + 1);
        let (block, rest) = lines.split_at(end);
        blocks.push(block);
        lines = rest;
    }
    blocks
}

fn parse(block: &[u8], layout: &Layout) -> Rows {
    let mut rows = Rows::new(layout.count);
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', block).chain(std::iter::once(block.len()));
    for end in ends {
        let line = block.get(from..end).unwrap_or_default();
        from = end + 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        rows.line(layout, line.split(|byte| *byte == layout.delimiter));
    }
    rows
}

/// Reads all lines after the first. Cells may be in quotes.
fn quoted(path: &Path, layout: &Layout) -> Result<Rows, LogError> {
    let mut rows = Rows::new(layout.count);
    let mut reader = ::csv::ReaderBuilder::new()
        .delimiter(layout.delimiter)
        .flexible(true)
        .from_path(path)
        .map_err(|error| LogError::io(path)(std::io::Error::other(error)))?;
    let mut record = ::csv::ByteRecord::new();
    // An error ends the reading. The rows before it are kept.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        rows.line(layout, record.iter());
    }
    Ok(rows)
}

fn trace(path: &Path, header: &[String], selection: Selection, rows: Rows) -> Trace {
    let name = name_of(path);
    let mut table = Table::new(
        name,
        FORMAT.name,
        header,
        selection,
        rows.columns,
        rows.rows,
    );
    // The header is line 1.
    if let Some((row, text)) = &rows.first_odd {
        table.notes.push(format!(
            "{} cells hold no number, the first `{text}` in line {}",
            rows.odd_cells,
            row + 2
        ));
    }
    if let Some(row) = rows.first_odd_line {
        table.notes.push(format!(
            "{} lines do not have the header's {} cells, the first is line {}: their cells were \
             read",
            rows.odd_lines,
            header.len(),
            row + 2
        ));
    }
    let blank = blanks::losses(&mut table.values);
    table.notes.extend(blank);
    table.trace()
}

#[cfg(test)]
mod tests {
    use steadygrad::trace::{Cadence, Objective, Role, StepUnit};

    use super::*;

    fn of(text: &str) -> Trace {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, text).unwrap();
        read(&path, &Columns::default()).unwrap()
    }

    fn column(trace: &Trace, role: Role) -> Vec<(u64, f64)> {
        let series = trace.series(&role).unwrap();
        let steps = series.steps().iter().copied();
        steps.zip(series.values().iter().copied()).collect()
    }

    #[test]
    fn lightning_s_blanks_are_no_values() {
        let trace = of(
            "epoch,lr-SGD,step,train_loss,val_loss\n0,0.1,,,\n0,,9,2.5,\n0,,9,,2.25\n1,,19,nan,\n",
        );
        assert_eq!(column(&trace, Role::ValidationLoss), [(9, 2.25)]);
        let loss = column(&trace, Role::Loss);
        assert!(loss[0] == (9, 2.5) && loss[1].0 == 19 && loss[1].1.is_nan());
        assert_eq!(column(&trace, Role::LearningRate), [(0, 0.1)]);
        assert_eq!(trace.unmatched, ["epoch"]);
        assert_eq!(trace.notes.len(), 1, "{:?}", trace.notes);
    }

    #[test]
    fn a_tail_that_pandas_left_blank_is_nan() {
        let trace = of("step,loss,grad_norm,lr\n0,2,1,0.1\n1,3,1,0.1\n2,,,0.1\n3,,,0.1\n");
        let loss = column(&trace, Role::Loss);
        assert!(
            loss[..2] == [(0, 2.0), (1, 3.0)] && loss[3].0 == 3,
            "{loss:?}"
        );
        assert!(loss[2].1.is_nan() && loss[3].1.is_nan(), "{loss:?}");
        assert!(
            trace.notes[0].contains("last 2 of 4 rows"),
            "{:?}",
            trace.notes
        );
        // Rows that were cut off hold nothing at all.
        let trace = of("step,loss,grad_norm\n0,2,1\n1,3,1\n2,,\n3,,\n");
        assert_eq!(column(&trace, Role::Loss).len(), 2);
    }

    #[test]
    fn delimiters_quotes_and_line_ends() {
        for text in [
            "step,loss\n0,1.5\n1,2.5\n",
            "step;loss\r\n0;1.5\r\n1;2.5",
            "\u{feff}step\tloss\n0\t1.5\n\n1\t2.5\n",
            "\"step\",\"loss\"\n\"0\",\"1.5\"\n1,2.5\n",
            "Step,\"a, b - loss\"\n0,1.5\n1,2.5\n",
        ] {
            assert_eq!(
                column(&of(text), Role::Loss),
                [(0, 1.5), (1, 2.5)],
                "{text:?}"
            );
        }
    }

    #[test]
    fn odd_cells_and_lines_are_told_with_their_line() {
        let trace = of("step,loss\n0,1\n1,oops\n2\n3,4,5\n");
        assert_eq!(column(&trace, Role::Loss), [(0, 1.0), (3, 4.0)]);
        assert!(
            trace
                .notes
                .iter()
                .any(|note| note.contains("`oops` in line 3")),
            "{:?}",
            trace.notes
        );
        assert!(
            trace
                .notes
                .iter()
                .any(|note| note.starts_with("2 lines") && note.contains("line 4"))
        );
    }

    #[test]
    fn blocks_put_together_are_the_whole() {
        let rows = 300_000;
        let mut text = String::from("step,loss,grad_norm\n");
        for row in 0..rows {
            let norm = if row % 7 == 0 {
                String::new()
            } else {
                format!("{}", row * 2)
            };
            text.push_str(&format!("{row},{}.5,{norm}\n", row));
        }
        assert!(text.len() > BLOCK);
        let trace = of(&text);
        let loss = column(&trace, Role::Loss);
        assert_eq!(loss.len(), rows);
        assert!(loss.iter().all(|(step, loss)| *loss == *step as f64 + 0.5));
        let norm = column(&trace, Role::GradNorm);
        assert!(
            norm.iter()
                .all(|(step, norm)| step % 7 != 0 && *norm == *step as f64 * 2.0)
        );
        assert_eq!(norm.len(), rows - rows.div_ceil(7));
    }

    #[test]
    fn yolo_s_padded_columns_are_parts_of_the_loss() {
        let trace = of(
            "      epoch,   train/box_loss,   train/cls_loss,  metrics/mAP_0.5, val/box_loss,  x/lr0\n\
             0,   0.5,   0.25,   0.1,   0.9,  0.07\n   1,   nan,   0.25,   0,   nan,   0.06\n",
        );
        let loss = column(&trace, Role::Loss);
        assert!(loss[0] == (0, 0.75) && loss[1].1.is_nan(), "{loss:?}");
        assert_eq!(column(&trace, Role::LearningRate), [(0, 0.07), (1, 0.06)]);
        assert_eq!(
            (trace.unit, trace.cadence),
            (StepUnit::Epoch, Cadence::Epoch)
        );
    }

    #[test]
    fn keras_s_and_timm_s_rows_are_epochs() {
        for text in [
            "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,2.5,0.5,2.25\n1,0.5,2,0.5,2\n",
            "epoch,train_loss,eval_loss,eval_top1,lr\n0,2.5,2.25,50.0,0.1\n1,2,2,60.0,0.1\n",
        ] {
            let trace = of(text);
            assert_eq!(column(&trace, Role::Loss), [(0, 2.5), (1, 2.0)]);
            assert_eq!(
                (trace.unit, trace.cadence),
                (StepUnit::Epoch, Cadence::Epoch)
            );
        }
    }

    #[test]
    fn stable_baselines3_s_progress() {
        let trace = of(
            "rollout/ep_rew_mean,time/iterations,time/total_timesteps,train/approx_kl,train/loss,\
             train/n_updates,train/value_loss\n12,1,2048,,,,\n13,2,4096,0.01,-0.03,10,1.5\n\
             14,3,6144,nan,nan,20,nan\n",
        );
        let loss = column(&trace, Role::Loss);
        assert!(loss[0] == (4096, -0.03) && loss[1].0 == 6144 && loss[1].1.is_nan());
        assert_eq!(
            (trace.unit, trace.objective),
            (StepUnit::EnvironmentStep, Objective::Rl)
        );
        assert_eq!(trace.cadence, Cadence::Unknown);
        assert_eq!(column(&trace, Role::ValueLoss)[0], (4096, 1.5));
    }

    #[test]
    fn a_phase_in_words_and_two_networks() {
        let trace = of("epoch,phase,loss\n0,train,2\n0,val,3\n1,train,1\n1,val,2\n");
        assert_eq!(column(&trace, Role::Loss), [(0, 2.0), (1, 1.0)]);
        assert_eq!(column(&trace, Role::ValidationLoss), [(0, 3.0), (1, 2.0)]);
        let trace = of("step,G_loss,D_loss\n10,1,-3\n20,nan,2\n30,4,2\n");
        let loss = column(&trace, Role::Loss);
        assert!(
            loss[0] == (10, -3.0) && loss[1].1.is_nan() && loss[2] == (30, 4.0),
            "{loss:?}"
        );
        assert_eq!(
            (trace.objective, trace.cadence),
            (Objective::Gan, Cadence::Steps(10))
        );
        let part = Role::LossPart("G_loss".into());
        assert_eq!(column(&trace, part).len(), 3);
    }

    #[test]
    fn a_table_without_a_number_is_no_healthy_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        std::fs::write(&path, "step,loss,lr\n1,,0.1\n2,oops,0.1\n").unwrap();
        for path in [path.as_path(), folder.path()] {
            let error = crate::read(path, &Columns::default()).unwrap_err();
            assert!(
                error.to_string().contains("holds no number for a loss"),
                "{error}"
            );
        }
    }
}
