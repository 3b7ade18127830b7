//! `step`: the only place where a state changes.
//!
//! A step first takes the event in, then advances the phase as far as what is known and the time allow. Advancing
//! depends on the state of things and not on which event brought it, so repeated, reordered and spurious events are
//! harmless.

mod adopting;
mod analysing;
mod asked;
mod confirming;
mod proposing;
mod reverting;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::action::{Action, MeasureOrder, Round, SloQuery, When};
use super::analysis::{App, Hold, OperationId, Phase, Sick, Stage};
use super::entry::{Entry, HoldEndedBy, Kind, Why};
use super::event::{Event, SloAnswer};
use super::facts::{AppKey, ApplicationFacts, Gap, Operation, OperationPhase, Revisions};
use super::judge::rollout::SickBefore;
use super::judge::slo::{Past, kept};
use super::origin::Written;
use super::policy::{Part, Policy, Series, Slo};
use super::samples::{Labels, Line, Lines, Sample};

/// What a step may look at beside the application itself.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The rules.
    pub policy: &'a Policy,
    /// The daemon's cluster name.
    pub cluster: &'a str,
    /// The time.
    pub now: Timestamp,
    /// How many other applications are sick now, from other causes.
    pub others_degraded: u32,
    /// What the application that writes this one's specification was synced to, where that is known.
    pub parent: Option<&'a Written>,
}

/// What a step gives.
#[derive(Debug)]
#[must_use = "the state must be saved before the actions are carried out"]
pub struct Step {
    /// The application's new state.
    pub app: App,
    /// What to do, once the state is saved.
    pub actions: Vec<Action>,
    /// What to record.
    pub entries: Vec<Entry>,
}

/// Phases that one step may pass through: no story has more, so this only bounds a fault.
const PHASES_MAX: usize = 8;

/// How long an answer to a revert is waited for before it is asked for again: longer than the act's own deadline, so
/// that two tries do not overlap (it would be harmless, since each looks first).
pub const REVERT_ANSWER_MAX: std::time::Duration = std::time::Duration::from_secs(90);

/// Takes one event in.
///
/// Pure: the same arguments give the same step. The caller saves the state, then records the entries and carries out
/// the actions; a caller that cannot save drops the step.
pub fn step(key: &AppKey, app: App, event: Event, context: &Context<'_>) -> Step {
    let mut turn = Turn { key, context, app, actions: Vec::new(), entries: Vec::new() };
    turn.absorb(event);
    turn.end_hold_by_person();
    turn.watch_sickness();
    for _ in 0..PHASES_MAX {
        if !turn.advance() {
            break;
        }
    }
    turn.withdraw_what_is_needless();
    // What an analysis left behind is what the next one begins with, whether or not anything is seen in between.
    turn.watch_sickness();
    turn.note_operation();
    let Turn { app, actions, entries, .. } = turn;
    Step { app, actions, entries }
}

/// The application with what an event brought, before anything follows from it: what a step decides from.
pub fn informed(key: &AppKey, app: App, event: Event, context: &Context<'_>) -> App {
    let mut turn = Turn { key, context, app, actions: Vec::new(), entries: Vec::new() };
    turn.absorb(event);
    turn.app
}

/// The queries of a policy as they are sent for these revisions.
pub fn queries(key: &AppKey, app: App, context: &Context<'_>, revisions: &Revisions) -> Vec<SloQuery> {
    let turn = Turn { key, context, app, actions: Vec::new(), entries: Vec::new() };
    turn.queries(all_parts(context.policy.slos.iter()), revisions)
}

/// A step in the making.
struct Turn<'a> {
    key: &'a AppKey,
    context: &'a Context<'a>,
    app: App,
    actions: Vec<Action>,
    entries: Vec<Entry>,
}

impl Turn<'_> {
    fn absorb(&mut self, event: Event) {
        match event {
            Event::Application(application) => {
                if let (None, Phase::Reverting(r)) = (&self.app.seen.application, &mut self.app.state.phase) {
                    // The first look after a start, which the intent waits for.
                    r.retry_at = self.context.now;
                }
                self.app.seen.application = Some(application);
            }
            Event::Rollout(rollout) => self.app.seen.rollout = Some(rollout),
            Event::Measured { round, answers } => self.absorb_answers(round, &answers),
            Event::Reverted { rollback, outcome } => self.reverted(&rollback, outcome),
            Event::Withdrawn { rollback, outcome } => self.withdrawn(&rollback, outcome),
            Event::Related(relation) => self.related(relation),
            Event::Asked { because, to } => self.asked(because, to.as_deref()),
            Event::Started => self.resume(),
            Event::Tick => {}
        }
    }

    /// After a start: what has no answer is asked for again, and time that nobody watched does not count as waiting.
    fn resume(&mut self) {
        let (now, interval) = (self.context.now, self.context.policy.interval);
        let missed = |due: Timestamp| now > super::time::later(due, interval);
        match &mut self.app.state.phase {
            Phase::New | Phase::Idle { .. } => {}
            Phase::Adopting(a) => a.next_round_at = now,
            Phase::Analysing(a) if missed(a.next_round_at) => a.seen_at = now,
            Phase::Analysing(_) => {}
            Phase::Reverting(r) => {
                (r.since, r.retry_at) = (now, now);
                if let Some(waiting) = &mut r.waiting {
                    waiting.since = now;
                }
            }
            Phase::Confirming(c) => match &mut c.stage {
                Stage::Landing { since, next_refresh_at, .. } => (*since, *next_refresh_at) = (now, now),
                Stage::Recovering(r) if missed(r.next_round_at) => r.since = now,
                Stage::Recovering(_) => {}
            },
        }
    }

    /// Moves on by one phase if things allow; false when nothing more happens now.
    fn advance(&mut self) -> bool {
        match &self.app.state.phase {
            Phase::New => self.first_sight(),
            Phase::Adopting(_) => self.advance_adopting(),
            Phase::Idle { .. } => self.begin_analysis_if_newer(None),
            Phase::Analysing(_) => self.advance_analysing(),
            Phase::Reverting(_) => self.advance_reverting(),
            Phase::Confirming(_) => self.advance_confirming(),
        }
    }

    fn record(&mut self, kind: Kind) {
        self.entries.push(Entry { at: self.context.now, app: self.key.clone(), kind });
    }

    /// Stops acting; an earlier hold stays the one in force.
    fn hold(&mut self, bad: &Revisions, why: Why) {
        if let Some(hold) = &self.app.state.hold {
            let id = hold.id.clone();
            self.record(Kind::Refrained { id });
            return;
        }
        let id = format!("{}-{}", bad.short(), self.context.now.as_second());
        self.app.state.hold = Some(Hold { id: id.clone(), why: why.clone(), since: self.context.now });
        self.record(Kind::HoldBegan { id, why });
    }

    fn end_hold(&mut self, by: HoldEndedBy) {
        if let Some(hold) = self.app.state.hold.take() {
            self.record(Kind::HoldEnded { id: hold.id, by });
        }
    }

    fn end_hold_by_person(&mut self) {
        let resume = self.app.seen.application.as_ref().and_then(|a| a.resume.as_deref());
        if self.app.state.hold.as_ref().is_some_and(|hold| resume == Some(hold.id.as_str())) {
            self.end_hold(HoldEndedBy::Person);
        }
    }

    /// Remembers operations that bring nothing new, and whether the newest that ended had failed.
    fn note_operation(&mut self) {
        let Some(application) = &self.app.seen.application else { return };
        let Some(operation) = application.operation.as_ref().filter(|o| o.is_whole()) else { return };
        let newer = newer_operation(application, &self.app).is_some();
        let state = &mut self.app.state;
        let Some(revisions) =
            operation.revisions.as_ref().filter(|r| !newer && state.phase.current() == Some(*r))
        else {
            return;
        };
        state.operation = Some(OperationId::of(operation, revisions));
        match operation.phase {
            OperationPhase::Succeeded => state.sync_failed = false,
            OperationPhase::Failed if !operation.is_terminated() => state.sync_failed = true,
            OperationPhase::Failed
            | OperationPhase::Running
            | OperationPhase::Terminating
            | OperationPhase::Error => {}
        }
    }

    /// While no analysis runs, what is sick is kept as the "before" of the next one.
    fn watch_sickness(&mut self) {
        let now = self.context.now;
        let resting = match &self.app.state.phase {
            Phase::Adopting(_) | Phase::Idle { .. } => true,
            Phase::New | Phase::Analysing(_) | Phase::Reverting(_) | Phase::Confirming(_) => false,
        };
        let (Some(application), Some(rollout)) = (&self.app.seen.application, &self.app.seen.rollout) else {
            return;
        };
        // Of another cluster only Argo CD's health is known, and that is enough for Argo CD's health to convict.
        let blind = rollout.gap.as_ref().is_some_and(|gap| *gap != Gap::OtherCluster);
        if !resting || blind {
            return;
        }
        let until = newer_operation(application, &self.app).map(|o| o.started_at);
        let degraded = self.app.state.sick.as_ref().map(|sick| sick.what.degraded);
        let rules = &self.context.policy.rollout;
        let Some(what) = SickBefore::of(application, rollout, rules, until, degraded) else { return };
        if self.app.state.sick.as_ref().is_none_or(|sick| sick.what != what) {
            self.app.state.sick = Some(Sick { what, since: now });
        }
    }

    fn absorb_answers(&mut self, round: Round, answers: &[SloAnswer]) {
        let policy = self.context.policy;
        match &mut self.app.state.phase {
            Phase::Adopting(a) if round.began_at == a.began_at && round.number == a.round => {
                a.passed = adopting::passed(&policy.slos, answers);
            }
            Phase::Analysing(a) if round.began_at == a.seen_at => {
                if round.number == 0 {
                    note_before(&mut a.before, policy, answers);
                    note_past(&mut self.app.seen.past, policy, a.baseline_at, answers);
                } else {
                    let (before, periods) = (&a.before, &self.app.seen.past);
                    note(&mut a.after, policy, answers, |slo, part| {
                        seen_before((slo, part), before, periods)
                    });
                }
            }
            Phase::Confirming(c) => {
                if let Stage::Recovering(r) = &mut c.stage
                    && round.began_at == r.since
                {
                    note(&mut r.after, policy, answers, |_, _| BTreeSet::new());
                }
            }
            // An answer that nobody waits for any more.
            Phase::New
            | Phase::Adopting(_)
            | Phase::Idle { .. }
            | Phase::Analysing(_)
            | Phase::Reverting(_) => {}
        }
    }

    /// The queries for these parts of SLOs with their placeholders filled in.
    fn queries<'s>(
        &self,
        parts: impl Iterator<Item = (&'s Slo, Part)>,
        revisions: &Revisions,
    ) -> Vec<SloQuery> {
        let Some(application) = &self.app.seen.application else { return Vec::new() };
        let revision = revisions.to_string();
        let policy = self.context.policy;
        let mut values: BTreeMap<&str, &str> =
            policy.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        values.insert("application", &self.key.name);
        values.insert("namespace", &application.destination_namespace);
        values.insert("revision", &revision);
        let query = |(slo, part): (&Slo, Part)| {
            // The policy was refused if it named a variable that it doesn't have.
            let promql = slo.render(part, &values).ok()?;
            Some(SloQuery { slo: slo.name.clone(), part, series: slo.series, promql })
        };
        parts.filter_map(query).collect()
    }

    fn measure(&mut self, round: Round, when: When, queries: Vec<SloQuery>) {
        if !queries.is_empty() {
            self.actions.push(Action::Measure(MeasureOrder { round, when, queries }));
        }
    }
}

/// All that is asked for these SLOs.
fn all_parts<'s>(slos: impl Iterator<Item = &'s Slo>) -> impl Iterator<Item = (&'s Slo, Part)> {
    slos.flat_map(|slo| slo.parts().into_iter().map(move |part| (slo, part)))
}

/// Takes in answers; `known` are the series of a part of an SLO that were there before.
fn note(
    lines: &mut BTreeMap<String, Lines>,
    policy: &Policy,
    answers: &[SloAnswer],
    known: impl Fn(&Slo, Part) -> BTreeSet<Labels>,
) {
    for (slo, part) in all_parts(policy.asked()) {
        let own = answers.iter().filter(|answer| answer.slo == slo.name && answer.part == part);
        let mut own: Vec<&SloAnswer> = own.collect();
        if own.is_empty() {
            continue;
        }
        let (lines, most) = (lines.entry(slo.name.clone()).or_default(), kept(slo, policy));
        match slo.series {
            Series::Refuse => {
                for answer in own {
                    lines.add(part, &answer.series, Sample::new(answer.at, answer.reading.clone()), most);
                }
            }
            Series::Each => {
                let known = known(slo, part);
                own.sort_by_key(|answer| answer.at);
                for of_time in own.chunk_by(|a, b| a.at == b.at) {
                    let all: Vec<_> = of_time.iter().map(|a| (&a.series, &a.reading)).collect();
                    let at = of_time.first().map_or(Timestamp::MIN, |answer| answer.at);
                    lines.take(part, at, &all, &known, most);
                }
            }
        }
    }
}

/// The series of a part of an SLO that had values before the sync.
fn seen_before(
    (slo, part): (&Slo, Part),
    before: &BTreeMap<String, Lines>,
    periods: &BTreeMap<String, Past>,
) -> BTreeSet<Labels> {
    let has_values = |line: &Line| line.samples().iter().any(|sample| sample.value().is_some());
    let lines = before.get(&slo.name).into_iter().flat_map(|lines| lines.of(part));
    let limited = lines.filter(|(_, line)| has_values(line)).map(|(labels, _)| labels);
    let statistical = periods.get(&slo.name).into_iter().flat_map(|period| period.labels(part));
    limited.chain(statistical).cloned().collect()
}

/// Of the time before the sync, what fixed limits look at is saved.
fn note_before(lines: &mut BTreeMap<String, Lines>, policy: &Policy, answers: &[SloAnswer]) {
    let statistical =
        |answer: &&SloAnswer| policy.slos.iter().any(|slo| slo.name == answer.slo && slo.rule.tests() > 0);
    let others: Vec<SloAnswer> = answers.iter().filter(|answer| !statistical(answer)).cloned().collect();
    note(lines, policy, &others, |_, _| BTreeSet::new());
}

/// Prepares what statistics need of the time before; that is not saved.
fn note_past(
    past: &mut BTreeMap<String, Past>,
    policy: &Policy,
    baseline_at: Timestamp,
    answers: &[SloAnswer],
) {
    for slo in &policy.slos {
        if slo.rule.tests() > 0 {
            let own: Vec<_> = answers.iter().filter(|answer| answer.slo == slo.name).collect();
            past.entry(slo.name.clone()).or_default().note(slo, policy, baseline_at, &own);
        }
    }
}

/// The newest operation, if it brings something that has not been dealt with: a revision, or another specification of
/// what to render from the same one.
fn newer_operation<'a>(application: &'a ApplicationFacts, app: &App) -> Option<&'a Operation> {
    let operation = application.operation.as_ref().filter(|o| o.is_whole())?;
    let revisions = operation.revisions.as_ref()?;
    let this = OperationId::of(operation, revisions);
    let done = app.state.operation.as_ref();
    if done.is_some_and(|done| this.started_at < done.started_at || this == *done) {
        return None;
    }
    let good = app.state.last_good.as_ref().filter(|good| Some(&good.revisions) == app.state.phase.current());
    let before = done.map(|done| &done.spec_digest).or(good.map(|good| &good.spec_digest));
    let same_spec = before
        .is_none_or(|before| *before == this.spec_digest || before.is_empty() || this.spec_digest.is_empty());
    (app.state.phase.current() != Some(revisions) || !same_spec).then_some(operation)
}

/// The time of the next round: one interval on, without making up for those that were missed.
fn next_round(due: Timestamp, interval: std::time::Duration, now: Timestamp) -> Timestamp {
    let next = super::time::later(due, interval);
    if next > now { next } else { super::time::later(now, interval) }
}
