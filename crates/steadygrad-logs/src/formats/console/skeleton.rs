//! The skeleton of a line: its text with a mark in place of each number.
//!
//! Lines that differ in their numbers alone have one skeleton, so that a line is understood once
//! and its repetitions are read at the speed of this file.

/// Marks of a skeleton: a whole number, any other number, a time or date or version, a bar or rule.
pub(super) const INTEGER: u8 = 1;
pub(super) const NUMBER: u8 = 2;
pub(super) const TIME: u8 = 3;
pub(super) const BAR: u8 = 4;

/// Whether the byte of a skeleton stands for a number.
pub(super) fn is_number(byte: u8) -> bool {
    byte == INTEGER || byte == NUMBER
}

/// Words after which `nan` and `inf` are words of a sentence: `number of nan iterations`.
const PROSE: [&[u8]; 11] = [
    b"of", b"is", b"a", b"any", b"no", b"the", b"or", b"to", b"with", b"was", b"are",
];

/// A skeleton and where its numbers stand in the line.
#[derive(Default)]
pub(super) struct Skeleton {
    pub(super) text: Vec<u8>,
    pub(super) numbers: Vec<(usize, usize)>,
}

impl Skeleton {
    /// Replaces this skeleton by that of a line.
    ///
    /// Colours go, runs of blanks become one: a space, or a tab where a table's cell may end.
    pub(super) fn write(&mut self, line: &[u8]) {
        self.text.clear();
        self.numbers.clear();
        let mut at = 0;
        while let Some(byte) = line.get(at).copied() {
            at = match byte {
                b' ' | b'\t' => self.blank(line, at),
                b'0'..=b'9' => self.number(line, at, at),
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word(line, at),
                0x1B => after_escape(line, at),
                0..=0x1F | 0x7F => at + 1,
                0x80.. => self.wide(line, at),
                _ => self.sign(line, at, byte),
            };
        }
        while matches!(self.text.last(), Some(b' ' | b'\t')) {
            self.text.pop();
        }
    }

    fn last(&self) -> u8 {
        self.text.last().copied().unwrap_or(b' ')
    }

    fn blank(&mut self, line: &[u8], from: usize) -> usize {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        let count = line[from..].iter().take_while(blank).count();
        let wide = count > 1 || line[from] == b'\t';
        match self.text.last() {
            None | Some(b' ' | b'\t') => {}
            Some(b':' | b'=' | b'|' | b',' | b';' | b'(' | b'[' | b'{' | b'/' | &BAR) => {
                self.text.push(b' ');
            }
            Some(_) => self.text.push(if wide { b'\t' } else { b' ' }),
        }
        from + count
    }

    /// Adds a number that begins at `from`; its digits begin at `digits`.
    fn number(&mut self, line: &[u8], from: usize, digits: usize) -> usize {
        let (mark, end) = scan(line, digits);
        if mark == TIME {
            if self.last() != TIME {
                self.text.push(TIME);
            }
        } else {
            self.text.push(mark);
            self.numbers.push((from, end));
        }
        end
    }

    /// Adds a word with the digits, dots and dashes inside it: `mAP50-95`, `layers.0.weight`.
    fn word(&mut self, line: &[u8], from: usize) -> usize {
        if line[from..].starts_with(b"N/A") {
            return self.value(from, from + 3);
        }
        let mut end = from + 1;
        while let Some(byte) = line.get(end) {
            let inner = matches!(byte, b'.' | b'-')
                && line.get(end + 1).is_some_and(u8::is_ascii_alphanumeric);
            if !(inner || byte.is_ascii_alphanumeric() || *byte == b'_') {
                break;
            }
            end += 1;
        }
        let word = &line[from..end];
        if is_odd(word) && self.stands_for_number(&line[end..]) {
            let signed = matches!(self.last(), b'-' | b'+');
            if signed {
                self.text.pop();
            }
            return self.value(from - usize::from(signed), end);
        }
        let absent = word == b"None" || word == b"null";
        if absent && matches!(self.before_blanks(), b':' | b'=') {
            return self.value(from, end);
        }
        self.text.extend_from_slice(word);
        end
    }

    fn value(&mut self, from: usize, end: usize) -> usize {
        self.text.push(NUMBER);
        self.numbers.push((from, end));
        end
    }

    /// The last byte that is no blank.
    fn before_blanks(&self) -> u8 {
        let mut text = self.text.iter().rev();
        *text.find(|byte| **byte != b' ').unwrap_or(&b',')
    }

    /// Whether `nan` at this place is a value: behind a sign such as `:`, or in `loss nan`.
    fn stands_for_number(&self, rest: &[u8]) -> bool {
        let text = match self.text.split_last() {
            Some((b'-' | b'+', before)) => before,
            _ => &self.text,
        };
        let glued = text.last().is_none_or(u8::is_ascii_alphanumeric);
        if glued && !text.is_empty() {
            return false;
        }
        let before = text.trim_ascii_end();
        let begin = before
            .iter()
            .rposition(|byte| *byte == b' ')
            .map_or(0, |at| at + 1);
        let word = before[begin..].to_ascii_lowercase();
        let next = rest.first().copied().unwrap_or(b',');
        !PROSE.contains(&word.as_slice()) && next != b'\''
    }

    /// Adds a wide character. Strokes of tables become `|`, those of bars one mark.
    fn wide(&mut self, line: &[u8], from: usize) -> usize {
        match &line[from..] {
            [0xE2, 0x94, 0x82 | 0x83, ..] | [0xE2, 0x95, 0x91, ..] => {
                self.text.push(b'|');
                from + 3
            }
            [0xE2, 0x94..=0x97, _, ..] => {
                if self.last() != BAR {
                    self.text.push(BAR);
                }
                from + 3
            }
            [0xC2, 0xA0, ..] => {
                self.text.push(b' ');
                from + 2
            }
            _ => {
                self.text.push(line[from]);
                from + 1
            }
        }
    }

    /// Adds a sign, the number that it begins, or the bar or rule that it begins.
    fn sign(&mut self, line: &[u8], from: usize, byte: u8) -> usize {
        let digit = |at: usize| line.get(at).is_some_and(u8::is_ascii_digit);
        let free = !self.last().is_ascii_alphanumeric() && !is_number(self.last());
        let signed = matches!(byte, b'-' | b'+') && free;
        if signed && (digit(from + 1) || line.get(from + 1) == Some(&b'.') && digit(from + 2)) {
            return self.number(line, from, from + 1);
        }
        if byte == b'.' && free && digit(from + 1) {
            return self.number(line, from, from);
        }
        let stroke = |byte: &&u8| matches!(byte, b'=' | b'>' | b'.' | b'#' | b'-' | b'*' | b'~');
        let run = line[from..].iter().take_while(stroke).count();
        if run >= 3 {
            if self.last() != BAR {
                self.text.push(BAR);
            }
            return from + run;
        }
        self.text.push(byte);
        from + 1
    }
}

/// Whether the word is NaN or infinity, as C, Python and Racket write them.
fn is_odd(word: &[u8]) -> bool {
    let word = word.strip_suffix(b".0").unwrap_or(word);
    matches!(word.len(), 3 | 8)
        && [&b"nan"[..], b"inf", b"infinity"]
            .iter()
            .any(|odd| word.eq_ignore_ascii_case(odd))
}

/// The place after a colour or another command of the terminal.
fn after_escape(line: &[u8], from: usize) -> usize {
    match line.get(from + 1) {
        Some(b'[') => {
            let end = line[from + 2..]
                .iter()
                .position(|byte| (0x40..0x7F).contains(byte));
            end.map_or(line.len(), |end| from + end + 3)
        }
        Some(b']') => {
            let end = line[from..].iter().position(|byte| *byte == 7);
            end.map_or(line.len(), |end| from + end + 1)
        }
        Some(_) => from + 2,
        None => from + 1,
    }
}

/// The mark and the end of what begins with these digits, or with a point and digits.
fn scan(line: &[u8], from: usize) -> (u8, usize) {
    let run = |at: usize| {
        let rest = line.get(at..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let at = |place: usize| line.get(place).copied().unwrap_or(b' ');
    let first = run(from);
    let mut end = from + first;
    if (1..=3).contains(&first) && at(end) == b':' && run(end + 1) == 2 {
        while at(end) == b':' && run(end + 1) == 2 {
            end += 3;
        }
        if matches!(at(end), b'.' | b',') && run(end + 1) > 0 {
            end += 1 + run(end + 1);
        }
        return (TIME, end);
    }
    let dash = at(end);
    if first == 4 && matches!(dash, b'-' | b'/') && run(end + 1) == 2 && at(end + 3) == dash {
        let end = end + 4 + run(end + 4);
        return (TIME, end + usize::from(at(end) == b'T'));
    }
    let mut mark = INTEGER;
    if (1..=3).contains(&first) && !matches!(at(from.wrapping_sub(1)), b',' | b'.') {
        let mut group = end;
        while at(group) == b',' && run(group + 1) == 3 {
            group += 4;
        }
        // `1,234,5` is a list.
        if !(at(group) == b',' && run(group + 1) > 0) {
            end = group;
        }
    }
    if at(end) == b'.' {
        mark = NUMBER;
        end += 1 + run(end + 1);
        if at(end) == b'.' && run(end + 1) > 0 {
            while at(end) == b'.' && run(end + 1) > 0 {
                end += 1 + run(end + 1);
            }
            return (TIME, end);
        }
    }
    let exponent = matches!(at(end), b'e' | b'E');
    let sign = usize::from(matches!(at(end + 1), b'+' | b'-'));
    if exponent && run(end + 1 + sign) > 0 {
        mark = NUMBER;
        end += 1 + sign + run(end + 1 + sign);
    }
    // A checksum, or the name of a file that begins with a number.
    let rest = line.get(end..).unwrap_or_default();
    let glued = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count();
    if rest[..glued].iter().any(|byte| !byte.is_ascii_alphabetic()) {
        return (TIME, end + glued);
    }
    (mark, end)
}

/// The number at a place that a skeleton marks; `None` where the log says that there is none.
pub(super) fn value(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let text = text.strip_suffix(".0").unwrap_or(text).replace(',', "");
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The skeleton with `#` for whole numbers, `~` for others, `@` for times, `=` for bars.
    fn of(line: &str) -> (String, Vec<Option<f64>>) {
        let mut skeleton = Skeleton::default();
        skeleton.write(line.as_bytes());
        let shown = skeleton.text.iter().map(|byte| match *byte {
            INTEGER => b'#',
            NUMBER => b'~',
            TIME => b'@',
            BAR => b'_',
            other => other,
        });
        let numbers = skeleton.numbers.iter();
        let values = numbers.map(|(from, end)| value(&line.as_bytes()[*from..*end]));
        (
            String::from_utf8_lossy(&shown.collect::<Vec<u8>>()).into_owned(),
            values.collect(),
        )
    }

    #[test]
    fn numbers_are_marked_and_all_else_stays() {
        for (line, skeleton) in [
            (
                "iter 3010: loss 4.47, time 1098ms",
                "iter #: loss ~, time #ms",
            ),
            ("2025-06-02 11:00:07,600 - x - step 7", "@ @ - x - step #"),
            (
                "\u{1b}[31mstep:  1  \u{1b}[32mloss: 12.25\u{1b}[0m",
                "step: #\tloss: ~",
            ),
            (
                " 12%|██▎   | 50/391 [00:02<00:18, 18.1it/s]",
                "#%|_ | #/# [@<@, ~it/s]",
            ),
            (
                "100/1000 [==>......] - ETA: 0s - loss: 1.5",
                "#/# [_] - ETA: #s - loss: ~",
            ),
            (
                "mAP50-95 d2.utils layers.0.w 3f2a 2.5.1",
                "mAP50-95 d2.utils layers.0.w @ @",
            ),
            ("number of nan iterations: 0", "number of nan iterations: #"),
            ("Loss is nan, stopping", "Loss is nan, stopping"),
            ("loss nan ppl inf", "loss ~ ppl ~"),
            ("Cls_loss: N/A x: None None", "Cls_loss: ~ x: ~ None"),
        ] {
            assert_eq!(of(line).0, skeleton, "{line}");
        }
    }

    #[test]
    fn values_as_logs_write_them() {
        for (line, expected) in [
            ("x: 1,234.5", 1234.5),
            ("x: 491,520", 491_520.0),
            ("x: -1.2e+04", -12_000.0),
            ("x: 1.", 1.0),
            ("x: .5", 0.5),
            ("x: -inf", f64::NEG_INFINITY),
            ("x: inf.0", f64::INFINITY),
            ("x: 001", 1.0),
        ] {
            assert_eq!(of(line).1, [Some(expected)], "{line}");
        }
        for line in ["x: nan", "x=-nan", "x NaN", "x: nan.0", "(nan)"] {
            let values = of(line).1;
            assert!(
                values.len() == 1 && values[0].unwrap().is_nan(),
                "{line} {values:?}"
            );
        }
        assert_eq!(of("x: N/A").1, [None]);
        assert_eq!(of("1,234,5").1.len(), 3);
    }
}
