//! What a line means, read once from its skeleton.

use super::fields::{Field, Kind, parse};
use super::names::{is_epoch, is_loss, is_read, of_evaluation, step_of, tells_evaluation, usual};
use super::skeleton::{BAR, TIME, is_number};
use crate::Columns;

/// A named number: its name and its place among the numbers of the line.
pub(super) type Named = (String, usize);

/// Where a line stands in the run: places among its numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Spot {
    pub(super) step: Option<Named>,
    pub(super) epoch: Option<usize>,
    /// `a/b` without a name.
    pub(super) position: Option<(usize, usize)>,
}

impl Spot {
    pub(super) fn is_known(&self) -> bool {
        self.step.is_some() || self.epoch.is_some() || self.position.is_some()
    }
}

/// What a line is.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing that is read.
    Nothing,
    /// A row of its own.
    Row,
    /// One number of a row that takes several lines.
    Part { cell: bool },
    /// The names above a table's columns.
    Header(Vec<String>),
    /// The name before the names of a table's next rows, such as `train/`.
    Section(String),
    /// A line of strokes.
    Rule,
    /// An update was left out.
    Skip {
        scale: Option<usize>,
        norm: Option<usize>,
    },
    /// A progress bar alone.
    Progress,
}

/// A line as it is understood.
#[derive(Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) meaning: Meaning,
    pub(super) spot: Spot,
    /// The numbers that are kept.
    pub(super) values: Vec<Named>,
    /// The names of all others.
    pub(super) others: Vec<String>,
    /// Whether the line is a bar that shows the mean of its epoch so far.
    pub(super) running: bool,
    pub(super) evaluation: bool,
}

/// Understands a skeleton, below the table's header if there is one.
pub(super) fn of(text: &[u8], header: Option<&[String]>, columns: &Columns) -> Shape {
    if let Some(shape) = header.and_then(|header| below(text, header, columns)) {
        return shape;
    }
    let fields = parse(text);
    let evaluation = is_evaluation(text, &fields);
    let mut spot = spot_of(&fields);
    let running = spot.position.is_some() && spot.epoch.is_none() && is_running(text);
    let cells = fields.iter().any(|field| field.kind == Kind::Cell);
    let (mut values, mut others) = (Vec::new(), Vec::new());
    for field in &fields {
        let used = spot
            .step
            .as_ref()
            .is_some_and(|step| step.1 == field.number);
        let by_user = columns.step.as_ref() == Some(&field.name);
        if matches!(field.kind, Kind::Position | Kind::Lead) || used && !by_user {
            continue;
        }
        if spot.epoch == Some(field.number) {
            continue;
        }
        let name = usual(field.name.clone());
        let name = if evaluation {
            of_evaluation(name)
        } else {
            name
        };
        if is_read(&name, columns) {
            values.push((name, field.number));
        } else {
            others.push(name);
        }
    }
    let mut meaning = meaning(text, &fields, &spot, &values, cells);
    if let Meaning::Skip { scale, norm } = &mut meaning {
        let named = |part: &str| {
            let mut fields = fields.iter().rev();
            fields.find(|field| field.name.to_ascii_lowercase().contains(part))
        };
        *scale = named("scale to")
            .or(named("reducing to"))
            .map(|field| field.number);
        *norm = named("norm").map(|field| field.number);
    }
    if meaning == (Meaning::Part { cell: true }) {
        spot.position = None;
    }
    Shape {
        meaning,
        spot,
        values,
        others,
        running,
        evaluation,
    }
}

fn meaning(text: &[u8], fields: &[Field], spot: &Spot, values: &[Named], cell: bool) -> Meaning {
    let loss = values.iter().any(|(name, _)| is_loss(name));
    if !loss && tells_skip(text) {
        return Meaning::Skip {
            scale: None,
            norm: None,
        };
    }
    if fields.is_empty() {
        return without_numbers(text);
    }
    let named = fields
        .iter()
        .filter(|field| field.kind != Kind::Position)
        .count();
    if values.is_empty() {
        let only_spot = spot.step.is_some() || spot.epoch.is_some();
        return match (
            spot.position.is_some(),
            only_spot && named <= 6 || named == 1,
        ) {
            (true, _) if !only_spot => Meaning::Progress,
            (_, true) => Meaning::Part { cell },
            _ => Meaning::Nothing,
        };
    }
    match cell || named == 1 && !spot.is_known() {
        true => Meaning::Part { cell },
        false => Meaning::Row,
    }
}

fn without_numbers(text: &[u8]) -> Meaning {
    let stroke = |byte: &u8| matches!(*byte, BAR | b'|' | b' ' | b'\t' | b'+' | b'-' | b'=');
    if !text.is_empty() && text.iter().all(stroke) {
        return Meaning::Rule;
    }
    let bare = text
        .iter()
        .filter(|byte| !matches!(byte, b'|' | b' ' | b'\t'));
    let bare: Vec<u8> = bare.copied().collect();
    if text.starts_with(b"|") && bare.ends_with(b"/") && bare.len() < 40 {
        return Meaning::Section(String::from_utf8_lossy(&bare).into_owned());
    }
    let cells = text.split(|byte| matches!(byte, b'\t' | b'|'));
    let cells = cells.map(|cell| String::from_utf8_lossy(cell).trim().to_owned());
    let cells: Vec<String> = cells.filter(|cell| !cell.is_empty()).collect();
    let short = |cell: &String| cell.len() <= 30 && !cell.contains([':', '=', TIME as char]);
    if cells.len() < 3 || !cells.iter().all(short) {
        return Meaning::Nothing;
    }
    let is_yolo = cells
        .iter()
        .any(|cell| cell.eq_ignore_ascii_case("gpu_mem"));
    let names = cells.into_iter().map(|cell| match (&*cell, is_yolo) {
        ("box" | "obj" | "cls" | "dfl", true) => format!("{cell}_loss"),
        _ => cell,
    });
    let names: Vec<String> = names.collect();
    match names.iter().any(|name| is_loss(name)) {
        true => Meaning::Header(names),
        false => Meaning::Nothing,
    }
}

/// A row below a header: its first cells are numbers, as many as the header has names.
fn below(text: &[u8], header: &[String], columns: &Columns) -> Option<Shape> {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\t' | b'|');
    let mut at = 0;
    let mut cells = text.split(ends).map(|cell| {
        let from = at;
        at += cell.len() + 1;
        (from, cell)
    });
    let mut spot = Spot::default();
    let (mut values, mut others) = (Vec::new(), Vec::new());
    for name in header {
        let (from, cell) = cells.by_ref().find(|(_, cell)| !cell.is_empty())?;
        let first = *cell.first()?;
        if first == TIME {
            continue;
        }
        if !is_number(first) {
            return None;
        }
        let number = text[..from].iter().filter(|byte| is_number(**byte)).count();
        if is_epoch(name) {
            spot.epoch = Some(number);
        } else if step_of(name).is_some() && spot.step.is_none() {
            spot.step = Some((name.clone(), number));
        } else if is_read(name, columns) {
            values.push((name.clone(), number));
        } else {
            others.push(name.clone());
        }
    }
    let rest = cells.next().is_some() || text.contains(&BAR);
    let running = rest && text.contains(&b'%');
    (!values.is_empty()).then_some(Shape {
        meaning: Meaning::Row,
        spot,
        values,
        others,
        running,
        evaluation: false,
    })
}

/// The numbers that say where the line stands.
fn spot_of(fields: &[Field]) -> Spot {
    let positions: Vec<&Field> = fields.iter().filter(|f| f.kind == Kind::Position).collect();
    let named = || {
        fields
            .iter()
            .filter(|field| field.kind == Kind::Named || field.kind == Kind::Cell)
    };
    let mut spot = Spot::default();
    let steps = named().filter_map(|field| Some((step_of(&field.name)?, field)));
    spot.step = steps
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, field)| (field.name.clone(), field.number));
    spot.epoch = named()
        .find(|field| is_epoch(&field.name))
        .map(|field| field.number);
    let place = |field: &&Field| Some((field.number, field.total?));
    spot.position = positions.first().and_then(place);
    // `[0/8][50/1583]`.
    if let [epoch, batch, ..] = positions[..]
        && spot.epoch.is_none()
        && batch.number == epoch.number + 2
        && epoch.number == 0
    {
        spot.epoch = Some(epoch.number);
        spot.position = place(&batch);
    }
    // `Train: 0 [ 50/1251`.
    if let (None, Some((position, _))) = (spot.epoch, spot.position) {
        let before = named().find(|field| field.number + 1 == position && field.total.is_none());
        let before = before
            .filter(|field| matches!(&*super::names::plain(&field.name), "train" | "training"));
        spot.epoch = before.map(|field| field.number);
    }
    // The PyTorch example counts samples, not batches: `Train Epoch: 1 [640/60000 (1%)]`.
    let example = |field: &&Field| Some(field.number) == spot.epoch && field.name == "Train Epoch";
    if named().any(|field| example(&field)) {
        spot.position = None;
    }
    if spot.step.is_none() && spot.position.is_none() {
        let lead = fields.iter().find(|field| field.kind == Kind::Lead);
        spot.step = lead.map(|field| ("step".to_owned(), field.number));
    }
    spot
}

/// Whether words outside the names of losses say that the line is of an evaluation.
fn is_evaluation(text: &[u8], fields: &[Field]) -> bool {
    let mut outside = text.to_vec();
    let place = |field: &Field| is_epoch(&field.name) || step_of(&field.name).is_some();
    for field in fields.iter().filter(|field| !place(field)) {
        outside[field.span.clone()].fill(BAR);
    }
    tells_evaluation(&outside)
}

/// Whether a bar is drawn as Keras draws it: `12/63 [==>...] - ETA: 1s - loss: 0.7`.
fn is_running(text: &[u8]) -> bool {
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    is_number(text[0]) && !has(b"%|") && (has(b" - ") || has(b"/step"))
}

/// Whether the line says that an update was left out.
fn tells_skip(text: &[u8]) -> bool {
    const SKIPS: [&str; 12] = [
        "skipping step",
        "skipping optimizer",
        "skipping update",
        "skipping this step",
        "skipping batch",
        "skip this step",
        "skipped step",
        "step skipped",
        "update skipped",
        "ignoring gradient",
        "overflow detected",
        "grad overflow",
    ];
    let has = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    if !(has(b"kip") || has(b"KIP") || has(b"verflow") || has(b"VERFLOW")) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    SKIPS
        .iter()
        .any(|skip| memchr::memmem::find(&lower, skip.as_bytes()).is_some())
}
