//! The form of a scenario: a sentence, policy lines, and lines of `<time> <what happens>`.

use std::time::Duration;

/// A scenario's first part.
pub struct Script {
    pub lines: Vec<Line>,
}

/// Something that happens.
pub struct Line {
    pub at: Duration,
    pub words: Vec<String>,
}

impl Script {
    pub fn parse(text: &str) -> Result<Self, String> {
        let (sentence, history) =
            text.split_once("\n\n").ok_or("a scenario is a sentence, an empty line, and a history")?;
        if !sentence.starts_with(char::is_uppercase) || !sentence.ends_with('.') {
            return Err(format!("not a sentence that says which guarantee this holds: {sentence}"));
        }
        let mut lines: Vec<Line> = Vec::new();
        for line in history.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let (first, rest) = words.split_first().ok_or("an empty line")?;
            let (at, words) = match time(first) {
                Some(at) => (at, rest.to_vec()),
                None if first == "policy" && lines.iter().all(|l| l.at.is_zero()) => (Duration::ZERO, words),
                None => return Err(format!("`{line}` does not begin with a time like `10s` or `2m30s`")),
            };
            if lines.last().is_some_and(|last| last.at > at) {
                return Err(format!("`{line}` is before the line above it"));
            }
            lines.push(Line { at, words });
        }
        if lines.last().is_none_or(|last| last.words != ["end"]) {
            return Err("the last line must be `<time> end`".to_owned());
        }
        Ok(Self { lines })
    }
}

/// `10s`, `2m30s`, `1h`, `0.4s`.
pub fn time(word: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut number = String::new();
    for c in word.chars() {
        let unit = match c {
            '0'..='9' | '.' => {
                number.push(c);
                continue;
            }
            's' => 1.0,
            'm' => 60.0,
            'h' => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()?;
        number.clear();
    }
    (number.is_empty() && !word.is_empty()).then_some(total)
}
