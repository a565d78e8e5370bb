//! Lines of console text. A redraw of a progress bar is a line of its own.

use std::io::BufRead;

/// Bytes of a line that are read. No trainer writes a longer line of numbers.
const LONGEST: usize = 1 << 15;

/// The line feed, and the carriage return and backspace with which a bar is redrawn.
const ENDS: [u8; 3] = [b'\n', b'\r', 8];

/// Calls `each` for every line that is not empty.
///
/// The memory that it takes is bounded: what a line has beyond [`LONGEST`] bytes is left out.
pub(super) fn for_each(
    reader: &mut impl BufRead,
    mut each: impl FnMut(&[u8]),
) -> std::io::Result<()> {
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            break;
        }
        let mut from = 0;
        for end in memchr::memchr3_iter(ENDS[0], ENDS[1], ENDS[2], buffer) {
            let line = &buffer[from..end];
            from = end + 1;
            if begun.is_empty() {
                if !line.is_empty() {
                    each(&line[..line.len().min(LONGEST)]);
                }
            } else {
                extend(&mut begun, line);
                each(&begun);
                begun.clear();
            }
        }
        extend(&mut begun, &buffer[from..]);
        let read = buffer.len();
        reader.consume(read);
    }
    if !begun.is_empty() {
        each(&begun);
    }
    Ok(())
}

fn extend(line: &mut Vec<u8>, more: &[u8]) {
    let room = LONGEST.saturating_sub(line.len());
    line.extend_from_slice(&more[..more.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    fn of(text: &str, capacity: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let mut reader = BufReader::with_capacity(capacity, text.as_bytes());
        for_each(&mut reader, |line| {
            lines.push(String::from_utf8_lossy(line).into_owned());
        })
        .unwrap();
        lines
    }

    #[test]
    fn redraws_are_lines_whatever_the_buffer() {
        for capacity in [1, 2, 3, 64] {
            let lines = of("a\r\nbar 1\rbar 2\u{8}\u{8}bar 3\n\nend", capacity);
            assert_eq!(lines, ["a", "bar 1", "bar 2", "bar 3", "end"]);
        }
        assert_eq!(of("", 8), [] as [&str; 0]);
    }

    #[test]
    fn an_endless_line_takes_bounded_memory() {
        let lines = of(&"x".repeat(3 * LONGEST), 1000);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST]);
    }
}
