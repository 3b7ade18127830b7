//! What each query returns now.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::Args;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::engine::facts::Reading;
use crate::engine::judge::Outcome;
use crate::engine::judge::slo::{alone, show_part, shown as labels};
use crate::engine::policy::{Part, Prometheus, Slo};
use crate::engine::samples::Labels;
use crate::observe::slo::Slos;
use crate::policy::check::{Finding, Step};
use crate::policy::code::Code;
use crate::policy::mistake::printable;
use crate::policy::{Loaded, Mistake, Pattern, SourceFile, place, read};

/// Queries that are on their way at the same time, as the daemon has them.
const CONCURRENT_MAX: usize = 4;

/// Which server is asked, and for what.
#[derive(Debug, Args)]
pub struct Asking {
    /// Asks each policy's own Prometheus what its queries return now; credentials are read from folders, not from Secrets.
    #[arg(long)]
    pub live: bool,
    /// Asks this Prometheus instead of the policies' own.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub prometheus: Option<String>,
    /// The application, for `{{ application }}`; by default the one that the policy names.
    #[arg(long, value_name = "NAME")]
    pub application: Option<String>,
    /// A value for a placeholder of the queries: `namespace`, `revision` or one of the policy's variables; may be given
    /// several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = crate::cli::assignment)]
    pub set: Vec<(String, String)>,
}

/// What one query returned, or one of its series that are judged each.
pub(super) struct Answer {
    pub(super) file: String,
    slo: Slo,
    part: Part,
    /// Where it stands in the policy: in which list, and as the how many-th.
    place: (&'static str, usize),
    /// The query as it was sent; why it could not be, else.
    asked: Result<String, String>,
    /// The labels of the series; none where there is one number, or nothing.
    series: Labels,
    /// What came back; nothing if it was not sent.
    reading: Option<Reading>,
}

impl Asking {
    /// Whether a server is to be asked.
    pub(super) fn is_wanted(&self) -> bool {
        self.live || self.prometheus.is_some()
    }

    /// Asks for every query of the files that are valid policies.
    pub(super) fn ask(&self, files: &[SourceFile]) -> anyhow::Result<Vec<Answer>> {
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let slos = Slos::new().context("cannot make the HTTP client for Prometheus")?;
        let policies: Vec<Loaded> =
            files.iter().filter_map(|file| read(&file.name, &file.bytes).ok()).collect();
        let asked = policies.iter().flat_map(|loaded| {
            let slos = &slos;
            let policy = &loaded.policy;
            let own = policy.slos.iter().enumerate().map(|(index, slo)| (("slos", index), slo));
            let guards = policy.guards.iter().map(|guard| &guard.asks).enumerate();
            let all = own.chain(guards.map(|(index, asks)| (("guards", index), asks)));
            let parts =
                all.flat_map(|(place, slo)| slo.parts().into_iter().map(move |part| (place, slo, part)));
            parts.map(move |(place, slo, part)| self.one(slos, loaded, place, (slo, part)))
        });
        let asked = stream::iter(asked.collect::<Vec<_>>()).buffered(CONCURRENT_MAX);
        Ok(runtime.block_on(asked.collect::<Vec<_>>()).into_iter().flatten().collect())
    }

    async fn one(
        &self,
        slos: &Slos,
        loaded: &Loaded,
        place: (&'static str, usize),
        (slo, part): (&Slo, Part),
    ) -> Vec<Answer> {
        let asked = slo.render(part, &self.values(loaded));
        let answer = |series, reading| {
            let (file, slo, asked) = (loaded.file.clone(), slo.clone(), asked.clone());
            Answer { file, slo, part, place, asked, series, reading }
        };
        let (Ok(promql), Some(server)) = (&asked, self.server(loaded)) else {
            return vec![answer(Labels::new(), None)];
        };
        let found = slos.query(&server, promql, slo.series, None).await;
        found.into_iter().map(|(series, reading)| answer(series, Some(reading))).collect()
    }

    fn server(&self, loaded: &Loaded) -> Option<Prometheus> {
        let own = loaded.policy.prometheus.as_ref()?.clone();
        Some(match &self.prometheus {
            Some(url) => crate::cli::elsewhere(own, url),
            None => own,
        })
    }

    /// What the placeholders stand for.
    fn values<'a>(&'a self, loaded: &'a Loaded) -> BTreeMap<&'a str, &'a str> {
        let mut values: BTreeMap<&str, &str> =
            loaded.policy.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let named = match &loaded.selector.name {
            Some(Pattern::Exact(name)) => Some(name),
            _ => None,
        };
        values.extend(self.application.as_ref().or(named).map(|name| ("application", name.as_str())));
        values.extend(self.set.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        values
    }
}

impl Answer {
    /// The word of what the value says by itself; none for a rule that takes more than one.
    fn says(&self) -> Option<&'static str> {
        match alone(&self.slo, self.part, self.reading.as_ref()?) {
            Outcome::Pass => Some("passes"),
            Outcome::Fail => Some("fails"),
            Outcome::Inconclusive => None,
        }
    }

    /// Its name, with the window that was filled in, and what came back.
    pub(super) fn line(&self) -> (String, String) {
        let shown = match (&self.asked, &self.reading) {
            (Err(name), _) => format!("not asked: `{{{{ {name} }}}}` has no value here"),
            (Ok(_), Some(reading)) => show_part(&self.slo, self.part, reading),
            (Ok(_), None) => "not asked".to_owned(),
        };
        let name = match self.part {
            Part::Value => self.slo.name.clone(),
            Part::Ratio(window) | Part::Events(window) => {
                format!("{} [{}]", self.slo.name, humantime::format_duration(window))
            }
        };
        let series = if self.series.is_empty() { String::new() } else { labels(&self.series) + " " };
        let says = self.says().map(|word| format!(": {word}")).unwrap_or_default();
        (name, printable(&(series + &shown)) + &says)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let (value, gap) = match &self.reading {
            Some(Reading::Value(value)) => (Some(*value), None),
            Some(Reading::Gap(gap)) => (None, Some(gap.to_string())),
            None => (None, Some(self.line().1)),
        };
        let mut told = json!({
            "file": self.file,
            "slo": self.slo.name,
            "query": self.asked.as_ref().ok(),
            "value": value,
            "gap": gap,
            "says": self.says(),
        });
        if let (false, Some(told)) = (self.series.is_empty(), told.as_object_mut()) {
            told.insert("series".to_owned(), json!(self.series));
        }
        told
    }

    /// Why there is no value, as a warning at the query.
    fn finding(&self) -> Option<Finding> {
        let (message, help) = match (&self.asked, &self.reading) {
            (Err(name), _) => {
                let option = if name == "application" { "--application" } else { "--set" };
                let value = if name == "application" { "NAME".to_owned() } else { format!("{name}=VALUE") };
                let message = format!("`{{{{ {name} }}}}` has no value here, so the query was not sent");
                (message, Some(format!("give `{option} {value}`")))
            }
            // That one of several has none is shown beside the others.
            (Ok(_), Some(Reading::Gap(gap))) if self.series.is_empty() => {
                (format!("the query has no value now: {gap}"), None)
            }
            (Ok(_), _) => return None,
        };
        let field: &[&str] = match self.part {
            Part::Value | Part::Ratio(_) => &["query"],
            Part::Events(_) => &["burnRate", "events"],
        };
        let mut path = vec![Step::Key(self.place.0.to_owned()), Step::Index(self.place.1)];
        path.extend(field.iter().map(|key| Step::Key((*key).to_owned())));
        Some(Finding { path, needle: None, code: Code::NoValueNow, message, help })
    }
}

/// The warnings about what has no value, with their places.
pub(super) fn warnings(files: &[SourceFile], answers: &[Answer]) -> Vec<Mistake> {
    let of = |file: &SourceFile| {
        let found = answers.iter().filter(|answer| answer.file == file.name).filter_map(Answer::finding);
        place(file, found.collect())
    };
    files.iter().flat_map(of).collect()
}

/// The URL of a server, without `/api/v1`.
fn url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("this is not a URL: {error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(text.to_owned()),
        _ => Err("write it like `http://prometheus.monitoring:9090`".to_owned()),
    }
}
