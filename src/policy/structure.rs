//! YAML text to [`PolicyFile`] with the place of each value: the only module that knows the YAML library.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_saphyr::path_map::PathKey;
use serde_saphyr::{DefaultMessageFormatter, Error, Location, MessageFormatter as _, Options};

use super::check::{Finding, Needle, Step};
use super::code::Code;
use super::draft::Draft;
use super::file::{PolicyFile, UNKNOWN_API_VERSION};
use super::mistake::{Mistake, Place, Position, suggestion};

/// Mistakes of structure reported for one file; a file with more is not a policy.
const STRUCTURE_MISTAKES_MAX: usize = 20;

/// A kind of file that people write.
pub(crate) trait Written: DeserializeOwned {
    /// What one of them is called.
    const NAME: &'static str;
    /// What to do with a second document in it.
    const SECOND: &'static str;
    /// What to do about a field that is missing; none where its name says enough.
    fn missing(field: &str) -> Option<&'static str>;
}

impl Written for PolicyFile {
    const NAME: &'static str = "policy";
    const SECOND: &'static str =
        "a file holds one policy, which bears the file's name: move this one to a file of its own";

    fn missing(field: &str) -> Option<&'static str> {
        Some(match field {
            "mode" => "add `mode: push`, or `mode: dry-run` to only be told what would be pushed",
            "rollback" => {
                "add `rollback: { mode: push }`, or `mode: dry-run` to only be told what would be pushed"
            }
            "apiVersion" => "begin the file with `apiVersion: lastgood.dev/v1alpha1`",
            "application" => "say which applications the policy is for, as in `application: { name: shop }`",
            "url" => "say where Prometheus is, as in `url: http://prometheus.monitoring:9090`",
            _ => return None,
        })
    }
}

/// What came of reading the structure of a file.
pub(super) struct Reading<T = PolicyFile> {
    /// The policy, or what else it is, if its sense can be judged; it may hold guesses when there are mistakes.
    pub(super) policy: Option<T>,
    /// What is wrong with the structure.
    pub(super) mistakes: Vec<Mistake>,
    draft: Draft,
}

/// Reads the structure of a policy.
pub(super) fn read(file: &str, text: &str) -> Reading {
    read_as(file, text)
}

/// Reads the structure: fields, types and syntax, not yet the sense.
///
/// The YAML library stops at the first mistake. So that a person need not run a check once for each, a misspelt field is read
/// as the one that was meant, any other entry at fault is blanked, and the rest is read again, until a mistake may be the
/// consequence of an earlier one.
pub(super) fn read_as<T: Written>(file: &str, text: &str) -> Reading<T> {
    let mut reading = Reading { policy: None, mistakes: Vec::new(), draft: Draft::new(text) };
    while reading.mistakes.len() < STRUCTURE_MISTAKES_MAX {
        let error = match serde_saphyr::from_str_with_options::<T>(&reading.draft.text, options()) {
            Ok(policy) => {
                reading.policy = Some(policy).filter(|_| !reading.draft.blanked);
                break;
            }
            Err(error) => error,
        };
        let error = error.without_snippet();
        if !reading.mistakes.is_empty() && !is_first_hand(error, &reading.draft) {
            break;
        }
        let at = error.location().filter(|at| *at != Location::UNKNOWN).map(position);
        let place = at.map(|at| place(text, reading.draft.original(at)));
        reading.mistakes.push(describe::<T>(file, place, error));
        if is_final(error) || at.is_none_or(|at| !reading.draft.repair(error, at)) {
            break;
        }
    }
    reading.mistakes.sort_by_key(Mistake::order);
    reading
}

/// Gives findings their places in the text.
pub(super) fn locate<T: Written>(
    file: &str,
    text: &str,
    reading: &Reading<T>,
    findings: Vec<Finding>,
) -> Vec<Mistake> {
    // The library hands out its map of places only with a failed validation.
    let places = match serde_saphyr::from_str_with_options_valid::<Probe<T>>(&reading.draft.text, options()) {
        Err(error) => match error.without_snippet() {
            Error::ValidationError { locations, .. } => Some(locations.clone()),
            _ => None,
        },
        Ok(_) => None,
    };
    let mut mistakes = Vec::new();
    for finding in findings {
        // What is not written, since it has a default, is shown at the section that it belongs to.
        let keys: Vec<PathKey> = finding
            .path
            .iter()
            .scan(PathKey::new(), |key, step| {
                *key = match step {
                    Step::Key(name) => key.clone().join_key(name.clone()),
                    Step::Index(i) => key.clone().join_index(*i),
                };
                Some(key.clone())
            })
            .collect();
        let at =
            places.as_ref().and_then(|places| keys.iter().rev().find_map(|key| places.locations_for(key)));
        let at = at.and_then(serde_saphyr::Locations::primary_location);
        let place = at.map(|at| reading.draft.original(position(at))).map(|at| {
            let inside = finding.needle.as_ref().and_then(|needle| place_inside(text, at, needle));
            inside.unwrap_or_else(|| place(text, at))
        });
        let Finding { code, message, help, .. } = finding;
        mistakes.push(Mistake { file: file.to_owned(), place, code, message, help });
    }
    mistakes.sort_by_key(Mistake::order);
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

/// A file whose validation always fails.
#[derive(Deserialize)]
#[serde(transparent)]
struct Probe<T>(#[allow(dead_code, reason = "only its places are wanted")] T);

impl<T> garde::Validate for Probe<T> {
    type Context = ();

    fn validate_into(&self, (): &(), parent: &mut dyn FnMut() -> garde::Path, report: &mut garde::Report) {
        report.append(parent(), garde::Error::new("probe"));
    }
}

fn position(at: Location) -> Position {
    (usize::try_from(at.line()).unwrap_or(1), usize::try_from(at.column()).unwrap_or(1))
}

/// The place of a value, as wide as the value is on its line.
fn place(text: &str, (line, column): Position) -> Place {
    let found = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let split = found.char_indices().nth(column.saturating_sub(1)).map_or(found.len(), |(byte, _)| byte);
    let (before, rest) = found.split_at(split);
    let count = |brackets: [char; 2]| before.matches(brackets).count();
    let in_flow = count(['{', '[']) > count(['}', ']']);
    Place::new(text, line, column, word_width(rest, in_flow))
}

/// How many characters at the beginning of the text are one YAML word; in `{}` and `[]` it ends earlier.
fn word_width(rest: &str, in_flow: bool) -> usize {
    let mut chars = rest.chars();
    match chars.next() {
        Some(quote @ ('"' | '\'')) => chars.position(|c| c == quote).map_or(1, |i| i + 2),
        Some('{' | '[' | '|' | '>') | None => 1,
        Some(_) => {
            let ends = |(i, c): &(usize, char)| {
                let next = rest.get(i + c.len_utf8()..).unwrap_or_default().chars().next();
                match c {
                    ',' | '}' | ']' => in_flow,
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
fn place_inside(text: &str, (first, column): Position, needle: &Needle) -> Option<Place> {
    let mut left = needle.nth;
    for (i, line) in text.split('\n').enumerate().skip(first.saturating_sub(1)) {
        let number = i + 1;
        // A value ends at the latest where the next item of the list begins.
        if number > first && line.trim_start().starts_with("- ") {
            return None;
        }
        let skip = if number == first { column.saturating_sub(1) } else { 0 };
        let from = line.char_indices().nth(skip).map_or(line.len(), |(byte, _)| byte);
        for (offset, found) in line.get(from..)?.match_indices(&needle.text) {
            if left == 0 {
                let column = line.get(..from + offset)?.chars().count() + 1;
                return Some(Place::new(text, number, column, found.chars().count()));
            }
            left -= 1;
        }
    }
    None
}

/// Whether a mistake cannot be the consequence of a repair.
fn is_first_hand(error: &Error, draft: &Draft) -> bool {
    match error {
        Error::SerdeUnknownField { .. } | Error::InvalidScalar { .. } | Error::Message { .. } => true,
        Error::DuplicateMappingKey { key, .. } => key.as_ref().is_none_or(|key| !draft.guessed.contains(key)),
        _ => false,
    }
}

/// Whether everything after this mistake is of another format.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Message { msg, .. } if msg.starts_with(UNKNOWN_API_VERSION))
}

/// Puts the library's error into words for the writer of the file.
fn describe<T: Written>(file: &str, place: Option<Place>, error: &Error) -> Mistake {
    let word: String = place.as_ref().map_or_else(String::new, |place| {
        place.text.chars().skip(place.column.saturating_sub(1)).take(place.width).collect()
    });
    let with_help = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    let (message, help) = match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            (format!("unknown field `{field}`"), Some(suggestion(field, expected)))
        }
        Error::SerdeMissingField { field, .. } => missing::<T>(field),
        Error::InvalidScalar { ty, .. } => (format!("`{word}` is not {}", wanted(ty)), None),
        Error::Unexpected { expected: "mapping start", .. } => with_help(
            "fields are wanted here",
            "write them as `{ name: value }`, or below each other and indented",
        ),
        Error::Unexpected { expected: "sequence start", .. } => {
            with_help("a list is wanted here", "begin each item with `- `, also when there is only one")
        }
        Error::NullIntoString { .. } => with_help("there is no value here", "give one, or remove the field"),
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("a key");
            with_help(&format!("`{key}` is given twice"), "keep one of the two")
        }
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            with_help("this alias refers to itself", "write the value out")
        }
        Error::MultipleDocuments { .. } => with_help("a second document begins here", T::SECOND),
        Error::Eof { .. } => {
            let help = "begin with `apiVersion: lastgood.dev/v1alpha1`, or give the file another ending";
            let message = format!("there is no {} in this file", T::NAME);
            return Mistake::whole(file, message, Some(help.to_owned()));
        }
        Error::AliasError { error, .. } => return describe::<T>(file, place, error),
        other => {
            let message = DefaultMessageFormatter.format_message(other).into_owned();
            match message.split_once('\n') {
                Some((message, help)) => with_help(message, help),
                None if place
                    .as_ref()
                    .is_some_and(|place| place.text.trim_start_matches(' ').starts_with('\t')) =>
                {
                    with_help(&message, "YAML is indented with blanks, never with tabs")
                }
                None => (message, None),
            }
        }
    };
    Mistake { file: file.to_owned(), place, code: code(error), message, help }
}

/// The kind of the library's error.
fn code(error: &Error) -> Code {
    match error {
        Error::SerdeUnknownField { .. } => Code::UnknownField,
        Error::SerdeMissingField { .. } => Code::MissingField,
        Error::InvalidScalar { .. } | Error::NullIntoString { .. } => Code::WrongType,
        Error::Unexpected { expected: "mapping start" | "sequence start", .. } => Code::WrongType,
        // What a field's own reader says.
        Error::Message { .. } => Code::BadValue,
        _ => Code::Syntax,
    }
}

fn missing<T: Written>(field: &str) -> (String, Option<String>) {
    (format!("`{field}` is missing"), T::missing(field).map(str::to_owned))
}

fn wanted(rust_type: &str) -> &str {
    match rust_type {
        "u32" => "a whole number, 0 or more",
        "f64" | "floating point" => "a number",
        "boolean" | "bool" => "`true` or `false`",
        other => other,
    }
}
