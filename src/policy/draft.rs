//! A policy's text while it is repaired to find further mistakes in it.

use serde_saphyr::Error;

use super::mistake::{Position, nearest};

/// The text with repairs. Lines stay where they are, and columns can be traced back.
pub(super) struct Draft {
    /// The text to read.
    pub(super) text: String,
    /// Whether an entry was taken out, so that the rest may make less sense than the whole.
    pub(super) blanked: bool,
    /// The names that misspelt fields were given.
    pub(super) guessed: Vec<String>,
    shifts: Vec<Shift>,
}

/// Behind this column of this line, text was moved.
struct Shift {
    line: usize,
    column: usize,
    old_width: usize,
    new_width: usize,
}

impl Draft {
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.to_owned(), blanked: false, guessed: Vec::new(), shifts: Vec::new() }
    }

    /// Where in the file this place of the draft is.
    pub(super) fn original(&self, (line, column): Position) -> Position {
        let moved = self.shifts.iter().rev().filter(|shift| shift.line == line);
        let column = moved.fold(column, |column, shift| {
            if column > shift.column {
                (column + shift.old_width).saturating_sub(shift.new_width)
            } else {
                column
            }
        });
        (line, column)
    }

    /// Takes the mistake at this place out, if that can be done.
    pub(super) fn repair(&mut self, error: &Error, at: Position) -> bool {
        if let Error::SerdeUnknownField { field, expected, .. } = error
            && let Some(meant) = nearest(field, expected.iter().copied())
            && self.rename(field, meant, at)
        {
            return true;
        }
        match blank_entry(&self.text, at) {
            Some(text) => {
                self.text = text;
                self.blanked = true;
                true
            }
            None => false,
        }
    }

    fn rename(&mut self, field: &str, meant: &str, (line, column): Position) -> bool {
        let mut lines: Vec<&str> = self.text.split('\n').collect();
        let Some(found) = line.checked_sub(1).and_then(|i| lines.get_mut(i)) else { return false };
        let Some((start, _)) = found.char_indices().nth(column.saturating_sub(1)) else { return false };
        let (before, rest) = found.split_at(start);
        // A quoted key is rare enough to be blanked with its entry.
        let Some(after) = rest.strip_prefix(field) else { return false };
        let renamed = format!("{before}{meant}{after}");
        *found = &renamed;
        self.text = lines.join("\n");
        self.guessed.push(meant.to_owned());
        let (old_width, new_width) = (field.chars().count(), meant.chars().count());
        self.shifts.push(Shift { line, column, old_width, new_width });
        true
    }
}

/// Blanks the block entry (`key: value` and what is indented below it) at this place.
fn blank_entry(text: &str, (line, column): Position) -> Option<String> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let first = lines.get(line.checked_sub(1)?)?;
    let start = first.find(|c: char| !matches!(c, ' ' | '-'))?;
    let (kept, entry) = first.split_at(start);
    let (key, _) = entry.split_once(':')?;
    if column <= start || !key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        return None;
    }
    *lines.get_mut(line - 1)? = kept;
    for below in lines.iter_mut().skip(line) {
        let indent = below.find(|c: char| c != ' ').unwrap_or(usize::MAX);
        // A list may stand at the indentation of its key.
        let is_item = indent == start && below.get(indent..).is_some_and(|rest| rest.starts_with("- "));
        if indent <= start && !is_item {
            break;
        }
        *below = "";
    }
    Some(lines.join("\n"))
}
