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

/// The text with these limits; none where one of them cannot be found in it.
pub fn with_limits(file: &SourceFile, limits: &[Limit]) -> Option<String> {
    let text = std::str::from_utf8(&file.bytes).ok()?;
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let mut found: Vec<(Place, &Limit)> =
        limits.iter().map(|limit| Some((place(file, text, limit)?, limit))).collect::<Option<_>>()?;
    // From the end on, so that places stay where they are.
    found.sort_by_key(|(place, _)| std::cmp::Reverse((place.line, place.column)));
    for (place, limit) in found {
        let line = lines.get_mut(place.line.checked_sub(1)?)?;
        let characters: Vec<char> = line.chars().collect();
        let start = place.column.checked_sub(1)?;
        let (before, rest) = characters.split_at_checked(start)?;
        let (old, after) = rest.split_at_checked(place.width)?;
        // Where there is no such field, the place is that of its SLO.
        old.iter().collect::<String>().parse::<f64>().ok()?;
        *line = before.iter().copied().chain(limit.value.chars()).chain(after.iter().copied()).collect();
    }
    Some(lines.join("\n"))
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
        let changed =
            with_limits(&file, &[limit(0, "max", "0.123"), limit(1, "max", "7"), limit(0, "min", "0.001")]);
        let expected = text.replace("max: 0.05, min: 0.0", "max: 0.123, min: 0.001").replace("1e3", "7");
        assert_eq!(changed.as_deref(), Some(expected.as_str()));
        assert_eq!(with_limits(&file, &[limit(1, "min", "0")]), None, "it has none");
    }
}
