//! Blank cells in a table's loss column: a value that was not finite, or no value at all.

use steadygrad::trace::Role;

use crate::column::Column;

/// A column is logged together with the loss if it has a value in this share of the loss's rows.
const USUALLY: f64 = 0.9;

/// Least number of blank rows at the end that count as a tail. A single one may be a summary.
const LEAST: usize = 2;

/// Reads a blank tail of the losses as NaN if another column goes on, because pandas writes NaN as
/// nothing.
///
/// Blanks anywhere else stay, and a note counts them: those rows may belong to something else.
/// Where each metric has rows of its own, as in Lightning's logs, no column is logged together with
/// the loss, and no note is made.
pub(crate) fn losses(columns: &mut [(Role, String, Column)]) -> Option<String> {
    let place = columns.iter().position(|(role, ..)| *role == Role::Loss)?;
    let (_, name, loss) = &columns[place];
    let (rows, blank) = (loss.values.len(), loss.missing.len());
    if blank == 0 || blank == rows {
        return None;
    }
    let others = columns
        .iter()
        .filter(|(role, ..)| !matches!(role, Role::Loss | Role::ValidationLoss));
    // For each column: its missing rows among those with a loss, and among the blank ones.
    let lacks = others.map(|(_, other, column)| {
        let in_blank = in_both(&column.missing, &loss.missing);
        (other, column.missing.len() - in_blank, in_blank)
    });
    let with_loss = (rows - blank) as f64;
    let (companion, _, in_blank) = lacks
        .filter(|(_, in_others, _)| *in_others as f64 <= (1.0 - USUALLY) * with_loss)
        .min_by_key(|(.., in_blank)| *in_blank)
        .filter(|(.., in_blank)| *in_blank < blank)?;
    let is_tail = loss.missing.first() == Some(&((rows - blank) as u64));
    if is_tail && in_blank == 0 && blank >= LEAST {
        let note = format!(
            "`{name}` is blank in the last {blank} of {rows} rows, where `{companion}` goes on: read \
             as NaN, which pandas \
             writes so"
        );
        columns[place].2.missing.clear();
        return Some(note);
    }
    Some(format!(
        "`{name}` is blank in {} of {rows} rows that have `{companion}`: they are left out",
        blank - in_blank
    ))
}

/// The number of values that two sorted lists share.
fn in_both(a: &[u64], b: &[u64]) -> usize {
    let mut b = b.iter().copied().peekable();
    let is_shared = |row: &&u64| {
        while b.next_if(|other| other < *row).is_some() {}
        b.next_if_eq(*row).is_some()
    };
    a.iter().filter(is_shared).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of losses, norms and rates: `.` is a value, a space none.
    fn of(loss: &str, norm: &str, rate: &str) -> (Option<String>, Vec<u64>) {
        let column = |cells: &str| {
            let mut column = Column::default();
            for cell in cells.chars() {
                column.push((cell == '.').then_some(1.0));
            }
            column
        };
        let mut columns = [
            (Role::GradNorm, "norm".to_owned(), column(norm)),
            (Role::Loss, "loss".to_owned(), column(loss)),
            (Role::LearningRate, "lr".to_owned(), column(rate)),
        ];
        let note = losses(&mut columns);
        let [_, (_, _, loss), _] = columns;
        (note, loss.missing)
    }

    #[test]
    fn a_blank_tail_is_nan_where_another_column_goes_on() {
        let (note, missing) = of(".......   ", ".......   ", "..........");
        let note = note.unwrap();
        assert!(
            note.contains("blank in the last 3 of 10 rows, where `lr` goes on"),
            "{note}"
        );
        assert_eq!(missing, [] as [u64; 0]);
    }

    #[test]
    fn other_blanks_stay_and_are_told() {
        let (note, missing) = of("... .. .  ", "..........", "..........");
        assert!(
            note.unwrap()
                .contains("blank in 4 of 10 rows that have `norm`")
        );
        assert_eq!(missing, [3, 6, 8, 9]);
        // One row at the end, or a column that ends before.
        assert_eq!(of("......... ", "..........", "..........").1, [9]);
        let (note, missing) = of(".......   ", ".......   ", "......... ");
        assert!(note.unwrap().contains("in 2 of 10 rows that have `lr`"));
        assert_eq!(missing, [7, 8, 9]);
    }

    #[test]
    fn rows_of_other_metrics_are_no_blanks() {
        for (loss, norm, rate) in [
            // Each metric in rows of its own.
            (" . . . . . ", "           ", ". . . . . ."),
            (".....      ", "           ", "     ......"),
            ("...........", "...........", "..........."),
        ] {
            assert_eq!(of(loss, norm, rate).0, None, "{loss}");
        }
        assert_eq!(of("   ", "...", "...").1, [0, 1, 2]);
        assert_eq!(of("", "", "").0, None);
    }
}
