//! The kinds of mistakes and warnings, each with the word by which programs and people know it.

use serde::Serialize;

use crate::codes::codes;

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The policy is not taken.
    Error,
    /// The policy works, though probably not as it is meant.
    Warning,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

codes! {
    /// A kind of mistake or warning. Its word is stable.
    /// How grave it is.
    level: Level,
    "unreadable" => Unreadable: "A file or a folder cannot be read, or holds no policy.", Level::Error,
    "syntax" => Syntax: "The file is not YAML.", Level::Error,
    "unknown-field" => UnknownField: "A field that no policy has.", Level::Error,
    "missing-field" => MissingField: "A field that every policy must have is not there.", Level::Error,
    "wrong-type" => WrongType: "A value of another kind than the field takes.", Level::Error,
    "bad-value" => BadValue: "A value that could never work.", Level::Error,
    "bad-query" => BadQuery: "PromQL that cannot be run, or that gives no number.", Level::Error,
    "ambiguous" => Ambiguous: "Two policies that cannot be told apart.", Level::Error,
    "short-window" => ShortWindow: "A rate over fewer than four scrapes: one missed scrape, and there is no value.", Level::Warning,
    "fast-interval" => FastInterval: "Measurements that come faster than scrapes see the same samples several times.", Level::Warning,
    "no-traffic" => NoTraffic: "A ratio without a value while its numerator matches no series, as before the first error.", Level::Warning,
    "no-error-budget" => NoErrorBudget: "An objective of 100 %: a single failed request is a failed measurement.", Level::Warning,
    "several-series" => SeveralSeries: "A query that gives several series where one number is wanted.", Level::Warning,
    "series-per-pod" => SeriesPerPod: "Each series is judged, and there is one for each pod or revision: those of the new one have no past, so none can convict.", Level::Warning,
    "never-matches" => NeverMatches: "An operation on two sides with different labels has no result.", Level::Warning,
    "no-value-when-false" => NoValueWhenFalse: "A comparison without `bool`, or `absent()`, gives nothing while it is false, which is inconclusive.", Level::Warning,
    "compared-with-itself" => ComparedWithItself: "A comparison with a past that is soon the time after the change.", Level::Warning,
    "comparison-too-short" => ComparisonTooShort: "A comparison that not even the clearest change could fail, since too little is measured.", Level::Warning,
    "burn-rate-too-short" => BurnRateTooShort: "A burn rate that not even a failure of everything could fail, since too little is measured.", Level::Warning,
    "events-per-second" => EventsPerSecond: "A rate where the number of events is wanted, which is as many times greater as the window has seconds.", Level::Warning,
    "share-in-percent" => ShareInPercent: "A burn rate's query that gives percent where a share from 0 to 1 is wanted.", Level::Warning,
    "coarse-subquery" => CoarseSubquery: "A subquery that is evaluated too seldom to see what lies between.", Level::Warning,
    "rate-of-aggregate" => RateOfAggregate: "The rate of a sum: when one pod restarts the sum falls, which counts as a reset of all.", Level::Warning,
    "rate-of-gauge" => RateOfGauge: "A rate of what falls as it rises: each fall counts as a reset.", Level::Warning,
    "delta-of-counter" => DeltaOfCounter: "The difference of a counter, which falls to zero when a pod restarts.", Level::Warning,
    "counter-without-rate" => CounterWithoutRate: "A counter by itself, which only ever grows until a pod restarts.", Level::Warning,
    "quantile-without-le" => QuantileWithoutLe: "The quantile of a histogram whose buckets were added up.", Level::Warning,
    "no-value-now" => NoValueNow: "A query to which the server gives no value now, with `--live` or `--prometheus`.", Level::Warning,
    "quantile-out-of-range" => QuantileOutOfRange: "A quantile that is not between 0 and 1 is infinite.", Level::Warning,
}

impl std::str::FromStr for Code {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let words: Vec<&str> = Self::ALL.iter().map(|code| code.word()).collect();
        let found = Self::ALL.iter().find(|code| code.word() == word).copied();
        found.ok_or_else(|| match super::mistake::nearest(word, words) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None => "docs/reference/check.md lists them".to_owned(),
        })
    }
}
