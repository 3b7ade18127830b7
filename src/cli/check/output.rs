//! What came of a check, for people and for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::Outcome;
use super::live::Answer;
use crate::cli::counted;
use crate::policy::Mistake;
use crate::policy::code::Level;

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// For people.
    Text,
    /// One object for programs.
    Json,
    /// Annotations of GitHub Actions, which stand beside the lines of a pull request.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

impl Form {
    /// Writes the outcome in this form.
    pub(super) fn write(self, outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Text => text(outcome, out),
            Self::Json => pretty(&json(outcome), out),
            Self::Github => github(outcome, out),
            Self::Sarif => pretty(&super::sarif::log(&outcome.found), out),
        }
    }
}

fn pretty(value: &Value, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{value:#}")
}

fn text(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    for mistake in &outcome.found {
        writeln!(out, "{mistake}")?;
    }
    let width =
        outcome.answers.iter().map(|answer| answer.line().0.chars().count()).max().unwrap_or_default();
    let mut file = "";
    for answer in &outcome.answers {
        if file != answer.file {
            file = &answer.file;
            writeln!(out, "{file} returns now:")?;
        }
        let (slo, shown) = answer.line();
        writeln!(out, "  {slo:width$}  {shown}")?;
    }
    let blank = if outcome.answers.is_empty() { "" } else { "\n" };
    writeln!(out, "{blank}{}", summary(outcome))
}

/// The closing line.
fn summary(outcome: &Outcome) -> String {
    let (mistakes, warnings) = counts(outcome);
    let valid = counted(outcome.policies, "policy is valid", "policies are valid");
    let warned = counted(warnings, "warning", "warnings");
    let found = counted(mistakes, "mistake", "mistakes");
    match (mistakes, warnings) {
        (0, 0) => valid,
        (0, _) => format!("{valid}, with {warned}"),
        (_, 0) => format!("{found} found"),
        (_, _) => format!("{found} and {warned} found"),
    }
}

/// How many mistakes and how many warnings there are.
fn counts(outcome: &Outcome) -> (usize, usize) {
    let warnings = outcome.found.iter().filter(|one| one.code.level() == Level::Warning).count();
    (outcome.found.len() - warnings, warnings)
}

fn json(outcome: &Outcome) -> Value {
    let (mistakes, warnings) = counts(outcome);
    let found = outcome.found.iter().map(|one| {
        let place = one.place.as_ref();
        json!({
            "level": one.code.level(),
            "code": one.code.word(),
            "file": one.file,
            "line": place.map(|place| place.line),
            "column": place.map(|place| place.column),
            "endColumn": place.map(|place| place.column + place.width),
            "message": one.message,
            "help": one.help,
        })
    });
    json!({
        "policies": outcome.policies,
        "mistakes": mistakes,
        "warnings": warnings,
        "found": found.collect::<Vec<_>>(),
        "answers": outcome.answers.iter().map(Answer::json).collect::<Vec<_>>(),
    })
}

fn github(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    for mistake in &outcome.found {
        writeln!(out, "{}", annotation(mistake))?;
    }
    writeln!(out, "{}", summary(outcome))
}

/// One workflow command, as GitHub documents them under "Workflow commands for GitHub Actions".
fn annotation(mistake: &Mistake) -> String {
    let file = mistake.file.strip_prefix("./").unwrap_or(&mistake.file);
    let mut properties = format!("file={}", property(file));
    if let Some(place) = &mistake.place {
        let end = place.column + place.width;
        properties += &format!(",line={},col={},endColumn={end}", place.line, place.column);
    }
    let help = mistake.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    format!(
        "::{} {properties},title={}::{}",
        mistake.code.level().word(),
        property(&format!("lastgood: {}", mistake.code.word())),
        data(&format!("{}{help}", mistake.message))
    )
}

/// Escapes a command's text, as GitHub's own toolkit does: a line break would end it, and begin what may be another command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a command's property, whose ends are `,` and `:` too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::code::Code;
    use crate::policy::mistake::Place;

    #[test]
    fn annotations_are_escaped() {
        let mistake = Mistake {
            place: Some(Place::new("a\nbc: %\n", 2, 5, 1)),
            code: Code::ShortWindow,
            ..Mistake::whole("./a,b:c.yaml", "100 %\n::error::x", Some("write, or: not\r".to_owned()))
        };
        assert_eq!(
            annotation(&mistake),
            "::warning file=a%2Cb%3Ac.yaml,line=2,col=5,endColumn=6,title=lastgood%3A short-window\
             ::100 %25%0A::error::x%0Ahelp: write, or: not%0D"
        );
        let whole = Mistake::whole("policies", "there are no policies here", None);
        assert_eq!(
            annotation(&whole),
            "::error file=policies,title=lastgood%3A unreadable::there are no policies here"
        );
    }
}
