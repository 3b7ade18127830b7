//! One pretended sync, from its start to the verdict.

use std::collections::{BTreeMap, VecDeque};
use std::panic::resume_unwind;
use std::time::Duration;

use jiff::Timestamp;

use crate::engine::action::{Action, MeasureOrder, SloQuery};
use crate::engine::analysis::{App, AppState, LastGood, Phase, Seen, Sick};
use crate::engine::decide::{Context, step};
use crate::engine::entry::{Kind, LastGoodFrom};
use crate::engine::event::{Event, SloAnswer};
use crate::engine::facts::{
    AppKey, ApplicationFacts, HealthStatus, HistoryEntry, Operation, OperationPhase, Reading, Rendering,
    Revision, Revisions, RolloutFacts, Source, SourceKind, SyncStatus,
};
use crate::engine::judge::Verdict;
use crate::engine::judge::rollout::SickBefore;
use crate::engine::policy::Policy;
use crate::engine::time::{earlier, later};

/// Events that one rehearsal may take: an analysis of a day with a measurement each second, twice as long as it may
/// last. Only a fault of the engine's times reaches it.
const EVENTS_MAX: u32 = 400_000;

/// What the sources' specification is called before and after the sync: a sync to the same revision is one too.
const SPEC_BEFORE: &str = "before";
const SPEC: &str = "replayed";

/// How long the revision before had been running when the pretended sync began.
const RUNNING_BEFORE: Duration = Duration::from_secs(24 * 60 * 60);

/// What is pretended: a sync that began and succeeded at a time, of an application that is well but for its SLOs.
#[derive(Clone, Debug)]
pub struct Pretence {
    /// When the sync began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Which application, for `{{ application }}`.
    pub app: AppKey,
    /// Where its workloads live, for `{{ namespace }}`.
    pub namespace: String,
    /// What was synced, for `{{ revision }}`.
    pub revisions: Revisions,
    /// What ran before; may be the same.
    pub last_good: Revisions,
}

impl Pretence {
    /// A sync of this application at this time that took no time, where nothing depends on revisions.
    pub fn new(at: Timestamp, app: AppKey, namespace: impl Into<String>) -> Self {
        let revisions = Revisions::from(Revision::new("replayed"));
        let last_good = revisions.clone();
        Self { at, took: Duration::ZERO, app, namespace: namespace.into(), revisions, last_good }
    }
}

/// What was recorded: the answers to queries at past times.
pub trait Samples {
    /// The answers to one query, evaluated at these times: one for each, unless it gives several series that are judged
    /// each; in the order of the times.
    fn answers(&self, query: &SloQuery, times: &[Timestamp]) -> Vec<SloAnswer>;
}

impl<F: Fn(&SloQuery, Timestamp) -> Reading> Samples for F {
    fn answers(&self, query: &SloQuery, times: &[Timestamp]) -> Vec<SloAnswer> {
        times.iter().map(|at| SloAnswer::new(query, *at, self(query, *at))).collect()
    }
}

/// What would have happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// When the sync was pretended to begin.
    pub at: Timestamp,
    /// How the analysis ends.
    pub verdict: Verdict,
    /// When.
    pub decided_at: Timestamp,
    /// What was measured up to the verdict, in the order of time.
    pub looks: Vec<Look>,
    /// What was asked at each round since the sync.
    queries: Vec<SloQuery>,
}

impl Rehearsal {
    /// Without what was measured: of thousands of syncs that takes more memory than the history itself.
    #[must_use]
    pub fn without_looks(self) -> Self {
        Self { looks: Vec::new(), ..self }
    }

    /// What the queries would have given after the verdict, up to the analysis' end had there been none.
    pub fn aftermath(&self, policy: &Policy, pretence: &Pretence, samples: &dyn Samples) -> Vec<Look> {
        let end = later(later(pretence.at, pretence.took), policy.duration);
        let mut looks = Vec::new();
        let mut at = later(pretence.at, policy.interval);
        while at <= end && !policy.interval.is_zero() {
            if at <= self.decided_at {
                at = later(at, policy.interval);
                continue;
            }
            let answers = self.queries.iter().flat_map(|query| samples.answers(query, &[at]));
            looks.extend(answers.map(|answer| Look { answer, before: false }));
            at = later(at, policy.interval);
        }
        looks
    }

    /// The queries that were asked since the sync.
    pub fn queries(&self) -> &[SloQuery] {
        &self.queries
    }

    /// Why it ends so, in a sentence.
    pub fn reason(&self) -> String {
        match &self.verdict {
            Verdict::Healthy => "every signal passed".to_owned(),
            Verdict::Degraded(breaches) => sentences(breaches.iter().map(ToString::to_string)),
            Verdict::Inconclusive(open) => sentences(open.iter().cloned()),
        }
    }
}

fn sentences(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join("; ")
}

/// One answer that the engine got.
#[derive(Clone, Debug, PartialEq)]
pub struct Look {
    /// The answer.
    pub answer: SloAnswer,
    /// Whether it is of the time before the sync.
    pub before: bool,
}

/// Lets the engine watch a pretended sync until its verdict.
///
/// The queries of the daemon are sent at the times at which it would send them, so at the same times the same values are
/// judged: a range query and an instant query of the same time agree.
pub fn rehearse(policy: &Policy, pretence: &Pretence, samples: &dyn Samples) -> Rehearsal {
    let mut stage = Stage {
        policy,
        pretence,
        samples,
        app: before(pretence),
        looks: Vec::new(),
        asked: Vec::new(),
        queries: Vec::new(),
    };
    let mut now = pretence.at;
    let mut events = VecDeque::from([Event::Application(Box::new(application(pretence, true)))]);
    for _ in 0..EVENTS_MAX {
        let event = match events.pop_front() {
            Some(event) => event,
            None => match stage.app.state.wake_at(policy) {
                Some(at) => {
                    // A wake-up that is due already would never end.
                    now = if at > now { at } else { later(now, Duration::from_millis(1)) };
                    Event::Tick
                }
                None => break,
            },
        };
        match stage.take(event, now) {
            Ok(answers) => events.extend(answers),
            Err(verdict) => return stage.end(verdict, now),
        }
    }
    stage.end(Verdict::Inconclusive(vec!["the engine came to no end".to_owned()]), now)
}

/// Rehearses each of many syncs, on all cores; gives what is kept of each, in their order.
pub fn rehearse_each<T: Send>(
    policy: &Policy,
    pretences: &[Pretence],
    samples: &(dyn Samples + Sync),
    keep: impl Fn(Rehearsal) -> T + Sync,
) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = pretences.len().div_ceil(cores).max(1);
    let some =
        |some: &[Pretence]| some.iter().map(|sync| keep(rehearse(policy, sync, samples))).collect::<Vec<T>>();
    std::thread::scope(|scope| {
        let threads: Vec<_> = pretences.chunks(share).map(|share| scope.spawn(|| some(share))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

struct Stage<'a> {
    policy: &'a Policy,
    pretence: &'a Pretence,
    samples: &'a dyn Samples,
    app: App,
    /// In the order of the asking, each with the place of its query in `asked`.
    looks: Vec<(usize, Look)>,
    /// Each query that was asked, once.
    asked: Vec<SloQuery>,
    /// Of the newest round since the sync.
    queries: Vec<SloQuery>,
}

impl Stage<'_> {
    /// Takes an event in; the answers to what the engine asks, or its verdict.
    fn take(&mut self, event: Event, now: Timestamp) -> Result<Vec<Event>, Verdict> {
        let context =
            Context { policy: self.policy, cluster: "replay", now, others_degraded: 0, parent: None };
        let step = step(&self.pretence.app, std::mem::take(&mut self.app), event, &context);
        self.app = step.app;
        for entry in step.entries {
            if let Kind::AnalysisEnded { verdict, .. } = entry.kind {
                return Err(verdict);
            }
        }
        let asked = step.actions.into_iter().filter_map(|action| match action {
            Action::Measure(order) => Some(self.answer(&order, now)),
            // The copy of the repository is not needed, and all else follows a verdict.
            _ => None,
        });
        Ok(asked.collect())
    }

    fn answer(&mut self, order: &MeasureOrder, now: Timestamp) -> Event {
        let times = order.when.times(now);
        let before = order.round.number == 0;
        if !before {
            self.queries.clone_from(&order.queries);
        }
        let mut answers = Vec::new();
        for query in &order.queries {
            let given = self.samples.answers(query, &times);
            let place = self.place(query);
            if before {
                // What is asked for again replaces the first answer.
                self.looks
                    .retain(|(of, look)| *of != place || !look.before || !times.contains(&look.answer.at));
            }
            self.looks.extend(given.iter().map(|answer| (place, Look { answer: answer.clone(), before })));
            answers.extend(given);
        }
        Event::Measured { round: order.round, answers }
    }

    /// The place of a query among those that were asked.
    fn place(&mut self, query: &SloQuery) -> usize {
        self.asked.iter().position(|asked| asked == query).unwrap_or_else(|| {
            self.asked.push(query.clone());
            self.asked.len() - 1
        })
    }

    fn end(mut self, verdict: Verdict, now: Timestamp) -> Rehearsal {
        // By time, of one time that before the sync first.
        self.looks.sort_by_key(|(place, look)| (look.answer.at, !look.before, *place));
        let looks = self.looks.into_iter().map(|(_, look)| look).collect();
        Rehearsal { at: self.pretence.at, verdict, decided_at: now, looks, queries: self.queries }
    }
}

/// An application that nothing is wrong with, just before the sync.
fn before(pretence: &Pretence) -> App {
    let since = earlier(pretence.at, RUNNING_BEFORE);
    let state = AppState {
        phase: Phase::Idle { current: pretence.last_good.clone() },
        last_good: Some(LastGood {
            revisions: pretence.last_good.clone(),
            spec_digest: SPEC_BEFORE.to_owned(),
            dry_digest: None,
            tracked: Vec::new(),
            synced_at: None,
            at: since,
            from: LastGoodFrom::Analysis,
        }),
        sick: Some(Sick { what: SickBefore::default(), since }),
        ..AppState::default()
    };
    let rollout = RolloutFacts { at: pretence.at, workloads: Vec::new(), gap: None };
    App {
        state,
        seen: Seen {
            application: Some(Box::new(application(pretence, false))),
            rollout: Some(rollout),
            ..Seen::default()
        },
    }
}

/// The Application before or after the sync.
fn application(pretence: &Pretence, synced: bool) -> ApplicationFacts {
    let finished_at = later(pretence.at, pretence.took);
    let operation = Operation {
        phase: OperationPhase::Succeeded,
        revisions: Some(pretence.revisions.clone()),
        started_at: pretence.at,
        finished_at: Some(finished_at),
        retry_count: 0,
        dry_run: false,
        partial: false,
        resource_failed: false,
        spec_digest: SPEC.to_owned(),
        message: String::new(),
        initiated_by: "automated".to_owned(),
    };
    let (revisions, spec) =
        if synced { (&pretence.revisions, SPEC) } else { (&pretence.last_good, SPEC_BEFORE) };
    ApplicationFacts {
        app: pretence.app.clone(),
        uid: String::new(),
        project: "default".to_owned(),
        labels: BTreeMap::new(),
        sources: vec![Source {
            repo_url: String::new(),
            target_revision: "HEAD".to_owned(),
            kind: SourceKind::git(Rendering::plain(".")),
        }],
        spec_digest: spec.to_owned(),
        hydrated: false,
        dry: None,
        destination_cluster: String::new(),
        destination_namespace: pretence.namespace.clone(),
        in_cluster: true,
        auto_sync: true,
        operation_requested: false,
        operation: synced.then_some(operation),
        sync: SyncStatus::Synced,
        compared: Some(revisions.clone()),
        health: HealthStatus::Healthy,
        reconciled_at: Some(finished_at),
        history: vec![HistoryEntry {
            id: 0,
            revisions: revisions.clone(),
            started_at: Some(pretence.at),
            deployed_at: finished_at,
            initiated_by: None,
            spec_digest: spec.to_owned(),
        }],
        workloads: Vec::new(),
        parent: None,
        children: Vec::new(),
        resume: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::facts::Gap;
    use crate::engine::fixture;
    use crate::engine::judge::Signal;
    use crate::replay::fixture::policy;

    fn pretence() -> Pretence {
        let last_good = Revision::new("old").into();
        let new = Pretence::new(fixture::at(1000), AppKey::new("argocd", "shop"), "web");
        Pretence { last_good, ..new }
    }

    /// A sync at second 1000, with an error ratio of `bad` in these seconds and 0.01 else.
    fn check(bad: std::ops::Range<i64>, value: &Reading, expected: &str) {
        let samples = |_: &SloQuery, at: Timestamp| {
            if bad.contains(&at.as_second()) { value.clone() } else { Reading::Value(0.01) }
        };
        let told = rehearse(&policy(), &pretence(), &samples);
        let got = format!("{}: {}", told.decided_at.as_second(), told.reason());
        assert_eq!(got, expected, "{value:?} in {bad:?}");
    }

    #[test]
    fn a_verdict_falls_when_the_daemon_would_have_had_it() {
        let bad = &Reading::Value(0.3);
        check(0..0, bad, "1060: every signal passed");
        check(
            1005..2000,
            bad,
            "1030: slo `errors`: 3 of the latest 3 measurements failed, newest 0.3 (at most 0.05)",
        );
        check(
            1025..2000,
            bad,
            "1050: slo `errors`: 3 of the latest 5 measurements failed, newest 0.3 (at most 0.05)",
        );
        // Two of five are noise.
        check(1005..1025, bad, "1060: every signal passed");
        check(900..2000, bad, "1120: slo `errors` began to fail before the sync");
        check(
            0..2000,
            &Reading::Gap(Gap::NoData),
            "1120: slo `errors`: 0 passing and 0 failing of 5 measurements, newest no data: the query matched no series",
        );
    }

    #[test]
    fn queries_are_those_of_the_daemon() {
        let asked = std::cell::RefCell::new(std::collections::BTreeSet::new());
        let samples = |query: &SloQuery, at: Timestamp| {
            asked.borrow_mut().insert((at.as_second(), query.promql.clone()));
            Reading::Value(0.01)
        };
        let told = rehearse(&policy(), &pretence(), &samples);
        let of = |rev: &str| format!(r#"errors{{app="shop",rev="{rev}"}}"#);
        let before = [960, 970, 980, 990, 1000].map(|at| (at, of("old")));
        let after = [1010, 1020, 1030, 1040, 1050].map(|at| (at, of("replayed")));
        assert_eq!(asked.into_inner().into_iter().collect::<Vec<_>>(), [&before[..], &after[..]].concat());
        let looks = told.looks.iter().map(|look| (look.answer.at.as_second(), look.before));
        assert!(looks.eq((960..1060).step_by(10).map(|at| (at, at <= 1000))), "{:?}", told.looks);
    }

    #[test]
    fn a_sync_to_the_same_revision_is_one_too() {
        let same = Pretence { last_good: pretence().revisions, ..pretence() };
        let told = rehearse(&policy(), &same, &|_: &SloQuery, _: Timestamp| Reading::Value(0.01));
        assert_eq!((told.decided_at, told.verdict), (fixture::at(1060), Verdict::Healthy));
    }

    #[test]
    fn a_breach_names_its_signal() {
        let samples =
            |_: &SloQuery, at: Timestamp| Reading::Value(if at.as_second() > 1000 { 1.0 } else { 0.0 });
        let told = rehearse(&policy(), &pretence(), &samples);
        let Verdict::Degraded(breaches) = told.verdict else { panic!("{told:?}") };
        assert_eq!(breaches[0].signal, Signal::Slo("errors".into()));
    }
}
