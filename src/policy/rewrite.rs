//! Puts other limits into a policy's text, and leaves all else as it was written.

use super::check::{Finding, Step};
use super::code::Code;
use super::mistake::Place;
use super::set::SourceFile;
use super::structure;

/// A limit of an SLO.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Which of the policy's SLOs, counted from 0.
    pub slo: usize,
    /// `max` or `min`.
    pub field: &'static str,
    /// The new value.
    pub value: String,
}

/// The text with these limits, and those that do not stand in it, as in a preset.
pub fn with_limits<'a>(file: &SourceFile, limits: &'a [Limit]) -> (String, Vec<&'a Limit>) {
    let text = String::from_utf8_lossy(&file.bytes);
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for limit in limits {
        match place(file, &text, limit) {
            Some(place) => found.push((place, limit)),
            None => missing.push(limit),
        }
    }
    // From the end on, so that places stay where they are.
    found.sort_by_key(|(place, _)| std::cmp::Reverse((place.line, place.column)));
    for (place, limit) in found {
        let line = place.line.checked_sub(1).and_then(|i| lines.get_mut(i));
        match line.and_then(|line| Some((replaced(line, &place, &limit.value)?, line))) {
            Some((new, line)) => *line = new,
            None => missing.push(limit),
        }
    }
    (lines.join("\n"), missing)
}

/// The line with another number at this place.
fn replaced(line: &str, place: &Place, value: &str) -> Option<String> {
    let characters: Vec<char> = line.chars().collect();
    let (before, rest) = characters.split_at_checked(place.column.checked_sub(1)?)?;
    let (old, after) = rest.split_at_checked(place.width)?;
    // Where there is no such field, the place is that of what it would stand in.
    old.iter().collect::<String>().parse::<f64>().ok()?;
    Some(before.iter().copied().chain(value.chars()).chain(after.iter().copied()).collect())
}

fn place(file: &SourceFile, text: &str, limit: &Limit) -> Option<Place> {
    let path = vec![Step::Key("slos".to_owned()), Step::Index(limit.slo), Step::Key(limit.field.to_owned())];
    let (message, code) = (String::new(), Code::BadValue);
    let wanted = Finding { path, needle: None, code, message, help: None };
    let reading = structure::read(&file.name, text);
    structure::locate(&file.name, text, &reading, vec![wanted]).into_iter().next()?.place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_numbers_change() {
        let text = "apiVersion: lastgood.dev/v1alpha1
application: { name: shop }
prometheus: { url: http://prometheus }
slos:
  - { name: a, query: up, max: 0.05, min: 0.0 }   # ä: 0.05
  - name: b
    query: up
    max: 1e3 # the limit
rollback: { mode: push }
";
        let file = SourceFile { name: "shop.yaml".into(), bytes: text.into() };
        let limit = |slo, field, value: &str| Limit { slo, field, value: value.to_owned() };
        let limits =
            [limit(0, "max", "0.123"), limit(1, "max", "7"), limit(0, "min", "0.001"), limit(1, "min", "0")];
        let (changed, missing) = with_limits(&file, &limits);
        let expected = text.replace("max: 0.05, min: 0.0", "max: 0.123, min: 0.001").replace("1e3", "7");
        assert_eq!((changed, missing), (expected, vec![&limit(1, "min", "0")]));
    }
}
