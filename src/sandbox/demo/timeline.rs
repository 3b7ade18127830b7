//! The timeline: one line for each thing that happened, for people or as JSON lines.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::json;

use crate::sandbox::clock::between;

/// Who did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A developer.
    Developer,
    /// Argo CD and what it deploys.
    Cluster,
    /// The daemon.
    Lastgood,
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Developer => "developer",
            Self::Cluster => "cluster",
            Self::Lastgood => "lastgood",
        }
    }
}

/// How the timeline is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: seconds since the start, who, what.
    Text,
    /// One JSON object a line.
    JsonLines,
}

/// Writes what happened, as it happens.
#[derive(Debug)]
pub struct Timeline<W> {
    out: W,
    format: Format,
    start: Timestamp,
    last: Option<Who>,
}

impl<W: Write> Timeline<W> {
    /// Times are told from `start`.
    pub fn new(out: W, format: Format, start: Timestamp) -> Self {
        Self { out, format, start, last: None }
    }

    /// Writes one line and flushes it: people watch.
    pub fn line(&mut self, at: Timestamp, who: Who, sentence: &str) -> io::Result<()> {
        let seconds = between(self.start, at).as_secs_f64();
        match self.format {
            Format::Text => {
                // A deploy begins a paragraph.
                if who == Who::Developer && self.last.is_some() {
                    writeln!(self.out)?;
                }
                let mut rest = sentence.lines();
                writeln!(
                    self.out,
                    "{seconds:>6.1} s  {:<9}  {}",
                    who.name(),
                    rest.next().unwrap_or_default()
                )?;
                for line in rest {
                    writeln!(self.out, "{:21}{line}", "")?;
                }
            }
            Format::JsonLines => {
                let rounded = (seconds * 1000.0).round() / 1000.0;
                let line = json!({"time": at.to_string(), "seconds": rounded, "who": who.name(),
                                  "sentence": sentence});
                writeln!(self.out, "{line}")?;
            }
        }
        self.last = Some(who);
        self.out.flush()
    }

    /// What it writes to, for what comes after the timeline.
    pub fn into_inner(self) -> W {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: Format, expected: &str) {
        let start: Timestamp = "2026-11-03T10:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-11-03T10:00:12.345Z".parse().unwrap();
        let mut timeline = Timeline::new(Vec::new(), format, start);
        timeline.line(start, Who::Cluster, "runs v1").unwrap();
        timeline.line(later, Who::Developer, "Ada deploys").unwrap();
        timeline.line(later, Who::Lastgood, "two\nlines").unwrap();
        assert_eq!(String::from_utf8(timeline.into_inner()).unwrap(), expected);
    }

    #[test]
    fn is_written_for_people_and_for_programs() {
        check(
            Format::Text,
            "   0.0 s  cluster    runs v1\n\n  12.3 s  developer  Ada deploys\n  12.3 s  lastgood   two\n                     lines\n",
        );
        check(
            Format::JsonLines,
            r#"{"seconds":0.0,"sentence":"runs v1","time":"2026-11-03T10:00:00Z","who":"cluster"}
{"seconds":12.345,"sentence":"Ada deploys","time":"2026-11-03T10:00:12.345Z","who":"developer"}
{"seconds":12.345,"sentence":"two\nlines","time":"2026-11-03T10:00:12.345Z","who":"lastgood"}
"#,
        );
    }
}
