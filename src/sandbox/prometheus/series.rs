//! Time series: counters of the shop's requests, scraped from its pods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use promql_parser::label::Matchers;
use serde_json::Value;

use crate::sandbox::apiserver::{PODS, Store};
use crate::sandbox::clock::{between, later};
use crate::sandbox::json::{list, text};
use crate::sandbox::reconciler::{Behaviour, is_ready};

/// The label that holds a metric's name.
pub(super) const NAME: &str = "__name__";

/// How often pods are scraped: dense, so that ranges of a few seconds have enough samples.
const SCRAPE_EVERY: Duration = Duration::from_millis(250);

/// How long samples are kept.
const RETENTION: Duration = Duration::from_secs(900);

/// How far back an instant query looks for a sample, Prometheus' default.
pub(super) const LOOKBACK_SECONDS: f64 = 300.0;

/// Requests per second to one application, shared evenly by its ready pods.
const REQUESTS_PER_SECOND: f64 = 60.0;

/// The part of the requests that a good version answers with an error: nothing is perfect.
const ERRORS_OF_GOOD: f64 = 0.002;

/// The part of the requests that a version whose tag says `errors` answers with an error.
const ERRORS_OF_BAD: f64 = 0.3;

pub(super) type Labels = BTreeMap<String, String>;

/// One value of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Seconds since 1970.
    pub(super) at: f64,
    /// None is Prometheus' staleness marker: the target was gone.
    pub(super) value: Option<f64>,
}

/// All series, and what feeds them.
#[derive(Debug, Default)]
pub(super) struct Database {
    series: BTreeMap<Labels, VecDeque<Sample>>,
    /// The counters inside the pods, by uid.
    pods: BTreeMap<String, Counters>,
    last: Option<Timestamp>,
    next: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    good: f64,
    bad: f64,
}

/// Seconds since 1970, with milliseconds.
pub(super) fn seconds(at: Timestamp) -> f64 {
    at.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

impl Database {
    /// Lets the requests since the last call happen, and scrapes when it is time.
    pub(super) fn tick(&mut self, store: &Store, reachable: bool, now: Timestamp) {
        let passed = self.last.replace(now).map_or(Duration::ZERO, |last| between(last, now));
        let ready: Vec<_> = store
            .objects(&PODS)
            .into_iter()
            .filter(|pod| is_ready(pod) && text(pod, "/metadata/deletionTimestamp").is_empty())
            .collect();
        let mut pods_of: BTreeMap<Labels, u32> = BTreeMap::new();
        for pod in &ready {
            *pods_of.entry(app_labels(pod)).or_default() += 1;
        }
        for pod in &ready {
            let share = pods_of.get(&app_labels(pod)).map_or(1.0, |pods| f64::from(*pods));
            let requests = REQUESTS_PER_SECOND / share * passed.as_secs_f64();
            let errors = errors(pod);
            let counters = self.pods.entry(text(pod, "/metadata/uid").to_owned()).or_default();
            counters.bad += requests * errors;
            counters.good += requests * (1.0 - errors);
        }
        let alive: BTreeSet<&str> = ready.iter().map(|pod| text(pod, "/metadata/uid")).collect();
        self.pods.retain(|uid, _| alive.contains(uid.as_str()));
        if self.next.is_none_or(|next| now >= next) {
            self.next = Some(later(now, SCRAPE_EVERY));
            self.scrape(if reachable { &ready } else { &[] }, now);
        }
    }

    fn scrape(&mut self, targets: &[std::sync::Arc<Value>], now: Timestamp) {
        let at = seconds(now);
        let mut answered = BTreeSet::new();
        for pod in targets {
            let counters = self.pods.get(text(pod, "/metadata/uid")).copied().unwrap_or_default();
            for (code, count) in [("200", counters.good), ("500", counters.bad)] {
                let mut labels = app_labels(pod);
                labels.insert(NAME.to_owned(), "http_requests_total".to_owned());
                labels.insert("pod".to_owned(), text(pod, "/metadata/name").to_owned());
                labels.insert("code".to_owned(), code.to_owned());
                // A counter counts whole requests.
                self.add(labels.clone(), Sample { at, value: Some(count.floor()) });
                answered.insert(labels);
            }
        }
        let gone: Vec<Labels> = self
            .series
            .iter()
            .filter(|(labels, samples)| {
                !answered.contains(*labels) && samples.back().is_some_and(|last| last.value.is_some())
            })
            .map(|(labels, _)| labels.clone())
            .collect();
        for labels in gone {
            self.add(labels, Sample { at, value: None });
        }
        let oldest = at - RETENTION.as_secs_f64();
        self.series.retain(|_, samples| {
            while samples.front().is_some_and(|sample| sample.at < oldest) {
                samples.pop_front();
            }
            !samples.is_empty()
        });
    }

    fn add(&mut self, labels: Labels, sample: Sample) {
        self.series.entry(labels).or_default().push_back(sample);
    }

    /// The series that match, each with its samples after `from` and up to `to`.
    pub(super) fn select(
        &self,
        name: Option<&str>,
        matchers: &Matchers,
        from: f64,
        to: f64,
    ) -> Vec<(Labels, Vec<Sample>)> {
        self.series
            .iter()
            .filter(|(labels, _)| matches(labels, name, matchers))
            .map(|(labels, samples)| {
                let inside = samples.iter().filter(|sample| sample.at > from && sample.at <= to);
                (labels.clone(), inside.copied().collect())
            })
            .collect()
    }
}

fn matches(labels: &Labels, name: Option<&str>, matchers: &Matchers) -> bool {
    let label = |name: &str| labels.get(name).map_or("", String::as_str);
    let all = |terms: &[promql_parser::label::Matcher]| {
        terms.iter().all(|matcher| matcher.is_match(label(&matcher.name)))
    };
    name.is_none_or(|name| label(NAME) == name)
        && all(&matchers.matchers)
        && (matchers.or_matchers.is_empty() || matchers.or_matchers.iter().any(|terms| all(terms)))
}

fn app_labels(pod: &Value) -> Labels {
    let app = text(pod, "/metadata/labels/app").to_owned();
    let namespace = text(pod, "/metadata/namespace").to_owned();
    BTreeMap::from([("app".to_owned(), app), ("namespace".to_owned(), namespace)])
}

fn errors(pod: &Value) -> f64 {
    let bad = list(pod, "/spec/containers")
        .iter()
        .any(|container| Behaviour::of(text(container, "/image")) == Behaviour::Errors);
    if bad { ERRORS_OF_BAD } else { ERRORS_OF_GOOD }
}
