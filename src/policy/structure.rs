//! YAML text to [`PolicyFile`] with the place of each value: the only module that knows the YAML library.

use serde::Deserialize;
use serde_saphyr::path_map::PathKey;
use serde_saphyr::{DefaultMessageFormatter, Error, Location, MessageFormatter as _, Options};

use super::check::{Finding, Step};
use super::file::PolicyFile;
use super::mistake::{Mistake, Place, suggestion};

/// Mistakes of structure reported for one file; a file with more is not a policy.
const STRUCTURE_MISTAKES_MAX: usize = 20;

/// Reads the structure: fields, types and syntax, not yet the sense.
///
/// The YAML library stops at the first mistake. So that a person need not run a check once for each, the entry at fault is
/// blanked and the rest is read again, until a mistake may be the consequence of a blanked one.
pub(super) fn read(file: &str, text: &str) -> Result<PolicyFile, Vec<Mistake>> {
    let mut rest = text.to_owned();
    let mut mistakes: Vec<Mistake> = Vec::new();
    while mistakes.len() < STRUCTURE_MISTAKES_MAX {
        let error = match serde_saphyr::from_str_with_options::<PolicyFile>(&rest, options()) {
            Ok(policy) if mistakes.is_empty() => return Ok(policy),
            Ok(_) => break,
            Err(error) => error,
        };
        let error = error.without_snippet();
        if !mistakes.is_empty() && !is_first_hand(error) {
            break;
        }
        let location = error.location();
        mistakes.push(describe(file, text, error));
        match location.and_then(|at| blank_entry(&rest, line_of(at), column_of(at))) {
            Some(blanked) => rest = blanked,
            None => break,
        }
    }
    mistakes.sort_by_key(|m| m.place.as_ref().map(|p| (p.line, p.column)));
    Err(mistakes)
}

/// Gives findings their places in the text.
pub(super) fn locate(file: &str, text: &str, findings: Vec<Finding>) -> Vec<Mistake> {
    // The library hands out its map of places only with a failed validation.
    let places = match serde_saphyr::from_str_with_options_valid::<Probe>(text, options()) {
        Err(error) => match error.without_snippet() {
            Error::ValidationError { locations, .. } => Some(locations.clone()),
            _ => None,
        },
        Ok(_) => None,
    };
    let mut mistakes: Vec<Mistake> = findings
        .into_iter()
        .map(|finding| {
            let key = finding.path.iter().fold(PathKey::new(), |key, step| match step {
                Step::Key(name) => key.join_key(name.clone()),
                Step::Index(i) => key.join_index(*i),
            });
            let at = places.as_ref().and_then(|places| places.locations_for(&key));
            let at = at.and_then(serde_saphyr::Locations::primary_location);
            let place = at.map(|at| {
                let inside = finding.needle.as_deref().and_then(|needle| place_inside(text, at, needle));
                inside.unwrap_or_else(|| place(text, at))
            });
            Mistake { file: file.to_owned(), place, message: finding.message, help: finding.help }
        })
        .collect();
    mistakes.sort_by_key(|m| m.place.as_ref().map(|p| (p.line, p.column)));
    mistakes
}

/// The place of the root key `application`, for mistakes that concern two files.
pub(super) fn place_of_application(text: &str) -> Option<Place> {
    let line = text.lines().position(|line| line.starts_with("application:"))?;
    Some(Place::new(text, line + 1, 1, "application".len()))
}

fn options() -> Options {
    serde_saphyr::options! { with_snippet: false }
}

/// A policy file whose validation always fails.
#[derive(Deserialize)]
#[serde(transparent)]
struct Probe(#[expect(dead_code, reason = "only its places are wanted")] PolicyFile);

impl garde::Validate for Probe {
    type Context = ();

    fn validate_into(&self, (): &(), parent: &mut dyn FnMut() -> garde::Path, report: &mut garde::Report) {
        report.append(parent(), garde::Error::new("probe"));
    }
}

fn line_of(at: Location) -> usize {
    usize::try_from(at.line()).unwrap_or(1)
}

fn column_of(at: Location) -> usize {
    usize::try_from(at.column()).unwrap_or(1)
}

/// The place of a value, as wide as the value is on its line.
fn place(text: &str, at: Location) -> Place {
    let (line, column) = (line_of(at), column_of(at));
    let rest: String = text
        .split('\n')
        .nth(line.saturating_sub(1))
        .unwrap_or_default()
        .chars()
        .skip(column.saturating_sub(1))
        .collect();
    Place::new(text, line, column, word_width(&rest))
}

/// How many characters at the beginning of the text are one YAML word.
fn word_width(rest: &str) -> usize {
    let mut chars = rest.chars();
    match chars.next() {
        Some(quote @ ('"' | '\'')) => chars.position(|c| c == quote).map_or(1, |i| i + 2),
        Some('{' | '[' | '|' | '>') | None => 1,
        Some(_) => {
            let ends = |(i, c): &(usize, char)| {
                let next = rest.get(i + c.len_utf8()..).unwrap_or_default().chars().next();
                match c {
                    ',' | '}' | ']' => true,
                    ':' => next.is_none_or(char::is_whitespace),
                    ' ' => next == Some('#'),
                    _ => false,
                }
            };
            let end = rest.char_indices().find(ends).map_or(rest.len(), |(i, _)| i);
            rest.get(..end).unwrap_or(rest).trim_end().chars().count()
        }
    }
}

/// The place of some text inside of a value, when it stands in the file as it does in the value.
fn place_inside(text: &str, at: Location, needle: &str) -> Option<Place> {
    let lines = text.split('\n').enumerate().skip(line_of(at).saturating_sub(1));
    for (i, line) in lines {
        let skip = if i + 1 == line_of(at) { column_of(at).saturating_sub(1) } else { 0 };
        let from = line.char_indices().nth(skip).map_or(line.len(), |(byte, _)| byte);
        if let Some(offset) = line.get(from..)?.find(needle) {
            let column = line.get(..from + offset)?.chars().count() + 1;
            return Some(Place::new(text, i + 1, column, needle.chars().count()));
        }
        // A value ends at the latest with its list item or its parent.
        if i + 1 > line_of(at) && line.trim_start().starts_with("- ") {
            return None;
        }
    }
    None
}

/// Whether a mistake can be told from the consequence of a blanked entry.
fn is_first_hand(error: &Error) -> bool {
    matches!(
        error,
        Error::SerdeUnknownField { .. }
            | Error::InvalidScalar { .. }
            | Error::Message { .. }
            | Error::DuplicateMappingKey { .. }
    )
}

/// Blanks the block entry (`key: value` and what is indented below) at this place, so that all lines stay where they are.
fn blank_entry(text: &str, line: usize, column: usize) -> Option<String> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let first = lines.get(line.checked_sub(1)?)?;
    let start = first.find(|c: char| !matches!(c, ' ' | '-'))?;
    let entry = first.get(start..)?;
    let key = entry.split(':').next()?;
    let is_key =
        entry.contains(':') && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !is_key || column <= start {
        return None;
    }
    let kept = first.get(..start)?;
    *lines.get_mut(line - 1)? = kept;
    for below in lines.iter_mut().skip(line) {
        let indent = below.find(|c: char| c != ' ').unwrap_or(usize::MAX);
        // A list may be written at its key's own indentation.
        let item = indent == start && below.get(indent..).is_some_and(|t| t.starts_with("- "));
        if indent <= start && !item {
            break;
        }
        *below = "";
    }
    Some(lines.join("\n"))
}

/// Puts the library's error into words for the writer of a policy.
fn describe(file: &str, text: &str, error: &Error) -> Mistake {
    let place = error.location().map(|at| place(text, at));
    let word: String = place.as_ref().map_or_else(String::new, |place| {
        place.text.chars().skip(place.column.saturating_sub(1)).take(place.width).collect()
    });
    let with_help = |message: String, help: &str| (message, Some(help.to_owned()));
    let (message, help) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown field `{field}`"), Some(suggestion(field, expected)))
        }
        Error::SerdeMissingField { field: "mode", .. } => with_help(
            "`rollback` has no `mode`".to_owned(),
            "add `mode: push`, or `mode: dry-run` to only be told what would be pushed",
        ),
        Error::SerdeMissingField { field: "rollback", .. } => with_help(
            "`rollback` is missing".to_owned(),
            "add `rollback: { mode: push }`, or `mode: dry-run` to only be told what would be pushed",
        ),
        Error::SerdeMissingField { field: "apiVersion", .. } => with_help(
            "`apiVersion` is missing".to_owned(),
            "begin the file with `apiVersion: lastgood.dev/v1alpha1`",
        ),
        Error::SerdeMissingField { field: "application", .. } => with_help(
            "`application` is missing".to_owned(),
            "say which applications the policy is for, for example `application: { name: shop }`",
        ),
        Error::SerdeMissingField { field, .. } => (format!("`{field}` is missing"), None),
        Error::InvalidScalar { ty, .. } => invalid_scalar(&word, ty),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("a key");
            with_help(format!("`{key}` is given twice"), "keep one of the two")
        }
        Error::MultipleDocuments { .. } => with_help(
            "a second document begins here".to_owned(),
            "a file holds one policy, which bears the file's name: move this one to a file of its own",
        ),
        Error::Eof { .. } => with_help(
            "there is no policy in this file".to_owned(),
            "begin with `apiVersion: lastgood.dev/v1alpha1`, or give the file another ending",
        ),
        Error::AliasError { error, .. } => return describe(file, text, error),
        other => {
            let message = DefaultMessageFormatter.format_message(other).into_owned();
            match message.split_once('\n') {
                Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
                None => (message, None),
            }
        }
    };
    Mistake { file: file.to_owned(), place, message, help }
}

fn invalid_scalar(word: &str, ty: &str) -> (String, Option<String>) {
    let wanted = match ty {
        "u32" => "a whole number, 0 or more",
        "f64" => "a number",
        "bool" => "`true` or `false`",
        _ => return (format!("`{word}` is not {ty}"), None),
    };
    (format!("`{word}` is not {wanted}"), None)
}
