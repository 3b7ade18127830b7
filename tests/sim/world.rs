//! The world's clock and faults.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lastgood::engine::action::{Action, MeasureOrder, RevertOutcome, Standing, Touched};
use lastgood::engine::analysis::Phase;
use lastgood::engine::entry::{Entry, Kind, LastGoodFrom};
use lastgood::engine::event::{Event, SloAnswer};
use lastgood::engine::facts::{AppKey, Gap, Reading, Revision};
use lastgood::engine::forge::{ForgeRules, ProposalRules, PullRequestState};
use lastgood::engine::judge::Verdict;
use lastgood::engine::laws;
use lastgood::engine::policy::{
    GitRules, Mode, Objective, OnNewerChange, Policy, Prometheus, RevertRules, RollbackRules, RolloutRules,
    Rule, Slo, Strikes,
};
use lastgood::engine::template::Template;

use crate::argocd::ArgoCd;
use crate::daemon::{Daemon, Store};
use crate::repo::{Behaviour, Content, Repo};
use crate::rng::Rng;

const FAULTY_SECONDS: i64 = 1500;
const CALM_SECONDS: i64 = 1600;

/// How often what happened, over all seeds.
#[derive(Debug, Default)]
pub struct Seen {
    pub reverts: u64,
    pub recoveries: u64,
    pub holds: u64,
    pub inconclusive: u64,
    pub crashes: u64,
    pub lost_answers: u64,
    pub events: u64,
    pub conflicts: u64,
    pub proposed: u64,
    pub merged: u64,
    pub withdrawn: u64,
    pub shared: u64,
    pub newer: u64,
}

impl Seen {
    pub fn count(&mut self, world: &World) {
        for entry in &world.journal {
            match &entry.kind {
                Kind::RevertPushed { already: false, .. } => self.reverts += 1,
                Kind::Recovered { .. } => self.recoveries += 1,
                Kind::PullRequestOpened { .. } => self.proposed += 1,
                Kind::PullRequestEnded { pull_request, .. }
                    if pull_request.state == PullRequestState::Closed =>
                {
                    self.withdrawn += 1;
                }
                Kind::HoldBegan { .. } => self.holds += 1,
                Kind::AnalysisEnded { verdict: Verdict::Inconclusive(_), .. } => self.inconclusive += 1,
                _ => {}
            }
        }
        self.merged += world.counts.merged;
        self.crashes += world.counts.crashes;
        self.events += world.counts.events;
        self.lost_answers += world.counts.lost_answers;
        self.conflicts += world.counts.conflicts;
        self.shared += world.counts.shared;
        self.newer += world.counts.newer;
    }
}

pub struct World {
    rng: Rng,
    start: Timestamp,
    now: Timestamp,
    app: AppKey,
    policy: Policy,
    repo: Repo,
    argocd: ArgoCd,
    store: Store,
    daemons: Vec<Daemon>,
    contents: u32,
    /// How another application that is rendered from the same files does, in a world with one.
    blog: Option<Standing>,
    prometheus_down: bool,
    git_down: bool,
    calm: bool,
    pub journal: Vec<Entry>,
    pub counts: Seen,
    log: Vec<String>,
}

fn policy() -> Policy {
    let seconds = Duration::from_secs;
    let errors = Slo::new(
        "errors",
        Template::parse("errors").unwrap(),
        Rule::Threshold { objective: Objective::Max(0.05), strikes: Strikes { failures: 3, of: 5 } },
    );
    Policy {
        name: "sim".into(),
        text: String::new(),
        mode: Mode::Push,
        duration: seconds(60),
        interval: seconds(5),
        rollout: RolloutRules {
            image_pull_grace: seconds(10),
            crash_loop_grace: seconds(10),
            container_config_grace: seconds(10),
            unschedulable_grace: seconds(10),
            degraded_grace: seconds(10),
            restarts: 3,
            oom_kill: true,
        },
        sync_failed_attempts: 2,
        slos: vec![errors],
        guards: Vec::new(),
        warm_up: Duration::ZERO,
        baseline: seconds(600),
        false_rollback_rate: 0.001,
        variables: BTreeMap::new(),
        prometheus: Some(Prometheus::new("http://sim", seconds(5))),
        rollback: RollbackRules {
            push_timeout: seconds(300),
            live_timeout: seconds(300),
            recovery_timeout: seconds(120),
            terminate_stuck_sync: true,
            reverts_per_day: 4,
            others_degraded: 3,
            revert: RevertRules::default(),
            proposals: ProposalRules::default(),
        },
        git: GitRules {
            secret: None,
            forge: ForgeRules::default(),
            author_name: "lastgood".into(),
            author_email: "lastgood@sim".into(),
            signing_secret: None,
        },
    }
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let start = Timestamp::from_second(1_750_000_000).unwrap();
        let first = Content { id: 0, behaviour: Behaviour::Good };
        let mut repo = Repo::default();
        repo.push(first);
        let mut policy = policy();
        if rng.once_in(2) {
            policy.rollback.revert.on_newer_change = OnNewerChange::Revert;
        }
        let blog = rng.once_in(3).then_some(Standing::Undecided);
        let daemons = if rng.once_in(4) { vec![Daemon::new(), Daemon::new()] } else { vec![Daemon::new()] };
        // One world in four works by pull requests, and in another one a push finds that it has to.
        match rng.below(8) {
            0 | 1 => policy.mode = Mode::PullRequest,
            2 => repo.protected = true,
            _ => {}
        }
        Self {
            argocd: ArgoCd::new(start, first),
            rng,
            start,
            now: start,
            app: AppKey::new("argocd", "shop"),
            policy,
            repo,
            store: Store::default(),
            daemons,
            contents: 0,
            blog,
            prometheus_down: false,
            git_down: false,
            calm: false,
            journal: Vec::new(),
            counts: Seen::default(),
            log: Vec::new(),
        }
    }

    pub fn run(&mut self) -> Result<(), String> {
        for second in 0..FAULTY_SECONDS + CALM_SECONDS {
            self.now = self.start + SignedDuration::from_secs(second);
            if second == FAULTY_SECONDS {
                self.calm_down();
            }
            if !self.calm {
                self.chance();
            }
            self.review();
            self.argocd.step(self.now, &self.repo, &mut self.rng);
            for i in 0..self.daemons.len() {
                self.turn(i)?;
            }
        }
        self.healed()
    }

    fn calm_down(&mut self) {
        self.calm = true;
        (self.prometheus_down, self.git_down, self.store.down) = (false, false, false);
        self.log("faults stop");
    }

    fn chance(&mut self) {
        if self.rng.once_in(150) {
            self.develop();
        }
        if self.blog.is_some() && self.rng.once_in(100) {
            let standings = [Standing::Undecided, Standing::Sick, Standing::Sick, Standing::Well];
            self.blog = Some(standings[usize::try_from(self.rng.below(4)).unwrap()]);
        }
        for (fault, name) in [
            (&mut self.prometheus_down, "prometheus"),
            (&mut self.git_down, "git"),
            (&mut self.store.down, "store"),
        ] {
            let odds = if *fault { 30 } else { 300 };
            if self.rng.once_in(odds) {
                *fault = !*fault;
                let line = format!("{} {name} {}", self.now, if *fault { "down" } else { "up" });
                self.log.push(line);
            }
        }
        for i in 0..self.daemons.len() {
            if self.rng.once_in(400) && self.daemons[i].down_until.is_none() {
                self.crash(i);
            }
        }
    }

    fn develop(&mut self) {
        let what = match self.rng.below(10) {
            // Somebody, or an image updater, brings an older content back.
            0 => {
                let index = usize::try_from(self.rng.below(self.repo.commits.len() as u64)).unwrap();
                (self.repo.commits[index].content, "old content again")
            }
            // A commit to another application's folder.
            1 | 2 => (self.repo.commits[self.repo.tip()].content, "elsewhere"),
            n => {
                self.contents += 1;
                let behaviour = match n {
                    3 => Behaviour::Crashes,
                    4 | 5 => Behaviour::Errors,
                    6 => Behaviour::FailsToSync,
                    _ => Behaviour::Good,
                };
                (Content { id: self.contents, behaviour }, "change")
            }
        };
        let index = self.repo.push(what.0);
        self.log(&format!("pushed {}: {} {:?}", Repo::revision(index).short_tail(), what.1, what.0));
    }

    /// People merge pull requests, or close them.
    fn review(&mut self) {
        for i in 0..self.repo.pulls.len() {
            if self.rng.once_in(if self.calm { 30 } else { 150 }) {
                let keeps_trailers = !self.rng.once_in(4);
                if self.repo.merge(i, keeps_trailers) {
                    self.counts.merged += 1;
                    self.log(&format!("pull request {} is merged", self.repo.pulls[i].number));
                }
            } else if !self.calm
                && self.repo.pulls[i].state == PullRequestState::Open
                && self.rng.once_in(1500)
            {
                self.repo.pulls[i].state = PullRequestState::Closed;
                self.log(&format!("somebody closes pull request {}", self.repo.pulls[i].number));
            }
        }
    }

    fn crash(&mut self, i: usize) {
        let seconds = 1 + i64::try_from(self.rng.below(200)).unwrap();
        self.daemons[i].crash(self.now + SignedDuration::from_secs(seconds));
        self.counts.crashes += 1;
        self.log(&format!("daemon {i} dies for {seconds} s"));
    }

    /// Everything that reaches one daemon at this second.
    fn turn(&mut self, i: usize) -> Result<(), String> {
        if let Some(until) = self.daemons[i].down_until {
            if self.now < until && !self.calm {
                return Ok(());
            }
            let store = &self.store;
            self.daemons[i].start(store, self.now);
            self.log(&format!("daemon {i} starts"));
        }
        if self.store.down && self.daemons[i].stuck.is_some() {
            return Ok(());
        }
        let mut events: Vec<Event> = self.daemons[i].stuck.take().into_iter().collect();
        if self.daemons[i].seen != self.argocd.changes {
            self.daemons[i].seen = self.argocd.changes;
            let facts = (self.argocd.application(&self.app), self.argocd.rollout(self.now));
            events.extend(self.daemons[i].observe(facts.0, facts.1));
        }
        let now = self.now;
        let (due, later): (Vec<_>, Vec<_>) =
            self.daemons[i].pending.drain(..).partition(|(at, _)| *at <= now);
        self.daemons[i].pending = later;
        events.extend(due.into_iter().map(|(_, event)| event));
        if self.daemons[i].app.state.wake_at(&self.policy).is_some_and(|at| at <= now) || self.rng.once_in(50)
        {
            events.push(Event::Tick);
        }
        let mut events = events.into_iter();
        while let Some(event) = events.next() {
            // Repeated events are harmless.
            let times = if !self.calm && self.rng.once_in(20) { 2 } else { 1 };
            for _ in 0..times {
                self.take(i, event.clone())?;
                if self.daemons[i].down_until.is_some() {
                    return Ok(());
                }
                if self.daemons[i].stuck.is_some() {
                    self.daemons[i].pending.extend(events.map(|event| (now, event)));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, i: usize, event: Event) -> Result<(), String> {
        let (policy, app) = (self.policy.clone(), self.app.clone());
        self.counts.events += 1;
        let Some((actions, entries)) = self.daemons[i].take(&app, event, &policy, self.now, &mut self.store)
        else {
            return Ok(());
        };
        let recorded = !entries.is_empty();
        for entry in entries {
            self.log(&format!("daemon {i}: {}", entry.kind));
            self.journal.push(entry);
        }
        if recorded {
            self.check()?;
        }
        for action in actions {
            if !self.calm && self.rng.once_in(40) {
                self.crash(i);
                return Ok(());
            }
            self.carry_out(i, action);
        }
        Ok(())
    }

    fn carry_out(&mut self, i: usize, action: Action) {
        let soon = SignedDuration::from_secs(i64::try_from(self.rng.below(3)).unwrap());
        let answer = match action {
            Action::Measure(order) => Some(self.measure(&order)),
            Action::Revert(order) => {
                let outcome = self.revert(&order);
                let rollback = order.rollback;
                (!self.loses_answer()).then_some(Event::Reverted { rollback, outcome })
            }
            Action::Withdraw(order) => {
                let rollback = order.rollback.clone();
                let outcome = if self.git_down || (!self.calm && self.rng.once_in(6)) {
                    Err("the forge is down".into())
                } else {
                    Ok(self.repo.withdraw(&order))
                };
                (!self.loses_answer()).then_some(Event::Withdrawn { rollback, outcome })
            }
            Action::Relate(_) if self.git_down => Some(Event::Related(Err("git is down".into()))),
            Action::Relate(order) => Some(Event::Related(Ok(self.repo.relate(&order)))),
            Action::Refresh { .. } => {
                self.argocd.refresh(self.now);
                None
            }
            Action::Terminate { started_at } => {
                self.argocd.terminate(started_at, self.now);
                None
            }
        };
        if let Some(event) = answer {
            self.daemons[i].pending.push((self.now + soon, event));
        }
        // Between the act and its answer.
        if !self.calm && self.rng.once_in(60) {
            self.crash(i);
        }
    }

    fn loses_answer(&mut self) -> bool {
        let lost = !self.calm && self.rng.once_in(6);
        self.counts.lost_answers += u64::from(lost);
        lost
    }

    fn revert(&mut self, order: &lastgood::engine::action::RevertOrder) -> RevertOutcome {
        if self.git_down {
            return RevertOutcome::Failed { error: "git is down".into() };
        }
        let blog = AppKey::new("argocd", "blog");
        let touches: Vec<_> = self.blog.map(|standing| Touched { app: blog, standing }).into_iter().collect();
        let outcome = self.repo.revert(order, &touches);
        match outcome {
            RevertOutcome::Shared { .. } => self.counts.shared += 1,
            RevertOutcome::Newer { .. } => self.counts.newer += 1,
            _ => {}
        }
        self.log(&format!("git: {} -> {outcome:?}", order.rollback));
        self.counts.conflicts += u64::from(matches!(outcome, RevertOutcome::Conflict { .. }));
        // Done, but the answer says that it is not known.
        if !self.calm && self.rng.once_in(6) {
            return RevertOutcome::Failed { error: "connection lost".into() };
        }
        outcome
    }

    fn measure(&mut self, order: &MeasureOrder) -> Event {
        let errors = if self.argocd.live.behaviour == Behaviour::Errors { 0.3 } else { 0.001 };
        let times = order.when.times(self.now);
        let mut answers = Vec::new();
        for query in &order.queries {
            for at in &times {
                let reading = if self.prometheus_down {
                    Reading::Gap(Gap::TimedOut)
                } else if !self.calm && self.rng.once_in(15) {
                    Reading::Gap(Gap::NoData)
                } else if order.round.number == 0 {
                    Reading::Value(self.past(*at))
                } else {
                    Reading::Value(errors)
                };
                answers.push(SloAnswer::new(query, *at, reading));
            }
        }
        Event::Measured { round: order.round, answers }
    }

    /// The error rate of a time gone by.
    fn past(&self, at: Timestamp) -> f64 {
        let live = self.argocd.live_at(at);
        if live.behaviour == Behaviour::Errors { 0.3 } else { 0.001 }
    }

    fn check(&self) -> Result<(), String> {
        laws::check(&self.journal, &self.policy).map_err(|v| v.to_string())?;
        for commit in &self.repo.commits {
            if let Some((rollback, bad)) = &commit.rollback {
                if self.repo.reverts_of(bad) > 1 {
                    return Err(format!("law 3: two commits for rollback {rollback}"));
                }
                if self.repo.commits[Repo::index(bad)].rollback.is_some() {
                    return Err(format!("law 4: rollback {rollback} undoes a rollback"));
                }
            }
        }
        // Nothing in this world misleads about a revision that is measured often enough.
        let bad = |r: &Revision| self.repo.content(r).behaviour != Behaviour::Good;
        for entry in &self.journal {
            if let Kind::LastGood { revisions, from: LastGoodFrom::Analysis | LastGoodFrom::FirstSight } =
                &entry.kind
                && revisions.single().is_some_and(bad)
            {
                return Err(format!("{revisions} is bad and was called last good"));
            }
        }
        Ok(())
    }

    /// After a calm time nothing is pending, and what is sick and live is on hold or was not to be judged.
    fn healed(&self) -> Result<(), String> {
        for (i, daemon) in self.daemons.iter().enumerate() {
            let state = &daemon.app.state;
            if matches!(state.phase, Phase::Reverting(_) | Phase::Confirming(_) | Phase::Analysing(_)) {
                return Err(format!(
                    "liveness: daemon {i} is still {} after a calm time",
                    state.phase.name()
                ));
            }
        }
        let state = &self.store.state;
        // One whose opening was never heard of is for people to find.
        for entry in &self.journal {
            let Kind::PullRequestOpened { rollback, pull_requests, .. } = &entry.kind else { continue };
            let open = self.repo.pulls.iter().any(|pull| {
                pull.state == PullRequestState::Open
                    && pull_requests.iter().any(|one| one.number == pull.number)
            });
            if open && !state.proposals.iter().any(|known| known.rollback == *rollback) {
                return Err(format!("the pull request of {rollback} is open and forgotten"));
            }
        }
        let tip = self.repo.commits[self.repo.tip()].content;
        if tip.behaviour == Behaviour::Good || state.hold.is_some() {
            return Ok(());
        }
        let tip_revision = Repo::revision(self.repo.tip());
        let judged = self.journal.iter().rev().find_map(|entry| match &entry.kind {
            Kind::AnalysisEnded { revisions, verdict, .. } => Some((revisions, verdict)),
            _ => None,
        });
        match judged {
            Some((_, Verdict::Inconclusive(_))) => Ok(()),
            _ if !self.journal.iter().any(|e| matches!(e.kind, Kind::AnalysisBegan { .. })) => Ok(()),
            other => Err(format!(
                "liveness: {tip_revision} is sick, neither reverted nor held; last verdict {other:?}"
            )),
        }
    }

    fn log(&mut self, line: &str) {
        self.log.push(format!("{} {line}", self.now));
    }

    pub fn print(&self) {
        for line in &self.log {
            println!("{line}");
        }
    }
}

trait ShortTail {
    fn short_tail(&self) -> &str;
}

impl ShortTail for Revision {
    fn short_tail(&self) -> &str {
        &self.as_str()[..8]
    }
}
