//! The revert's commit message in Git's own form, and reading the trailers of any commit back.

use crate::engine::action::Culprit;
use crate::engine::facts::{AppKey, Revision};

/// Names the application, `namespace/name`.
pub const TRAILER_APPLICATION: &str = "Lastgood-Application";
/// Names the cluster whose daemon made the commit.
pub const TRAILER_CLUSTER: &str = "Lastgood-Cluster";
/// The revision that made the application sick.
pub const TRAILER_BAD: &str = "Lastgood-Bad";
/// The revision whose content was brought back.
pub const TRAILER_GOOD: &str = "Lastgood-Good";
/// Names the rollback: by it a push whose answer was lost is found again.
pub const TRAILER_ROLLBACK: &str = "Lastgood-Rollback";

/// Names another application that is rendered from files that the commit changes; one line for each.
pub const TRAILER_TOUCHES: &str = "Lastgood-Touches";

/// Names the application in whose files the change was undone, where those define the one that is rolled back.
pub const TRAILER_PARENT: &str = "Lastgood-Parent";

/// The hash of the ledger's record of the intent: by it the branch vouches for the ledger.
pub const TRAILER_RECORD: &str = "Lastgood-Record";

/// The most other applications named in one message.
const TOUCHES_MAX: usize = 100;
/// The longest culprit subject that is repeated, in characters; forges cut longer ones anyhow.
const SUBJECT_CHARS_MAX: usize = 150;
/// The longest sentence of evidence, in characters.
const EVIDENCE_CHARS_MAX: usize = 400;
/// The most sentences of evidence.
const EVIDENCE_LINES_MAX: usize = 20;
/// The most culprits named in one message; a longer range is for `git log`.
const CULPRITS_MAX: usize = 50;

/// What a message tells of a rollback.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    /// The application's name, for the subject.
    pub(crate) name: &'a str,
    /// The application, `namespace/name`.
    pub(crate) app: &'a str,
    /// The daemon's cluster; empty where a person rolls back.
    pub(crate) cluster: &'a str,
    /// Names the rollback.
    pub(crate) rollback: &'a str,
    /// Bad.
    pub(crate) bad: &'a Revision,
    /// Last good.
    pub(crate) good: &'a Revision,
    /// Why, one sentence each.
    pub(crate) evidence: &'a [String],
    /// Other applications that are rendered from files that the commit changes.
    pub(crate) touches: &'a [String],
    /// The application in whose files the change is undone, where those define the one that is rolled back.
    pub(crate) parent: Option<&'a AppKey>,
    /// The hash of the ledger's record of the intent, where there is a ledger.
    pub(crate) record: Option<&'a str>,
    /// The commits that are undone.
    pub(crate) undone: &'a Undone<'a>,
}

/// What a message says about the commits that are undone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undone<'a> {
    /// All of them, newest first.
    pub(crate) culprits: &'a [Culprit],
    /// The only commit of the branch itself among them, if it is only one; for a merge with its first parent.
    pub(crate) single: Option<(&'a Culprit, Option<String>)>,
}

/// Writes the message.
pub(crate) fn compose(told: &Told<'_>) -> String {
    let undone = told.undone;
    let subject = match &undone.single {
        Some((culprit, _)) => format!("Revert \"{}\"", one_line(&culprit.subject, SUBJECT_CHARS_MAX)),
        None => {
            format!("Revert {} to {}", one_line(told.name, SUBJECT_CHARS_MAX), told.good.short())
        }
    };
    let mut paragraphs = vec![subject, reverts(undone)];
    if !told.evidence.is_empty() {
        paragraphs.push(evidence(told));
    }
    let parent = told.parent.map(ToString::to_string).unwrap_or_default();
    let trailers = [
        (TRAILER_APPLICATION, told.app),
        (TRAILER_CLUSTER, told.cluster),
        (TRAILER_BAD, told.bad.as_str()),
        (TRAILER_GOOD, told.good.as_str()),
        (TRAILER_ROLLBACK, told.rollback),
        (TRAILER_PARENT, parent.as_str()),
        (TRAILER_RECORD, told.record.unwrap_or_default()),
    ];
    let touches = told.touches.iter().take(TOUCHES_MAX).map(|app| (TRAILER_TOUCHES, app.as_str()));
    let known = trailers.into_iter().chain(touches).filter(|(_, value)| !value.is_empty());
    let lines: Vec<_> =
        known.map(|(key, value)| format!("{key}: {}", one_line(value, EVIDENCE_CHARS_MAX))).collect();
    paragraphs.push(lines.join("\n"));
    paragraphs.join("\n\n") + "\n"
}

fn reverts(undone: &Undone<'_>) -> String {
    let mut lines: Vec<String> = Vec::new();
    for culprit in undone.culprits.iter().take(CULPRITS_MAX) {
        let merged_into = undone
            .single
            .as_ref()
            .filter(|(single, _)| single.revision == culprit.revision)
            .and_then(|(_, parent)| parent.as_ref());
        lines.push(match merged_into {
            // The words of `git revert -m 1`.
            Some(parent) => {
                format!("This reverts commit {}, reversing\nchanges made to {parent}.", culprit.revision)
            }
            None => format!("This reverts commit {}.", culprit.revision),
        });
    }
    let more = undone.culprits.len().saturating_sub(CULPRITS_MAX);
    if more > 0 {
        lines.push(format!("And {more} older commits."));
    }
    lines.join("\n")
}

// The dash keeps a sentence from being read as anything else: a divider (`---`), a comment or a trailer.
fn evidence(told: &Told<'_>) -> String {
    let on_cluster = match told.cluster {
        "" => String::new(),
        cluster => format!(" on cluster {}", one_line(cluster, SUBJECT_CHARS_MAX)),
    };
    let mut lines =
        vec![format!("lastgood rolled {} back{on_cluster}:", one_line(told.app, SUBJECT_CHARS_MAX))];
    for sentence in told.evidence.iter().take(EVIDENCE_LINES_MAX) {
        lines.push(format!("- {}", one_line(sentence, EVIDENCE_CHARS_MAX)));
    }
    let more = told.evidence.len().saturating_sub(EVIDENCE_LINES_MAX);
    if more > 0 {
        lines.push(format!("- and {more} more reasons"));
    }
    lines.join("\n")
}

/// Makes one line of any text, so that it can start neither a paragraph nor a trailer.
pub(crate) fn one_line(text: &str, chars_max: usize) -> String {
    let visible = |c: char| if c.is_control() || is_line_break(c) { ' ' } else { c };
    let text: String = text.chars().map(visible).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= chars_max {
        return text;
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    kept + "…"
}

fn is_line_break(c: char) -> bool {
    matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// The trailers of a commit message: of its last paragraph, if that is made of nothing else, and of those before it for as
/// long as they are too.
///
/// Stricter than Git, which forgives some prose among them, since ours are never mixed with prose; and wider, since a
/// forge that squashes puts its own (`Co-authored-by`) into a paragraph below, or below a line of dashes.
pub fn trailers(message: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = message.trim_end().lines().collect();
    let mut paragraphs = lines.split(|line| line.trim().is_empty()).filter(|lines| !lines.is_empty());
    // The subject is not one of them.
    paragraphs.next();
    let mut found = Vec::new();
    for paragraph in paragraphs.rev() {
        if paragraph.iter().all(|line| line.trim().bytes().all(|b| b == b'-')) {
            continue;
        }
        let Some(mut trailers) = trailers_of(paragraph) else { break };
        trailers.append(&mut found);
        found = trailers;
    }
    found
}

/// The trailers of a paragraph; none if it holds anything else.
fn trailers_of<'a>(paragraph: &[&'a str]) -> Option<Vec<(&'a str, &'a str)>> {
    let mut found = Vec::new();
    for line in paragraph {
        if line.starts_with([' ', '\t']) && !found.is_empty() {
            // A continuation; none of ours has one, so its text is of no interest.
            continue;
        }
        // What `git cherry-pick -x` adds to the trailers.
        if line.starts_with("(cherry picked from commit ") {
            continue;
        }
        match line.split_once(':') {
            Some((key, value)) if is_token(key.trim_end()) => found.push((key.trim_end(), value.trim())),
            _ => return None,
        }
    }
    Some(found)
}

fn is_token(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The value of the first trailer with this key.
pub(crate) fn trailer<'a>(trailers: &[(&'a str, &'a str)], key: &str) -> Option<&'a str> {
    trailers.iter().find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
}

/// The commits that a message says it reverts, as `git revert` writes it; the subject line does not count.
pub(crate) fn reverted(message: &str) -> impl Iterator<Item = &str> {
    message.lines().skip(1).filter_map(|line| {
        let id = line.strip_prefix("This reverts commit ")?;
        let end = id.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(id.len());
        // Shorter than what Git abbreviates to by default is not a commit id but a word.
        id.get(..end).filter(|id| id.len() >= 7)
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
