//! Console text, line by line, into tables.

use std::collections::{BTreeSet, HashMap};
use std::io::BufRead;
use std::rc::Rc;

use super::lines;
use super::names::{is_environment, is_epoch, is_held_out, is_loss, plain};
use super::rows::{BAR, BAR_TOTAL, Cell, EPOCH, POSITION, Rows, STEP, TOTAL};
use super::shape::{self, Meaning, Shape, Spot};
use super::skeleton::{INTEGER, NUMBER, Skeleton, value};
use crate::Columns;

/// Number of kinds of lines that are remembered. A log of prose has no end of them.
const KINDS: usize = 4096;
/// Number of tables, of names and of headers that are kept.
const MOST: usize = 256;

/// An update that was left out.
pub(super) struct Skip {
    pub(super) line: u32,
    pub(super) step: Option<u64>,
    pub(super) scale: Option<f64>,
    pub(super) norm: Option<f64>,
}

/// A kind of line with its place in its table.
struct Known {
    id: usize,
    shape: Shape,
    /// The table, and the column of each value.
    place: Option<(usize, Vec<usize>)>,
}

/// A row of which the lines are still read.
#[derive(Default)]
struct Block {
    names: Vec<String>,
    step: Option<(String, f64)>,
    epoch: Option<f64>,
    values: Vec<(String, Option<f64>)>,
}

/// What was read.
#[derive(Default)]
pub(super) struct Reader {
    known: HashMap<Vec<u8>, Rc<Known>>,
    next: usize,
    pub(super) tables: Vec<Rows>,
    signs: HashMap<String, usize>,
    pub(super) others: BTreeSet<String>,
    pub(super) skips: Vec<Skip>,
    /// The first lines that hold a number, to show what the text looks like.
    pub(super) samples: Vec<String>,
    headers: Vec<Vec<String>>,
    header: Option<usize>,
    section: String,
    block: Block,
    epoch: Option<f64>,
    bar: Option<(f64, f64)>,
    line: u32,
    cells: Vec<Cell>,
}

impl Reader {
    /// Reads all lines.
    pub(super) fn read(reader: &mut impl BufRead, columns: &Columns) -> std::io::Result<Self> {
        let mut all = Self::default();
        let mut skeleton = Skeleton::default();
        let mut key = Vec::new();
        lines::for_each(reader, |line| {
            skeleton.write(line);
            if !skeleton.text.is_empty() {
                all.line = all.line.saturating_add(1);
                all.take(line, &skeleton, &mut key, columns);
            }
        })?;
        all.flush();
        Ok(all)
    }

    fn take(&mut self, line: &[u8], skeleton: &Skeleton, key: &mut Vec<u8>, columns: &Columns) {
        let text = &skeleton.text;
        key.clear();
        key.extend_from_slice(text);
        let cells = matches!(text.first(), Some(&INTEGER | &NUMBER | b'|'));
        let header = self.header.filter(|_| cells);
        key.extend(header.map(|header| header as u8));
        let known = match self.known.get(&*key) {
            Some(known) => Rc::clone(known),
            None => {
                let names = header.map(|header| &*self.headers[header]);
                let shape = shape::of(text, names, columns);
                let known = Rc::new(self.place(shape, line));
                if self.known.len() >= KINDS {
                    self.known.clear();
                }
                self.known.insert(key.clone(), Rc::clone(&known));
                known
            }
        };
        let number = |place: usize| {
            let (from, end) = skeleton.numbers.get(place)?;
            value(&line[*from..*end])
        };
        self.act(&known, &number);
    }

    /// Gives a new kind of line its table.
    fn place(&mut self, shape: Shape, line: &[u8]) -> Known {
        let id = self.next;
        self.next += 1;
        if self.others.len() < MOST {
            self.others.extend(shape.others.iter().take(MOST).cloned());
        }
        let has_number = shape.values.len() + shape.others.len() > 0;
        if self.samples.len() < 2 && has_number {
            let sample = String::from_utf8_lossy(line)
                .trim()
                .chars()
                .take(60)
                .collect();
            self.samples.push(sample);
        }
        let place = (shape.meaning == Meaning::Row).then(|| {
            let sign = sign(&shape.values, &shape.spot, shape.evaluation, "row");
            self.table(sign, &shape.spot).map(|table| {
                let rows = &mut self.tables[table];
                rows.running |= shape.running;
                rows.evaluation |= shape.evaluation;
                let columns = shape.values.iter().map(|(name, _)| rows.column(name));
                (table, columns.collect())
            })
        });
        Known {
            id,
            shape,
            place: place.flatten(),
        }
    }

    fn table(&mut self, sign: String, spot: &Spot) -> Option<usize> {
        if let Some(table) = self.signs.get(&sign) {
            return Some(*table);
        }
        if self.tables.len() >= MOST {
            return None;
        }
        let step = spot.step.as_ref().map(|(name, _)| name.clone());
        let mut rows = Rows::default();
        rows.step = step;
        self.tables.push(rows);
        self.signs.insert(sign, self.tables.len() - 1);
        Some(self.tables.len() - 1)
    }

    fn act(&mut self, known: &Known, number: &dyn Fn(usize) -> Option<f64>) {
        let spot = &known.shape.spot;
        match &known.shape.meaning {
            Meaning::Nothing => {}
            Meaning::Progress => self.draw(spot, number),
            Meaning::Row => self.row(known, number),
            Meaning::Part { cell } => self.part(&known.shape, *cell, number),
            Meaning::Rule => {
                if !self.section.is_empty() {
                    self.flush();
                    self.section.clear();
                }
            }
            Meaning::Section(name) => self.section.clone_from(name),
            Meaning::Header(names) => {
                let at = self.headers.iter().position(|header| header == names);
                self.header = at.or_else(|| {
                    (self.headers.len() < MOST - 1).then(|| {
                        self.headers.push(names.clone());
                        self.headers.len() - 1
                    })
                });
            }
            Meaning::Skip { scale, norm } => {
                self.draw(spot, number);
                let named = spot.step.as_ref().and_then(|(_, place)| number(*place));
                let bar = self
                    .bar
                    .map(|(at, _)| at)
                    .filter(|_| spot.position.is_some());
                let step = named.or(bar).filter(|step| (0.0..9e15).contains(step));
                self.skips.push(Skip {
                    line: self.line,
                    step: step.map(|step| step as u64),
                    scale: scale.and_then(number),
                    norm: norm.and_then(number),
                });
            }
        }
    }

    fn draw(&mut self, spot: &Spot, number: &dyn Fn(usize) -> Option<f64>) {
        if let Some((at, total)) = spot.position
            && let (Some(at), Some(total)) = (number(at), number(total))
        {
            // A short bar between two states of a long one is that of an evaluation.
            if self.bar.is_none_or(|(_, before)| total >= before) {
                self.bar = Some((at, total));
            }
        }
    }

    fn row(&mut self, known: &Known, number: &dyn Fn(usize) -> Option<f64>) {
        let Some((table, columns)) = &known.place else {
            return;
        };
        let spot = &known.shape.spot;
        self.cells.clear();
        if let Some((_, place)) = &spot.step {
            self.cells.push((STEP, number(*place)));
        }
        let epoch = match spot.epoch {
            Some(place) => number(place),
            None => self.epoch,
        };
        if epoch.is_some() {
            self.cells.push((EPOCH, epoch));
        }
        if let Some((at, total)) = spot.position {
            self.cells.push((POSITION, number(at)));
            self.cells.push((TOTAL, number(total)));
        } else if spot.step.is_none()
            && let Some((at, total)) = self.bar
        {
            self.cells.push((BAR, Some(at)));
            self.cells.push((BAR_TOTAL, Some(total)));
        }
        let values = known.shape.values.iter().zip(columns);
        self.cells
            .extend(values.map(|((_, place), column)| (*column, number(*place))));
        self.tables[*table].push(&self.cells, self.line, known.id);
    }

    fn part(&mut self, shape: &Shape, cell: bool, number: &dyn Fn(usize) -> Option<f64>) {
        let section = if cell {
            self.section.clone()
        } else {
            String::new()
        };
        let step = shape.spot.step.as_ref();
        let name = shape.values.first().map(|(name, _)| name);
        let other = shape.others.first().or(step.map(|(name, _)| name));
        let Some(name) = name.or(other) else {
            return self.begin(shape, number);
        };
        let full = format!("{section}{name}");
        if self.block.names.contains(&full) || self.block.names.len() >= MOST {
            self.flush();
        }
        self.block.names.push(full.clone());
        if let Some((name, place)) = step
            && let Some(step) = number(*place)
        {
            let worse = |(old, _): &(String, f64)| is_environment(old) || !is_environment(name);
            if self.block.step.as_ref().is_none_or(worse) {
                self.block.step = Some((format!("{section}{name}"), step));
            }
        }
        self.block.epoch = shape.spot.epoch.and_then(number).or(self.block.epoch);
        self.epoch = shape.spot.epoch.and_then(number).or(self.epoch);
        if let Some((_, place)) = shape.values.first() {
            self.block.values.push((full, number(*place)));
        }
    }

    /// Begins a row with a line that holds an epoch alone.
    fn begin(&mut self, shape: &Shape, number: &dyn Fn(usize) -> Option<f64>) {
        let Some(epoch) = shape.spot.epoch.and_then(number) else {
            return;
        };
        self.flush();
        self.block.epoch = Some(epoch);
        self.epoch = Some(epoch);
    }

    /// Ends the row that takes several lines.
    fn flush(&mut self) {
        let block = std::mem::take(&mut self.block);
        if block.values.is_empty() {
            return;
        }
        let step = block.step.as_ref().map(|(name, _)| (name.clone(), 0));
        let spot = Spot {
            step,
            epoch: block.epoch.map(|_| 0),
            position: None,
        };
        let values: Vec<(String, usize)> = block
            .values
            .iter()
            .map(|(name, _)| (name.clone(), 0))
            .collect();
        let sign = sign(&values, &spot, false, "block");
        let Some(table) = self.table(sign, &spot) else {
            return;
        };
        let rows = &mut self.tables[table];
        let mut cells: Vec<Cell> = Vec::new();
        cells.extend(block.step.map(|(_, step)| (STEP, Some(step))));
        cells.extend(block.epoch.or(self.epoch).map(|epoch| (EPOCH, Some(epoch))));
        cells.extend(
            block
                .values
                .iter()
                .map(|(name, value)| (rows.column(name), *value)),
        );
        if let (None, Some((at, total))) = (&spot.step, self.bar) {
            cells.extend([(BAR, Some(at)), (BAR_TOTAL, Some(total))]);
        }
        rows.push(&cells, self.line, 0);
    }
}

/// What rows of one table share: the first loss, and how their place is told.
fn sign(values: &[(String, usize)], spot: &Spot, evaluation: bool, style: &str) -> String {
    let mut names = values.iter().map(|(name, _)| name);
    let loss = names.find(|name| is_loss(name)).map_or("", |name| name);
    let held_out = loss.is_empty() && values.iter().any(|(name, _)| is_held_out(name));
    let step = spot.step.as_ref().map_or("", |(name, _)| name);
    let step = if is_epoch(step) { "" } else { step };
    let position = spot.position.is_some();
    format!(
        "{evaluation} {held_out} {style} {} {} {position}",
        plain(loss),
        plain(step)
    )
}
