//! The clock, the daemon, and what answers its questions. Nothing moves but by the script, the engine's wake-ups and
//! the answers to its actions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use lastgood::engine::action::{
    Action, Culprit, Delivery, MeasureOrder, Proposed, Refusal, RelateOrder, Relation, RevertOrder,
    RevertOutcome, RevertPart, RevertRecord, RevertedPart, SloQuery, Touched,
};
use lastgood::engine::analysis::{App, AppState, Seen};
use lastgood::engine::decide::{Context, step};
use lastgood::engine::entry::Entry;
use lastgood::engine::event::{Event, SloAnswer};
use lastgood::engine::facts::{AppKey, ApplicationFacts, Gap, Reading, Revision, RolloutFacts};
use lastgood::engine::forge::{ProposedPart, PullRequest, PullRequestState, WithdrawOrder};
use lastgood::engine::laws;
use lastgood::engine::origin::Written;
use lastgood::engine::policy::Policy;
use lastgood::engine::samples::Labels;

use crate::script::Script;
use crate::story::{Names, Story, asked};
use crate::verbs;

/// Steps of one history: far more than any needs, so that only a busy loop reaches it.
const STEPS_MAX: u32 = 20_000;

/// How events reach the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// As they happen.
    Once,
    /// Each a second time right after the first.
    Twice,
    /// The daemon dies and starts anew after the first event of every moment.
    WithRestarts,
}

/// What Git answers to a revert.
#[derive(Clone)]
pub enum Git {
    Pushes,
    Says(Box<RevertOutcome>),
    AlreadyReverted(Revision),
    /// Pushes, and files of others are changed.
    Touches(Vec<Touched>),
    /// Only the first repository takes it.
    Partly,
    /// The branch is protected.
    Protected,
    Silent,
}

/// The forge, and the one pull request there.
pub enum Forge {
    /// A pull request is open, or will be when it is asked for.
    Is(PullRequestState),
    /// It does not answer.
    Down,
    /// There is none that is known.
    Unknown,
}

pub struct World {
    pub now: Timestamp,
    pub app: AppKey,
    pub policy: Policy,
    pub names: Names,
    pub application: Option<ApplicationFacts>,
    pub rollout: Option<RolloutFacts>,
    /// The values of each SLO, oldest first.
    pub values: BTreeMap<String, Vec<(Timestamp, Reading)>>,
    pub prometheus_down: bool,
    pub prometheus_delay: Duration,
    pub git: Git,
    pub git_delay: Duration,
    pub forge: Forge,
    /// Pull requests that were withdrawn.
    withdrawn: BTreeSet<String>,
    /// Whether Git can tell how revisions are related.
    pub git_down: bool,
    /// (ancestor, descendant) -> content of the descendant, whether it is the ancestor's.
    pub relations: BTreeMap<(Revision, Revision), (String, bool)>,
    pub others_degraded: u32,
    /// The Application that writes this one.
    pub parent: Option<ApplicationFacts>,
    pub pods: BTreeMap<String, Timestamp>,
    pub story: Story,
    deliver: Deliver,
    /// None while the daemon is stopped.
    daemon: Option<App>,
    saved: String,
    pending: Vec<(Timestamp, Event)>,
    journal: Vec<Entry>,
    steps: u32,
    restarted_at: Timestamp,
}

impl World {
    pub fn play(script: &Script, deliver: Deliver) -> Result<Self, String> {
        let start = Timestamp::from_second(1_750_000_000).unwrap();
        let mut world = Self {
            now: start,
            app: AppKey::new("argocd", "shop"),
            policy: verbs::policy(),
            names: Names::default(),
            application: None,
            rollout: None,
            values: BTreeMap::new(),
            prometheus_down: false,
            prometheus_delay: Duration::ZERO,
            git: Git::Pushes,
            git_delay: Duration::from_secs(1),
            forge: Forge::Is(PullRequestState::Open),
            withdrawn: BTreeSet::new(),
            git_down: false,
            relations: BTreeMap::new(),
            others_degraded: 0,
            parent: None,
            pods: BTreeMap::new(),
            story: Story::new(start),
            deliver,
            daemon: Some(App::default()),
            saved: serde_json::to_string(&AppState::default()).unwrap(),
            pending: Vec::new(),
            journal: Vec::new(),
            steps: 0,
            restarted_at: start,
        };
        for line in &script.lines {
            world.pass_time_until(start + line.at)?;
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            let events =
                verbs::happen(&mut world, &words).map_err(|why| format!("`{}`: {why}", words.join(" ")))?;
            for event in events {
                world.give(event)?;
            }
        }
        world.pass_time_until(world.now)?;
        let state: AppState = serde_json::from_str(&world.saved).unwrap();
        world.story.end(world.now, &state, &world.policy, &world.names);
        Ok(world)
    }

    /// Answers and wake-ups up to and at `until`.
    fn pass_time_until(&mut self, until: Timestamp) -> Result<(), String> {
        loop {
            let answer = self.pending.iter().map(|(at, _)| *at).min();
            let wake = self.daemon.as_ref().and_then(|app| app.state.wake_at(&self.policy));
            let next = answer.into_iter().chain(wake).min().map(|at| at.max(self.now));
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = next;
            if answer.is_some_and(|at| at <= next) {
                let first = self.pending.iter().position(|(at, _)| Some(*at) == answer).unwrap();
                let (_, event) = self.pending.remove(first);
                self.give(event)?;
            } else {
                self.give(Event::Tick)?;
            }
        }
        self.now = until;
        Ok(())
    }

    fn give(&mut self, event: Event) -> Result<(), String> {
        self.take(event.clone())?;
        match self.deliver {
            Deliver::Twice if !matches!(event, Event::Started) => self.take(event)?,
            // A start takes time; without this, the answers to what a start asks would never end.
            Deliver::WithRestarts if self.daemon.is_some() && self.restarted_at < self.now => {
                self.restarted_at = self.now;
                self.stop();
                for event in self.started() {
                    self.take(event)?;
                }
            }
            Deliver::Once | Deliver::Twice | Deliver::WithRestarts => {}
        }
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), String> {
        // What reaches nobody is lost.
        let Some(app) = self.daemon.take() else { return Ok(()) };
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(format!("a busy loop: {STEPS_MAX} steps by {}", self.now));
        }
        let tick = matches!(event, Event::Tick);
        let written = self.parent.as_ref().and_then(Written::by);
        let context = Context {
            policy: &self.policy,
            cluster: "test",
            now: self.now,
            others_degraded: self.others_degraded,
            parent: written.as_ref(),
        };
        let step = step(&self.app, app, event, &context);
        if tick && step.app.state.wake_at(&self.policy).is_some_and(|at| at <= self.now) {
            return Err(format!(
                "a tick at {} asks for another at once: {:?}",
                self.now, step.app.state.phase
            ));
        }
        self.saved = serde_json::to_string(&step.app.state).unwrap();
        let read: AppState = serde_json::from_str(&self.saved).unwrap();
        if read != step.app.state {
            return Err(format!("the state changes when it is saved: {}", self.saved));
        }
        self.daemon = Some(step.app);
        for entry in step.entries {
            self.story.entry(&entry, &self.names);
            self.journal.push(entry);
        }
        laws::check(&self.journal, &self.policy).map_err(|violation| violation.to_string())?;
        for action in step.actions {
            self.story.action(self.now, &action, &self.names);
            self.carry_out(action);
        }
        Ok(())
    }

    /// The daemon dies; what was on its way to it is lost.
    pub fn stop(&mut self) {
        self.daemon = None;
        self.pending.clear();
    }

    /// A daemon starts with what was saved; its clock may be faster than its watches, which bring everything again.
    pub fn started(&mut self) -> Vec<Event> {
        let state = serde_json::from_str(&self.saved).unwrap();
        self.daemon = Some(App { state, seen: Seen::default() });
        let application = self.application.clone().map(|a| Event::Application(Box::new(a)));
        let rollout = self.rollout.clone().map(Event::Rollout);
        [Event::Started, Event::Tick].into_iter().chain(application).chain(rollout).collect()
    }

    /// The hold in force, for a person to name.
    pub fn hold(&self) -> Option<String> {
        let state: AppState = serde_json::from_str(&self.saved).unwrap();
        state.hold.map(|hold| hold.id)
    }

    fn carry_out(&mut self, action: Action) {
        let (delay, answer) = match action {
            Action::Measure(order) => (self.prometheus_delay, Some(self.measure(&order))),
            Action::Revert(order) => {
                let outcome = self.revert(&order);
                let rollback = order.rollback;
                (self.git_delay, outcome.map(|outcome| Event::Reverted { rollback, outcome }))
            }
            Action::Withdraw(order) => {
                let rollback = order.rollback.clone();
                let outcome = self.withdraw(&order);
                (self.git_delay, Some(Event::Withdrawn { rollback, outcome }))
            }
            Action::Relate(order) => (Duration::ZERO, Some(Event::Related(self.relate(order)))),
            Action::Refresh { .. } | Action::Terminate { .. } => (Duration::ZERO, None),
        };
        if let Some(event) = answer {
            self.pending.push((self.now + delay, event));
        }
    }

    fn measure(&self, order: &MeasureOrder) -> Event {
        let times = order.when.times(self.now);
        let mut answers = Vec::new();
        for query in &order.queries {
            for at in &times {
                answers.extend(self.answers(query, *at));
            }
        }
        Event::Measured { round: order.round, answers }
    }

    /// What a query gives at a time: `errors` one number, `errors{/a}` and `errors{/b}` one for each path.
    fn answers(&self, query: &SloQuery, at: Timestamp) -> Vec<SloAnswer> {
        if self.prometheus_down {
            return vec![SloAnswer::new(query, at, Reading::Gap(Gap::TimedOut))];
        }
        let then = |values: &[(Timestamp, Reading)]| {
            // What is said first has been so for ever.
            let then = values.iter().rev().find(|(since, _)| *since <= at).or(values.first());
            then.map_or(Reading::Gap(Gap::NoData), |(_, reading)| reading.clone())
        };
        let of_series = |(name, values): (&String, &Vec<(Timestamp, Reading)>)| {
            let path = name.strip_prefix(&asked(query))?.strip_prefix('{')?.strip_suffix('}')?;
            let labels = Labels::from([("path".to_owned(), path.to_owned())]);
            let reading = then(values);
            (reading != Reading::Gap(Gap::NoData)).then(|| SloAnswer::of_series(query, labels, at, reading))
        };
        let each: Vec<SloAnswer> = self.values.iter().filter_map(of_series).collect();
        if each.is_empty() {
            let values = self.values.get(&asked(query)).map(Vec::as_slice).unwrap_or_default();
            return vec![SloAnswer::new(query, at, then(values))];
        }
        each
    }

    fn revert(&mut self, order: &RevertOrder) -> Option<RevertOutcome> {
        let record = |revert: &mut dyn FnMut(&RevertPart) -> Revision| RevertRecord {
            parts: order.parts.iter().map(|part| reverted(part, revert(part))).collect(),
            touches: Vec::new(),
        };
        let mut undo = |part: &RevertPart| {
            let undo = format!("undo-{}", self.names.name(&part.bad));
            self.names.revision(&undo)
        };
        let proposes = matches!(order.mode, Delivery::PullRequest { .. });
        // What others are rendered from as well may be proposed.
        let shared =
            matches!(&self.git, Git::Says(outcome) if matches!(**outcome, RevertOutcome::Shared { .. }));
        match &self.git {
            _ if proposes && shared => {
                let record = record(&mut undo);
                Some(self.propose(order, record))
            }
            Git::Pushes | Git::Protected if proposes => {
                let record = record(&mut undo);
                Some(self.propose(order, record))
            }
            Git::Protected => Some(RevertOutcome::Refused(Refusal::Protected {
                branch: "main".into(),
                message: "pre-receive hook declined".into(),
            })),
            Git::Says(outcome) if order.only_look => match **outcome {
                RevertOutcome::Newer { .. } | RevertOutcome::Shared { .. } => Some(RevertOutcome::NotThere),
                _ => Some(*outcome.clone()),
            },
            Git::Pushes if order.mode == Delivery::DryRun => {
                Some(RevertOutcome::Planned(record(&mut |part| part.bad.clone())))
            }
            Git::Pushes => Some(RevertOutcome::Pushed(record(&mut undo))),
            Git::Touches(touches) => {
                Some(RevertOutcome::Pushed(RevertRecord { touches: touches.clone(), ..record(&mut undo) }))
            }
            Git::AlreadyReverted(by) => Some(RevertOutcome::AlreadyReverted(record(&mut |_| by.clone()))),
            Git::Partly => {
                let RevertRecord { parts, .. } = record(&mut undo);
                let (done, missing) = parts.split_at(1);
                Some(RevertOutcome::Partly {
                    done: done.to_vec(),
                    missing: missing.iter().map(|part| part.repo_url.clone()).collect(),
                    reason: "the branch `main` is protected".into(),
                })
            }
            Git::Says(outcome) => Some(*outcome.clone()),
            Git::Silent => None,
        }
    }

    fn propose(&self, order: &RevertOrder, record: RevertRecord) -> RevertOutcome {
        let state = match &self.forge {
            Forge::Is(PullRequestState::Merged { .. }) => return RevertOutcome::AlreadyReverted(record),
            _ if order.only_look => return RevertOutcome::NotThere,
            Forge::Is(state) => state.clone(),
            Forge::Down => return RevertOutcome::Failed { error: "no answer from the forge".into() },
            Forge::Unknown => {
                let reason = "no token is known".into();
                return RevertOutcome::Refused(Refusal::NoPullRequest { reason });
            }
        };
        let pull_request = |part: &RevertedPart| {
            let url =
                format!("{}/pulls/{}", part.repo_url.trim_end_matches(".git"), self.names.name(&part.bad));
            let state = if self.withdrawn.contains(&url) { PullRequestState::Closed } else { state.clone() };
            PullRequest { number: 7, url, state }
        };
        let part = |part: &RevertedPart| ProposedPart {
            repo_url: part.repo_url.clone(),
            base: part.branch.clone(),
            branch: "lastgood/shop".into(),
            commit: part.revert.clone(),
            pull_request: pull_request(part),
        };
        let parts = record.parts.iter().map(part).collect();
        RevertOutcome::Proposed(Box::new(Proposed { record, parts, remarks: Vec::new() }))
    }

    fn withdraw(&mut self, order: &WithdrawOrder) -> Result<Vec<PullRequest>, String> {
        let Forge::Is(state) = &self.forge else { return Err("no answer from the forge".into()) };
        let mut ended = Vec::new();
        for part in &order.parts {
            let mut state = state.clone();
            if state == PullRequestState::Open {
                state = PullRequestState::Closed;
                self.withdrawn.insert(part.pull_request.url.clone());
            }
            ended.push(PullRequest { state, ..part.pull_request.clone() });
        }
        Ok(ended)
    }

    fn relate(&self, order: RelateOrder) -> Result<Relation, String> {
        if self.git_down {
            return Err("git is down".into());
        }
        let RelateOrder { ancestor, descendant, .. } = order;
        let known = self.relations.get(&(ancestor.clone(), descendant.clone()));
        let (content, same_content) = known.cloned().unwrap_or((content(&descendant), false));
        Ok(Relation { ancestor, descendant, descends: known.is_some(), content, same_content })
    }
}

fn reverted(part: &RevertPart, revert: Revision) -> RevertedPart {
    RevertedPart {
        repo_url: part.repo_url.clone(),
        branch: "main".into(),
        sources: part.sources.clone(),
        definition: part.definition.clone(),
        bad: part.bad.clone(),
        revert,
        culprits: vec![Culprit {
            revision: part.bad.clone(),
            author: "Bob <bob@example.com>".into(),
            authored_at: Timestamp::UNIX_EPOCH,
            committer: None,
            committed_at: None,
            subject: "shop: change".into(),
        }],
        files: vec!["shop/app.yaml".into()],
        quarantine: content(&part.bad),
        notes: Vec::new(),
        attempts: 1,
    }
}

/// Stands for the digest of the footprint at a revision.
pub fn content(revision: &Revision) -> String {
    format!("content of {revision}")
}
