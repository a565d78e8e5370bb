//! The numbers of a line with their names: `key: value`, `key=value`, `key value`, `a/b`.

use std::ops::Range;

use super::skeleton::{BAR, INTEGER, TIME, is_number};

/// A number with the name that the line gives it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// The number's place among the numbers of the line.
    pub(super) number: usize,
    /// The place of `b` in `a/b`.
    pub(super) total: Option<usize>,
    pub(super) kind: Kind,
    /// Where the name stands in the skeleton.
    pub(super) span: Range<usize>,
}

/// How a number stands in its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// With a name.
    Named,
    /// As `a/b` without a name: the place in an epoch, or in the whole run.
    Position,
    /// Alone at the line's begin, as in `1012: `, or in brackets, as in `[10]`.
    Lead,
    /// The only number of a table's row of two cells.
    Cell,
}

/// Longest name that is read. A longer one is a sentence.
const LONGEST: usize = 80;

/// Words that stand behind a number and belong to it.
const UNITS: [&str; 24] = [
    "s",
    "sec",
    "secs",
    "seconds",
    "ms",
    "min",
    "mins",
    "h",
    "it",
    "GB",
    "MB",
    "GiB",
    "MiB",
    "tok",
    "tokens",
    "samples",
    "images",
    "img",
    "steps",
    "examples",
    "examples/sec",
    "samples/s",
    "it/s",
    "iter",
];

/// Words before a name that change nothing of what it means.
const IDLE: [&str; 5] = ["average", "avg", "mean", "running", "current"];

/// All numbers of a skeleton that have a name or a place.
pub(super) fn parse(text: &[u8]) -> Vec<Field> {
    let places: Vec<usize> = (0..text.len()).filter(|at| is_number(text[*at])).collect();
    let mut fields: Vec<Field> = Vec::new();
    let mut skip = 0;
    for (number, at) in places.iter().copied().enumerate() {
        if number < skip || text.get(at + 1) == Some(&b'%') || text[..at].ends_with(b"/") {
            continue;
        }
        let total = total_behind(text, at);
        if total.is_some() {
            skip = number + 2;
            if is_date(text, at) {
                continue;
            }
        }
        let total = total.map(|()| number + 1);
        let field = |name: String, kind: Kind, span: Range<usize>| Field {
            name,
            number,
            total,
            kind,
            span,
        };
        if let Some((span, cell)) = name_before(text, at)
            && let Some(name) = clean(&text[span.clone()])
        {
            let cell = cell && is_cell(text, at);
            fields.push(field(
                name,
                if cell { Kind::Cell } else { Kind::Named },
                span,
            ));
        } else if total.is_some() {
            fields.push(field(String::new(), Kind::Position, at..at));
        } else if let Some(span) = name_behind(text, at)
            && let Some(name) = clean(&text[span.clone()])
        {
            fields.push(field(name, Kind::Named, span));
        } else if is_lead(text, at) {
            fields.push(field(String::new(), Kind::Lead, at..at));
        } else if text[..at].trim_ascii_end().ends_with(b":") {
            // darknet: `1012: 7.3, 7.2 avg loss`.
            fields.push(field("?".into(), Kind::Named, at..at));
        }
    }
    name_darknets(&mut fields);
    fields
}

/// Whether a whole number is followed by `/` and another, blanks aside.
fn total_behind(text: &[u8], at: usize) -> Option<()> {
    let rest = text.get(at + 1..)?.trim_ascii_start();
    let rest = rest
        .strip_prefix(b"/")
        .or_else(|| rest.strip_prefix(b"of "))?;
    let next = rest.trim_ascii_start().first()?;
    (text[at] == INTEGER && *next == INTEGER).then_some(())
}

/// Whether `a/b` is a day: a time follows, or a year.
fn is_date(text: &[u8], at: usize) -> bool {
    let rest = &text[at + 1..];
    rest.starts_with(&[b'/', INTEGER, b' ', TIME]) || rest.starts_with(&[b'/', INTEGER, b'/'])
}

/// `1012: ` at the begin, or `[10]`.
fn is_lead(text: &[u8], at: usize) -> bool {
    let (before, next) = (&text[..at], text.get(at + 1));
    let begins = before.is_empty() && next == Some(&b':');
    let bracket = before.trim_ascii_end().ends_with(b"[") && next == Some(&b']');
    text[at] == INTEGER && (begins || bracket)
}

/// Whether the number ends its row: nothing follows but strokes.
fn is_cell(text: &[u8], at: usize) -> bool {
    let rest = &text[at + 1..];
    rest.contains(&b'|') && rest.iter().all(|byte| matches!(byte, b'|' | b' ' | b'\t'))
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b')' | b'@' | 0x80..)
}

/// Where the name before a number stands, and whether it is a cell of its own.
fn name_before(text: &[u8], at: usize) -> Option<(Range<usize>, bool)> {
    let mut end = at;
    let mut brackets = false;
    loop {
        let before = trim(text, end);
        match before.checked_sub(1).map(|last| text[last]) {
            Some(b'\'' | b'"') => end = before - 1,
            Some(b'[') => {
                brackets = true;
                end = before - 1;
                // `train[10]` is the tenth step, not a value of `train`.
                if end > 0 && is_name(text[end - 1]) && text[end - 1] != b')' {
                    return None;
                }
            }
            Some(b'(') => {
                let call = text[..before - 1].iter().rposition(|byte| {
                    !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'))
                });
                end = call.map_or(0, |call| call + 1);
                let sign = trim(text, end).checked_sub(1).map(|last| text[last]);
                if !matches!(sign, Some(b':' | b'=' | b'[' | b',')) {
                    return None;
                }
            }
            Some(b':' | b'=') => {
                return Some((assigned(text, before - 1), false));
            }
            Some(b'|') => {
                let cell = trim(text, before - 1);
                let begin = boundary(text, cell);
                let is_cell = begin > 0 && text[begin - 1] == b'|' || begin == 0;
                let named = cell > 0 && is_name(text[cell - 1]);
                return (is_cell && named && is_cell_row(text, at)).then_some((begin..cell, true));
            }
            Some(byte) if is_name(byte) && (before < at || brackets) => {
                return Some((boundary(text, before)..before, false));
            }
            _ => return None,
        }
    }
}

fn is_cell_row(text: &[u8], at: usize) -> bool {
    is_cell(text, at) && text[..at].iter().filter(|byte| **byte == b'|').count() <= 2
}

/// Where the name before `:` or `=` stands.
fn assigned(text: &[u8], sign: usize) -> Range<usize> {
    let end = trim(text, sign);
    match end.checked_sub(1).map(|last| text[last]) {
        Some(quote @ (b'"' | b'\'')) => {
            let begin = text[..end - 1].iter().rposition(|byte| *byte == quote);
            begin.map_or(end - 1, |begin| begin + 1)..end - 1
        }
        _ => boundary(text, end)..end,
    }
}

fn trim(text: &[u8], end: usize) -> usize {
    text[..end].trim_ascii_end().len()
}

/// Where the phrase that ends here begins.
fn boundary(text: &[u8], end: usize) -> usize {
    let (mut begin, mut open) = (end, 0usize);
    while let Some(at) = begin.checked_sub(1) {
        match text[at] {
            b')' if open == 0 && holds_number(&text[..at]) => break,
            b')' => open += 1,
            b'(' if open == 0 => break,
            b'(' => open -= 1,
            _ if open > 0 => {}
            b',' | b';' | b'|' | b'{' | b'}' | b'[' | b']' | b'\t' | b':' | b'=' | b'>' | b'<'
            | b'"' | b'\'' | TIME | BAR => break,
            byte if is_number(byte) => {
                // The unit of that number is no part of the name.
                let unit = |byte: &u8| !matches!(byte, b' ' | b'\t');
                let glued = text[begin..end]
                    .iter()
                    .take_while(|byte| unit(byte))
                    .count();
                return (begin + glued).min(end);
            }
            b' ' if text[..at].ends_with(b" -") => break,
            _ => {}
        }
        begin = at;
    }
    if open > 0 {
        // A bracket that was opened elsewhere.
        let last = text[..end].iter().rposition(|byte| *byte == b')');
        return last.map_or(begin, |last| last + 1);
    }
    begin
}

/// Whether the last bracket that opens holds a number: `float32(1.5)` is a value, `(ms)` a unit.
fn holds_number(text: &[u8]) -> bool {
    let open = text.iter().rposition(|byte| *byte == b'(');
    text[open.unwrap_or_default()..]
        .iter()
        .any(|byte| is_number(*byte))
}

/// Where the name behind a number stands: `7.2 avg loss, `.
fn name_behind(text: &[u8], at: usize) -> Option<Range<usize>> {
    let before = text[..at].trim_ascii_end().last();
    if !matches!(before, None | Some(b',' | b':' | b'|' | b';')) || text.get(at + 1) != Some(&b' ')
    {
        return None;
    }
    let begin = at + 2;
    let ends = |byte: &u8| {
        is_number(*byte)
            || matches!(
                byte,
                b',' | b';' | b'|' | b':' | b'=' | b'(' | b'\t' | &TIME
            )
    };
    let end = text[begin..]
        .iter()
        .position(ends)
        .map_or(text.len(), |end| begin + end);
    match text.get(end) {
        Some(b',' | b';' | b'|') | None => Some(begin..end),
        _ => None,
    }
}

/// The name without quotes, marks, units of the number before it, and idle words.
fn clean(name: &[u8]) -> Option<String> {
    if name.len() > LONGEST || name.iter().any(|byte| *byte < b' ' && *byte != b'\t') {
        return None;
    }
    let name = String::from_utf8_lossy(name);
    let marks = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '_' | '(' | ')');
    let mut name = name.trim_matches(marks);
    name = name.rsplit_once(" at ").map_or(name, |(_, name)| name);
    while let Some((word, rest)) = name.split_once(' ') {
        let idle = IDLE.iter().any(|idle| word.eq_ignore_ascii_case(idle));
        if !(idle || UNITS.contains(&word)) || rest.trim().is_empty() {
            break;
        }
        name = rest.trim_start();
    }
    // `Epoch(train)`.
    let name = name.strip_suffix("(train)").unwrap_or(name);
    let letters = name.chars().any(char::is_alphabetic);
    letters.then(|| name.to_owned())
}

/// Names darknet's columns: `1012: loss, mean avg loss, 0.001 rate`.
fn name_darknets(fields: &mut Vec<Field>) {
    let rate = |field: &Field| field.name == "rate";
    let is_darknet = fields.len() > 3
        && fields[0].kind == Kind::Lead
        && fields[1].name == "?"
        && fields[3..].iter().any(rate)
        || fields.len() > 2 && fields[1].name == "?" && fields[2].name.contains("loss");
    if is_darknet {
        fields[1].name = "loss".into();
        fields[2].name = "avg loss".into();
        for field in fields.iter_mut().filter(|field| rate(field)) {
            field.name = "learning rate".into();
        }
    }
    fields.retain(|field| field.name != "?");
}

#[cfg(test)]
mod tests {
    use super::super::skeleton::Skeleton;
    use super::*;

    /// The fields as `name=value`, positions as `value/total`.
    pub(crate) fn of(line: &str) -> String {
        let mut skeleton = Skeleton::default();
        skeleton.write(line.as_bytes());
        let number = |place: usize| {
            let (from, end) = skeleton.numbers[place];
            &line[from..end]
        };
        let shown = parse(&skeleton.text).into_iter().map(|field| {
            let total = field.total.map(|total| format!("/{}", number(total)));
            let name = match field.kind {
                Kind::Lead => "lead".into(),
                _ => field.name,
            };
            format!(
                "{name}={}{}",
                number(field.number),
                total.unwrap_or_default()
            )
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn names_stand_before_between_and_behind() {
        for (line, expected) in [
            (
                "iter 3010: loss 4.47, time 10.5ms, mfu 15.3%",
                "iter=3010; loss=4.47; time=10.5",
            ),
            (
                "{'loss': 1.5, 'grad_norm': nan, 'epoch': 0.1}",
                "loss=1.5; grad_norm=nan; epoch=0.1",
            ),
            (
                "x | train | {\"epoch\": 1, \"loss\": \"1.5\"}",
                "epoch=1; loss=1.5",
            ),
            (
                " [2025-03-02 09:15:30] iteration      10/  100 | elapsed (ms): 1.5 | lm loss: \
                4.1E+00 |",
                "iteration=10/100; elapsed (ms)=1.5; lm loss=4.1E+00",
            ),
            (
                "| epoch 001:   100 / 110 loss=9.3 (8.1), ppl=6",
                "epoch=001; =100/110; loss=9.3; ppl=6",
            ),
            ("step = 500: loss = 33.5", "step=500; loss=33.5"),
            (
                "[0/8][50/1583]\tLoss_D: 1.1\tD(G(z)): 0.3 / 0.07",
                "=0/8; =50/1583; Loss_D=1.1; D(G(z))=0.3",
            ),
            (
                "Epoch [1][50/586]\tlr: 8e-3, eta: 78:10:18, loss: 1.6",
                "Epoch=1; =50/586; lr=8e-3; loss=1.6",
            ),
            (
                "09/11 10:15:02 - mm - INFO - Epoch(train) [1][  50/1500]  lr: 2e-04  loss: 2.2",
                "Epoch=1; =50/1500; lr=2e-04; loss=2.2",
            ),
            (
                "[11/01 12:00:04 d2.utils.events]:  iter: 19  total_loss: 1.8",
                "iter=19; total_loss=1.8",
            ),
            (
                " 1012: 7.3, 7.2 avg loss, 0.001 rate, 1.9 seconds",
                "lead=1012; loss=7.3; avg loss=7.2; learning rate=0.001; seconds=1.9",
            ),
            (
                "Step 10/500; acc:  51.5; xent: 2.6; lr: 0.1; 13/14 tok/s; 16 sec",
                "Step=10/500; acc=51.5; xent=2.6; lr=0.1; =13/14; sec=16",
            ),
            (
                "Train: 0 [ 50/1251 (  4%)]  Loss: 6.93 (6.95)  LR: 1e-5",
                "Train=0; =50/1251; Loss=6.93; LR=1e-5",
            ),
            (
                "Train Epoch: 1 [640/60000 (1%)]\tLoss: 2.29",
                "Train Epoch=1; =640/60000; Loss=2.29",
            ),
            (
                "Epoch: [0]  [ 10/100]  eta: 0:01:00  lr: 0.1  loss: 6.9 (6.8)  time: 1.2",
                "Epoch=0; =10/100; lr=0.1; loss=6.9; time=1.2",
            ),
            (
                "Epoch 0:  12%|█ | 50/391 [00:02<00:18, 18.1it/s, v_num=0, train_loss=2.1]",
                "Epoch=0; =50/391; v_num=0; train_loss=2.1",
            ),
            (
                "|    approx_kl            | 0.0312     |",
                "approx_kl=0.0312",
            ),
            (
                "          Mean value_function loss: 0.0313",
                "value_function loss=0.0313",
            ),
            ("INFO:ml.rl.loss_reporter:TD LOSS: 4.7", "TD LOSS=4.7"),
            (
                "Step 9: spiky gradient (norm=5.1); skipping optimizer step.",
                "Step=9; norm=5.1",
            ),
            (
                "loss: tensor(1.23, device='cuda:0', grad_fn=<NllLossBackward0>)",
                "loss=1.23; cuda=0",
            ),
            ("loss=np.float32(1.5) lr=[0.001]", "loss=1.5; lr=0.001"),
            (
                "1s 2ms/step - loss: 1.49 - val_loss: 1.9",
                "loss=1.49; val_loss=1.9",
            ),
            (
                "I1207 12:20:43.1 139 w.py:48] [100] accuracy=0.9, loss=0.2",
                "w.py=48; lead=100; accuracy=0.9; loss=0.2",
            ),
            ("====> Epoch: 1 Average loss: 164.9", "Epoch=1; loss=164.9"),
            ("step: 12 time 3.2 sec loss: 4", "step=12; time=3.2; loss=4"),
            ("no number", ""),
        ] {
            assert_eq!(of(line), expected, "{line}");
        }
    }

    #[test]
    fn odd_brackets_end_no_parse() {
        for line in [
            "",
            ")(",
            "a) 1",
            "(((1",
            "x(: 1",
            "[[[[1]]",
            "': 1",
            "\": 1",
            "|1|",
            "=1",
            "a (b) ) 2",
        ] {
            let _ = of(line);
        }
    }
}
