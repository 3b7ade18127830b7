//! What is needed of the history, and what was fetched of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::rehearse::{Pretence, Samples, rehearse};
use crate::engine::action::SloQuery;
use crate::engine::event::SloAnswer;
use crate::engine::facts::{Gap, Reading};
use crate::engine::policy::{Policy, Series};
use crate::engine::samples::Labels;
use crate::engine::time::{earlier, later};

/// Steps between two needed stretches of one grid that are fetched along: one query costs more than as many values.
const BRIDGE_STEPS: i64 = 100;

/// One range query: all that is needed of one query at a stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The query, as it is sent.
    pub query: SloQuery,
    /// The first time.
    pub from: Timestamp,
    /// The last time.
    pub to: Timestamp,
    /// How far the times are apart.
    pub step: Duration,
}

impl Stretch {
    /// Its times.
    pub fn times(&self) -> Vec<Timestamp> {
        let mut times = Vec::new();
        let mut at = self.from;
        while at <= self.to && at < Timestamp::MAX {
            times.push(at);
            at = later(at, self.step);
        }
        times
    }

    /// The same in pieces of at most so many times.
    pub fn pieces(&self, most: u32) -> Vec<Self> {
        let length = self.step.saturating_mul(most.max(1));
        let mut pieces = Vec::new();
        let mut from = self.from;
        while from <= self.to && from < Timestamp::MAX {
            let next = later(from, length);
            let to = earlier(next, self.step).min(self.to);
            pieces.push(Self { from, to, ..self.clone() });
            from = next;
        }
        pieces
    }
}

/// What these pretended syncs together need, each query at each time once.
///
/// The engine itself says what it needs: it watches each pretended sync without an answer, and so to its latest end. It
/// is asked once for all syncs that differ only in their time, since what it asks for lies at the same distances.
pub fn needs(policy: &Policy, pretences: &[Pretence]) -> Vec<Stretch> {
    let step = i64::try_from(policy.interval.as_millis()).unwrap_or(i64::MAX).max(1);
    // By query and by where its times lie between two steps: the first and last step of each sync's stretches.
    let mut grids: BTreeMap<(Sent, i64), Grid> = BTreeMap::new();
    let mut scouted: Option<(&Pretence, Vec<Asked>)> = None;
    for pretence in pretences {
        let same = scouted.as_ref().is_some_and(|(first, _)| differ_only_in_time(first, pretence));
        if !same {
            scouted = Some((pretence, scout(policy, pretence)));
        }
        let at = pretence.at.as_millisecond();
        for asked in scouted.iter().flat_map(|(_, found)| found) {
            for (phase, steps) in stretches(at, &asked.distances, step) {
                let key = (sent(&asked.query), phase);
                let grid = grids.entry(key).or_insert_with(|| (asked.query.clone(), BTreeSet::new()));
                grid.1.extend(steps);
            }
        }
    }
    let stretch = |query: &SloQuery, phase: i64, (from, to): (i64, i64)| {
        let time = |k: i64| Timestamp::from_millisecond(k.saturating_mul(step).saturating_add(phase)).ok();
        let (query, step) = (query.clone(), Duration::from_millis(step.unsigned_abs()));
        Some(Stretch { query, from: time(from)?, to: time(to)?, step })
    };
    let merged = grids.iter().flat_map(|((_, phase), (query, steps))| {
        bridged(steps).into_iter().filter_map(move |one| stretch(query, *phase, one))
    });
    merged.collect()
}

/// A query as it is sent, and how its answer is read.
type Sent = (String, Series);

fn sent(query: &SloQuery) -> Sent {
    (query.promql.clone(), query.series)
}

/// A query, and the first and last step of each stretch of one grid at which it is needed.
type Grid = (SloQuery, BTreeSet<(i64, i64)>);

/// A query that the engine sends, and how far its times are from the sync, in milliseconds and in order.
struct Asked {
    query: SloQuery,
    distances: Vec<i64>,
}

fn differ_only_in_time(a: &Pretence, b: &Pretence) -> bool {
    let key =
        |p: &Pretence| (p.took, p.app.clone(), p.namespace.clone(), p.revisions.clone(), p.last_good.clone());
    key(a) == key(b)
}

/// What the engine asks where nothing is answered.
fn scout(policy: &Policy, pretence: &Pretence) -> Vec<Asked> {
    let asked: RefCell<BTreeMap<Sent, (SloQuery, BTreeSet<i64>)>> = RefCell::default();
    let notes = |query: &SloQuery, at: Timestamp| {
        let distance = at.as_millisecond() - pretence.at.as_millisecond();
        let mut asked = asked.borrow_mut();
        let known = asked.entry(sent(query)).or_insert_with(|| (query.clone(), BTreeSet::new()));
        known.1.insert(distance);
        Reading::Gap(Gap::NoData)
    };
    rehearse(policy, pretence, &notes);
    let asked = asked.into_inner().into_values();
    asked.map(|(query, distances)| Asked { query, distances: distances.into_iter().collect() }).collect()
}

/// The times as stretches of neighbouring steps, by where they lie between two steps.
fn stretches(at: i64, distances: &[i64], step: i64) -> BTreeMap<i64, Vec<(i64, i64)>> {
    let mut found: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    for distance in distances {
        let time = at.saturating_add(*distance);
        let (k, phase) = (time.div_euclid(step), time.rem_euclid(step));
        let of_phase = found.entry(phase).or_default();
        match of_phase.last_mut() {
            Some((_, to)) if k <= *to + 1 => *to = k,
            _ => of_phase.push((k, k)),
        }
    }
    found
}

/// Puts stretches together that overlap or nearly touch.
fn bridged(stretches: &BTreeSet<(i64, i64)>) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (from, to) in stretches {
        match merged.last_mut() {
            Some((_, end)) if *from <= end.saturating_add(BRIDGE_STEPS) => *end = (*end).max(*to),
            _ => merged.push((*from, *to)),
        }
    }
    merged
}

/// Answers by query and time, as they were fetched.
#[derive(Debug, Default)]
pub struct Recorded {
    queries: BTreeMap<Sent, Vec<Known>>,
    missed: AtomicBool,
}

#[derive(Debug)]
struct Known {
    from: i64,
    step: i64,
    answers: Vec<Kept>,
}

impl Known {
    fn at(&self, at: Timestamp) -> Option<&Kept> {
        let distance = at.as_millisecond() - self.from;
        let on = distance >= 0 && distance % self.step == 0;
        self.answers.get(usize::try_from(distance / self.step).ok()?).filter(|_| on)
    }
}

/// What is kept of the answers of one time: there are millions, and most are one number.
#[derive(Clone, Debug)]
enum Kept {
    Value(f64),
    NoData,
    /// A number for each of some series.
    Each(Box<[(Arc<Labels>, f64)]>),
    /// All else: other gaps.
    Whole(Box<[SloAnswer]>),
}

impl Known {
    /// What each series gave at each of the times.
    fn series(&self) -> Vec<Vec<Option<f64>>> {
        let mut series: BTreeMap<Labels, Vec<Option<f64>>> = BTreeMap::new();
        let mut put = |labels: &Labels, i: usize, value: f64| {
            let of_series = series.entry(labels.clone()).or_insert_with(|| vec![None; self.answers.len()]);
            if let Some(place) = of_series.get_mut(i) {
                *place = Some(value);
            }
        };
        let none = Labels::new();
        for (i, kept) in self.answers.iter().enumerate() {
            match kept {
                Kept::Value(value) => put(&none, i, *value),
                Kept::NoData => {}
                Kept::Each(numbers) => numbers.iter().for_each(|(labels, value)| put(labels, i, *value)),
                Kept::Whole(answers) => {
                    for answer in answers {
                        if let Reading::Value(value) = answer.reading {
                            put(&answer.series, i, value);
                        }
                    }
                }
            }
        }
        series.into_values().collect()
    }
}

impl Kept {
    fn of(answers: &[SloAnswer], known: &mut BTreeSet<Arc<Labels>>) -> Self {
        match answers {
            [SloAnswer { reading, series, .. }] if series.is_empty() => match reading {
                Reading::Value(value) => Self::Value(*value),
                Reading::Gap(Gap::NoData) => Self::NoData,
                Reading::Gap(_) => Self::Whole(answers.into()),
            },
            several => {
                let mut number = |answer: &SloAnswer| match answer.reading {
                    Reading::Value(value) => Some((shared(&answer.series, known), value)),
                    Reading::Gap(_) => None,
                };
                let numbers: Option<Vec<_>> = several.iter().map(&mut number).collect();
                numbers.map_or_else(|| Self::Whole(answers.into()), |numbers| Self::Each(numbers.into()))
            }
        }
    }

    /// Adds the answers as they were given to this query at this time.
    fn answer(&self, query: &SloQuery, at: Timestamp, answers: &mut Vec<SloAnswer>) {
        match self {
            Self::Value(value) => answers.push(SloAnswer::new(query, at, Reading::Value(*value))),
            Self::NoData => answers.push(SloAnswer::new(query, at, Reading::Gap(Gap::NoData))),
            Self::Each(numbers) => answers.extend(numbers.iter().map(|(series, value)| {
                SloAnswer::of_series(query, Labels::clone(series), at, Reading::Value(*value))
            })),
            // Their time is that of the answer, and their name that of whoever asked first.
            Self::Whole(whole) => {
                let (name, part) = (&query.slo, query.part);
                let own = |one: &SloAnswer| SloAnswer { slo: name.clone(), part, ..one.clone() };
                answers.extend(whole.iter().map(own));
            }
        }
    }
}

/// The same labels, once for all times.
fn shared(labels: &Labels, known: &mut BTreeSet<Arc<Labels>>) -> Arc<Labels> {
    if let Some(same) = known.get(labels) {
        return Arc::clone(same);
    }
    let new = Arc::new(labels.clone());
    known.insert(Arc::clone(&new));
    new
}

impl Recorded {
    /// Takes in what a range query gave: answers for each of its times, in whatever order.
    pub fn add(&mut self, stretch: &Stretch, mut answers: Vec<SloAnswer>) {
        answers.sort_by_key(|answer| answer.at);
        let mut series = BTreeSet::new();
        let known = Known {
            from: stretch.from.as_millisecond(),
            step: i64::try_from(stretch.step.as_millis()).unwrap_or(i64::MAX).max(1),
            answers: answers.chunk_by(|a, b| a.at == b.at).map(|one| Kept::of(one, &mut series)).collect(),
        };
        self.queries.entry(sent(&stretch.query)).or_default().push(known);
    }

    /// All that is known of a query, each stretch of each of its series by itself; none where there was no number.
    pub fn stretches(&self, query: &SloQuery) -> Vec<Vec<Option<f64>>> {
        let known = self.queries.get(&sent(query)).into_iter().flatten();
        known.flat_map(Known::series).collect()
    }

    /// Whether something was asked for that had not been fetched, so that what came out is worth nothing.
    pub fn missed(&self) -> bool {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Samples for Recorded {
    fn answers(&self, query: &SloQuery, times: &[Timestamp]) -> Vec<SloAnswer> {
        let known = self.queries.get(&sent(query)).map(Vec::as_slice).unwrap_or_default();
        let mut answers = Vec::with_capacity(times.len());
        for at in times {
            let found = known.iter().find_map(|known| known.at(*at));
            if found.is_none() {
                self.missed.store(true, Ordering::Relaxed);
            }
            found.unwrap_or(&Kept::NoData).answer(query, *at, &mut answers);
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::AppKey;
    use crate::engine::fixture::at;
    use crate::engine::policy::Part;
    use crate::replay::fixture::policy;

    fn syncs(times: &[i64]) -> Vec<Pretence> {
        let app = AppKey::new("argocd", "shop");
        times.iter().map(|time| Pretence::new(at(*time), app.clone(), "web")).collect()
    }

    /// What syncs at these seconds need of the policy's one query, as `from..to`.
    fn check(times: &[i64], expected: &[(i64, i64)]) {
        let needs = needs(&policy(), &syncs(times));
        let of = |one: &Stretch| (one.from.as_second(), one.to.as_second());
        assert_eq!(needs.iter().map(of).collect::<Vec<_>>(), expected, "{times:?}");
    }

    #[test]
    fn each_query_is_fetched_once_over_the_whole_span() {
        check(&[1000], &[(960, 1110)]);
        check(&[1000, 1010, 1500], &[(960, 1610)]);
        check(&[1000, 100_000], &[(960, 1110), (99_960, 100_110)]);
        // Times between the steps of another sync need a grid of their own.
        check(&[1000, 1003], &[(960, 1110), (963, 1113)]);
    }

    #[test]
    fn a_long_stretch_is_cut_into_pieces_without_a_seam() {
        let query =
            SloQuery { slo: "up".into(), part: Part::Value, series: Series::Refuse, promql: "up".into() };
        let stretch = Stretch { query, from: at(0), to: at(100), step: Duration::from_secs(10) };
        let of = |one: Stretch| (one.from.as_second(), one.to.as_second());
        let pieces = stretch.pieces(4).into_iter().map(of).collect::<Vec<_>>();
        assert_eq!(pieces, [(0, 30), (40, 70), (80, 100)]);
        assert_eq!(stretch.pieces(11), std::slice::from_ref(&stretch));
    }

    #[test]
    fn what_was_fetched_gives_the_same_verdict_and_nothing_is_missed() {
        let bad = |at: Timestamp| if at.as_second() > 1000 { 0.3 } else { 0.01 };
        let syncs = syncs(&[500, 1000]);
        let mut recorded = Recorded::default();
        for stretch in needs(&policy(), &syncs) {
            for piece in stretch.pieces(7) {
                let answer = |at| SloAnswer {
                    slo: String::new(),
                    part: Part::Value,
                    series: Labels::new(),
                    at,
                    reading: Reading::Value(bad(at)),
                };
                recorded.add(&piece, piece.times().into_iter().map(answer).collect());
            }
        }
        for sync in &syncs {
            let live = rehearse(&policy(), sync, &|_: &SloQuery, at: Timestamp| Reading::Value(bad(at)));
            assert_eq!(rehearse(&policy(), sync, &recorded), live);
        }
        assert!(!recorded.missed());
        rehearse(&policy(), &Pretence::new(at(1001), AppKey::new("argocd", "shop"), "web"), &recorded);
        assert!(recorded.missed(), "what lies between the steps was not fetched");
    }
    /// Two paths, of which one fails from second 1000 on.
    struct Paths;

    impl Samples for Paths {
        fn answers(&self, query: &SloQuery, times: &[Timestamp]) -> Vec<SloAnswer> {
            let of = |path: &str, at: Timestamp, value| {
                let labels = Labels::from([("path".to_owned(), path.to_owned())]);
                SloAnswer::of_series(query, labels, at, Reading::Value(value))
            };
            let bad = |at: Timestamp| if at.as_second() > 1000 { 0.3 } else { 0.02 };
            times.iter().flat_map(|at| [of("/a", *at, 0.01), of("/b", *at, bad(*at))]).collect()
        }
    }

    #[test]
    fn several_series_are_kept_by_their_labels() {
        let mut policy = policy();
        policy.slos[0].series = Series::Each;
        let syncs = syncs(&[500, 1000]);
        let mut recorded = Recorded::default();
        let needs = needs(&policy, &syncs);
        for stretch in &needs {
            recorded.add(stretch, Paths.answers(&stretch.query, &stretch.times()));
        }
        for (sync, word) in syncs.iter().zip(["passed", r#"{path="/b"} 3 of the latest 3"#]) {
            let told = rehearse(&policy, sync, &recorded);
            assert_eq!(told, rehearse(&policy, sync, &Paths));
            assert!(told.reason().contains(word), "{}", told.reason());
        }
        let stretches = recorded.stretches(&needs[0].query);
        let first: Vec<_> = stretches.iter().map(|one| one[0]).collect();
        assert_eq!(first, [Some(0.01), Some(0.02)]);
        // The same query where one number is wanted is another one.
        let one = SloQuery { series: Series::Refuse, ..needs[0].query.clone() };
        assert!(recorded.stretches(&one).is_empty());
    }
}
