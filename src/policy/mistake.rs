//! What is wrong with a policy file, and where.

use std::fmt;

use super::code::{Code, Level};

/// A line and a column, each from 1.
pub(super) type Position = (usize, usize);

/// One mistake in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as the person named it.
    pub file: String,
    /// Where in the file; none when it concerns the file as a whole.
    pub place: Option<Place>,
    /// Of what kind it is.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A place in a file, with the line that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are meant.
    pub width: usize,
    /// The text of the line.
    pub text: String,
}

/// Characters of a line that are shown; a longer line would hide the mark.
const SHOWN_MAX: usize = 160;

impl Place {
    /// Finds the place in the text; a line that does not exist is shown empty.
    pub fn new(source: &str, line: usize, column: usize, width: usize) -> Self {
        let text = source.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
        Self { line, column, width, text: text.trim_end_matches('\r').to_owned() }
    }
}

impl Mistake {
    /// A mistake that concerns the whole file or directory.
    pub fn whole(file: impl Into<String>, message: impl Into<String>, help: Option<String>) -> Self {
        Self { file: file.into(), place: None, code: Code::Unreadable, message: message.into(), help }
    }

    /// The file with line and column, as editors and terminals understand it.
    pub fn location(&self) -> String {
        match &self.place {
            Some(place) => format!("{}:{}:{}", self.file, place.line, place.column),
            None => self.file.clone(),
        }
    }

    /// By line and column.
    pub fn order(&self) -> Option<Position> {
        self.place.as_ref().map(|place| (place.line, place.column))
    }

    /// The mistake on one line, for a log.
    pub fn one_line(&self) -> String {
        let help = self.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{}: {}{help}", self.location(), self.message)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code.level() {
            Level::Error => writeln!(f, "error: {}", printable(&self.message))?,
            // The word is what `--allow` takes.
            Level::Warning => writeln!(f, "warning[{}]: {}", self.code.word(), printable(&self.message))?,
        }
        let gutter = self.place.as_ref().map_or(1, |place| place.line.to_string().len());
        writeln!(f, "{:gutter$}--> {}", "", self.location())?;
        if let Some(place) = &self.place {
            let (text, before, width) = window(place);
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{} | {text}", place.line)?;
            writeln!(f, "{:gutter$} | {:before$}{}", "", "", "^".repeat(width))?;
        }
        match &self.help {
            Some(help) => writeln!(f, "{:gutter$} = help: {}", "", printable(help)),
            None => Ok(()),
        }
    }
}

/// The text without what would move the mark, or the reader's terminal: tabs and escape sequences, of a file or a server.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The part of the line around the mark, safe to print, with the mark's offset and width in it.
fn window(place: &Place) -> (String, usize, usize) {
    let line: Vec<char> = hide_passwords(&place.text).chars().collect();
    let column = place.column.saturating_sub(1).min(line.len());
    let from = column.saturating_sub(SHOWN_MAX / 2);
    let shown: String = line.iter().skip(from).take(SHOWN_MAX).collect();
    let text = printable(&shown);
    let left = text.chars().count().saturating_sub(column - from);
    let text = text.trim_end().to_owned();
    (text, column - from, place.width.clamp(1, left.max(1)))
}

/// Replaces what stands before `@` in a URL, character for character, so that columns stay right.
///
/// A password may hold blanks, slashes and further `@`, and a wrong URL may lack its scheme: better to hide too much.
fn hide_passwords(line: &str) -> String {
    let Some(end) = line.rfind('@') else { return line.to_owned() };
    let after = |mark: &str| line.find(mark).map(|at| at + mark.len()).filter(|start| *start <= end);
    let Some(start) = after("://").or_else(|| after("url:")).or_else(|| after("url\":")) else {
        return line.to_owned();
    };
    let hidden =
        line.get(start..end).unwrap_or_default().chars().map(|c| if c.is_whitespace() { c } else { '*' });
    line.get(..start)
        .into_iter()
        .flat_map(str::chars)
        .chain(hidden)
        .chain(line.get(end..).into_iter().flat_map(str::chars))
        .collect()
}

/// All mistakes that were found; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Takes the mistakes; none when there are none.
    pub fn new(mistakes: Vec<Mistake>) -> Option<Self> {
        (!mistakes.is_empty()).then_some(Self(mistakes))
    }

    /// Each of them, file by file.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// How many there are.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The known word that the person probably meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A snake_case or kebab-case spelling is the same word to a person.
    let plain = |text: &str| text.replace(['_', '-'], "").to_lowercase();
    let wanted = plain(word);
    let farthest = (wanted.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= farthest)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean …?` when a known word is near, else the list of what is known.
pub fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            format!("known here: {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_only_what_is_near() {
        let check =
            |word, expected| assert_eq!(nearest(word, ["name", "interval", "failedAttempts"]), expected);
        check("nmae", Some("name"));
        check("failed_attempts", Some("failedAttempts"));
        check("intervall", Some("interval"));
        check("a", None);
        check("selector", None);
    }

    #[test]
    fn shows_no_password() {
        let check = |line, expected| assert_eq!(hide_passwords(line), expected);
        check("  url: http://me:s3cret@prom:9090 # why", "  url: http://*********@prom:9090 # why");
        check("{ url: 'https://a:b/c@d@e' }", "{ url: 'https://*******@e' }");
        check("  url: me:s3cret@prom", "  url: *********@prom");
        check("  query: up @ 1", "  query: up @ 1");
    }

    #[test]
    fn a_long_line_is_cut_around_the_mark() {
        let source = format!("{}wrong{}", "a".repeat(500), "b".repeat(500));
        let place = Place::new(&source, 1, 501, 5);
        let text = Mistake { place: Some(place), ..Mistake::whole("f", "m", None) }.to_string();
        assert!(text.lines().all(|line| line.len() < 180), "{text}");
        let (line, mark) = (text.lines().nth(3).unwrap(), text.lines().nth(4).unwrap());
        assert_eq!(&line[mark.find('^').unwrap()..][..5], "wrong");
    }
}
