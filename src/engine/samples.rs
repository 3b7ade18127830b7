//! What was read for one SLO, over time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::facts::{Gap, Reading};
use super::policy::Part;

/// One reading, and the time that it is of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(i64, Written)", into = "(i64, Written)")]
pub struct Sample {
    /// The time, in whole milliseconds.
    pub at: Timestamp,
    /// What was read.
    pub reading: Reading,
}

/// A reading as it is saved: thousands of them may stand in a state object.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Value(f64),
    Gap(Gap),
}

impl From<(i64, Written)> for Sample {
    fn from((at, written): (i64, Written)) -> Self {
        let reading = match written {
            Written::Value(value) => Reading::Value(value),
            Written::Gap(gap) => Reading::Gap(gap),
        };
        Self::new(Timestamp::from_millisecond(at).unwrap_or_default(), reading)
    }
}

impl From<Sample> for (i64, Written) {
    fn from(sample: Sample) -> Self {
        let written = match sample.reading {
            Reading::Value(value) => Written::Value(value),
            Reading::Gap(gap) => Written::Gap(gap),
        };
        (sample.at.as_millisecond(), written)
    }
}

impl Sample {
    /// A reading of a time; what is no number becomes the gap that it is.
    pub fn new(at: Timestamp, reading: Reading) -> Self {
        let reading = match reading {
            // Neither is a number in JSON, so a state that held one could not be read again.
            Reading::Value(value) if value.is_nan() => Reading::Gap(Gap::NotANumber),
            Reading::Value(value) if value.is_infinite() => Reading::Gap(Gap::Infinite),
            reading => reading,
        };
        Self { at: Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at), reading }
    }

    /// Forgets what a server said; that there was no value, and why, stays.
    fn forget_words(&mut self) {
        if let Reading::Gap(
            Gap::Partial(words)
            | Gap::Unreachable(words)
            | Gap::ServerError(words)
            | Gap::Credentials(words)
            | Gap::QueryRefused(words)
            | Gap::NotWatching(words),
        ) = &mut self.reading
        {
            words.clear();
        }
    }

    /// The number, if it is one.
    pub fn value(&self) -> Option<f64> {
        match self.reading {
            Reading::Value(value) => Some(value),
            Reading::Gap(_) => None,
        }
    }
}

/// The newest samples of one series, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Line(Vec<Sample>);

impl Line {
    /// Adds a sample and keeps the newest `most`.
    ///
    /// Of two samples of the same time the first that is a number stays: an answer that comes twice counts once.
    pub fn add(&mut self, sample: Sample, most: usize) {
        // Nearly always it is the newest.
        let place = self.0.partition_point(|s| s.at < sample.at);
        match self.0.get_mut(place) {
            Some(same) if same.at == sample.at => {
                if same.value().is_none() {
                    *same = sample;
                }
            }
            _ => self.0.insert(place, sample),
        }
        // Only the newest is told in full; the words of an outage would be most of a state object.
        let newest = self.0.len() - 1;
        for older in [place, newest.saturating_sub(1)] {
            if let Some(sample) = self.0.get_mut(older).filter(|_| older < newest) {
                sample.forget_words();
            }
        }
        let surplus = self.0.len().saturating_sub(most);
        self.0.drain(..surplus);
    }

    /// The samples, oldest first.
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// The newest sample.
    pub fn newest(&self) -> Option<&Sample> {
        self.0.last()
    }
}

/// The labels of a series; none where there can be only one.
pub type Labels = BTreeMap<String, String>;

/// Series of one SLO that are judged; more of them are a query that forgot to aggregate.
pub const SERIES_MAX: usize = 20;

/// What was read for one SLO: a line for each part and series, and one without labels for what is known of none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<Saved>", into = "Vec<Saved>")]
pub struct Lines(BTreeMap<(Part, Labels), Line>);

/// A line as it is saved.
#[derive(Clone, Serialize, Deserialize)]
struct Saved {
    #[serde(default, skip_serializing_if = "Part::is_value")]
    part: Part,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    series: Labels,
    #[serde(default)]
    samples: Line,
}

impl From<Vec<Saved>> for Lines {
    fn from(saved: Vec<Saved>) -> Self {
        Self(saved.into_iter().map(|saved| ((saved.part, saved.series), saved.samples)).collect())
    }
}

impl From<Lines> for Vec<Saved> {
    fn from(lines: Lines) -> Self {
        lines.0.into_iter().map(|((part, series), samples)| Saved { part, series, samples }).collect()
    }
}

impl Lines {
    /// Nothing.
    pub const fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a sample to a series and keeps the newest `most` of it; false where it is a series too many, and left out.
    pub fn add(&mut self, part: Part, series: &Labels, sample: Sample, most: usize) -> bool {
        let labelled = self.of(part).filter(|(labels, _)| !labels.is_empty()).count();
        match self.0.get_mut(&(part, series.clone())) {
            Some(line) => line.add(sample, most),
            None if series.is_empty() || labelled < SERIES_MAX => {
                self.0.entry((part, series.clone())).or_default().add(sample, most);
            }
            None => return false,
        }
        true
    }

    /// Takes in all that a query gave at one time, where each of its series is judged by itself.
    ///
    /// A series that is known, here or by `known`, and left out of the answer has a gap at this time: what stops to come
    /// passes no longer, and where it comes back it is not judged by what it gave long ago.
    pub fn take(
        &mut self,
        part: Part,
        at: Timestamp,
        answers: &[(&Labels, &Reading)],
        known: &BTreeSet<Labels>,
        most: usize,
    ) {
        let mut all = true;
        for (labels, reading) in answers {
            all &= self.add(part, labels, Sample::new(at, (*reading).clone()), most);
        }
        let gap = |(_, reading): &(&Labels, &Reading)| matches!(reading, Reading::Gap(_));
        let none = Labels::new();
        let nothing = answers.first().filter(|_| answers.iter().all(gap)).map(|(_, reading)| *reading);
        match nothing {
            // What holds for all stands without labels too, where it is found when no series is known.
            Some(reading) => all &= self.add(part, &none, Sample::new(at, reading.clone()), most),
            None => self.answered(part, at),
        }
        if !all {
            let gap = Reading::Gap(Gap::TooManySeries(SERIES_MAX + 1));
            self.add(part, &none, Sample::new(at, gap), most);
        }
        let was_there = self.line(part, &none).is_some_and(|line| line.0.iter().any(|s| s.value().is_some()));
        let silent = |labels: &&Labels| {
            answers.iter().all(|(own, _)| own != labels) && (was_there || !labels.is_empty())
        };
        let here = self.of(part).map(|(labels, _)| labels);
        let silent: BTreeSet<Labels> = here.chain(known).filter(silent).cloned().collect();
        let reading = nothing.cloned().unwrap_or(Reading::Gap(Gap::NoData));
        for labels in &silent {
            self.add(part, labels, Sample::new(at, reading.clone()), most);
        }
    }

    /// Forgets that there was no answer at a time, since there is one now.
    fn answered(&mut self, part: Part, at: Timestamp) {
        let none = (part, Labels::new());
        if let Some(line) = self.0.get_mut(&none) {
            line.0.retain(|sample| sample.at != at || sample.value().is_some());
            if line.0.is_empty() {
                self.0.remove(&none);
            }
        }
    }

    /// Each series of a part with its line.
    pub fn of(&self, part: Part) -> impl Iterator<Item = (&Labels, &Line)> {
        self.0.iter().filter(move |((other, _), _)| *other == part).map(|((_, series), line)| (series, line))
    }

    /// The line of one series of a part.
    pub fn line(&self, part: Part, series: &Labels) -> Option<&Line> {
        self.of(part).find(|(labels, _)| *labels == series).map(|(_, line)| line)
    }

    /// Whether there is nothing yet, or something that may be answered when asked again.
    pub fn worth_asking_again(&self) -> bool {
        let transient = |sample: &Sample| matches!(&sample.reading, Reading::Gap(gap) if gap.is_transient());
        self.0.values().all(|line| line.0.is_empty())
            || self.0.values().any(|line| line.0.iter().any(transient))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::at;

    #[test]
    fn what_is_no_number_is_a_gap_and_can_be_saved() {
        for (value, gap) in [(f64::NAN, Gap::NotANumber), (f64::NEG_INFINITY, Gap::Infinite)] {
            let sample = Sample::new(Timestamp::UNIX_EPOCH, Reading::Value(value));
            assert_eq!(sample.reading, Reading::Gap(gap));
            let saved = serde_json::to_string(&sample).unwrap();
            assert_eq!(serde_json::from_str::<Sample>(&saved).unwrap(), sample, "{saved}");
        }
    }

    #[test]
    fn only_the_newest_gap_keeps_its_words() {
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]] {
            let mut line = Line::default();
            for second in order {
                let gap = Gap::Unreachable(format!("no route at {second}"));
                line.add(Sample::new(at(second), Reading::Gap(gap)), 9);
            }
            let told = |s: &Sample| match &s.reading {
                Reading::Gap(Gap::Unreachable(words)) => words.clone(),
                other => panic!("{other:?}"),
            };
            let words: Vec<String> = line.samples().iter().map(told).collect();
            assert_eq!(words, ["", "", "", "no route at 4"], "{order:?}");
        }
    }

    /// Adds `time:value` one by one, `x` being a gap, and keeps three.
    fn check(added: &str, expected: &str) {
        let mut line = Line::default();
        for one in added.split_whitespace() {
            let (time, value) = one.split_once(':').unwrap();
            let reading = value.parse().map_or(Reading::Gap(Gap::NoData), Reading::Value);
            line.add(Sample::new(at(time.parse().unwrap()), reading), 3);
        }
        let shown = |s: &Sample| {
            format!("{}:{}", s.at.as_second(), s.value().map_or("x".to_owned(), |v| v.to_string()))
        };
        let got = line.samples().iter().map(shown).collect::<Vec<_>>().join(" ");
        assert_eq!(got, expected, "{added}");
    }

    #[test]
    fn the_newest_are_kept_in_the_order_of_time_and_one_for_each_time() {
        check("1:5 3:6 2:7", "1:5 2:7 3:6");
        check("1:5 2:6 3:7 4:8", "2:6 3:7 4:8");
        check("4:8 3:7 2:6 1:5", "2:6 3:7 4:8");
        check("1:5 1:6", "1:5");
        check("1:x 1:6", "1:6");
        check("1:5 1:x", "1:5");
    }

    #[test]
    fn lines_are_saved_in_few_bytes_and_read_again() {
        let mut lines = Lines::default();
        lines.add(Part::Value, &Labels::new(), Sample::new(at(1_700_000_000), Reading::Value(0.25)), 9);
        lines.add(
            Part::Value,
            &Labels::from([("pod".into(), "a".into())]),
            Sample::new(at(2), Reading::Gap(Gap::SeveralSeries(3))),
            9,
        );
        let minute = Part::Ratio(std::time::Duration::from_secs(60));
        lines.add(minute, &Labels::new(), Sample::new(at(3), Reading::Value(0.5)), 9);
        let saved = serde_json::to_string(&lines).unwrap();
        assert_eq!(
            saved,
            r#"[{"samples":[[1700000000000,0.25]]},{"series":{"pod":"a"},"samples":[[2000,{"severalSeries":3}]]},{"part":{"ratio":60},"samples":[[3000,0.5]]}]"#
        );
        assert_eq!(serde_json::from_str::<Lines>(&saved).unwrap(), lines);
    }

    #[test]
    fn what_an_older_version_saved_is_asked_for_again() {
        let older = r#"[{"at":"2026-01-01T00:00:00Z","outcome":"Pass","reading":{"value":0.1}}]"#;
        assert!(serde_json::from_str::<Lines>(older).unwrap().worth_asking_again());
    }
}
