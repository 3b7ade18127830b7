//! The task of one application: next event, step, save, record, dispatch.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::ledgers::{self, Queue, Source};
use super::{Shared, kept, perform};
use crate::engine::action::Action;
use crate::engine::analysis::{App, AppState, Phase};
use crate::engine::decide::{Context, Step, step};
use crate::engine::entry::Entry;
use crate::engine::event::Event;
use crate::engine::facts::{AppKey, ApplicationFacts, RolloutFacts};
use crate::engine::policy::Policy;
use crate::record::account::{self, Scene, Weight};
use crate::record::state::{Document, Summary, Version};
use crate::record::waiting::Waiting;

/// Answers that wait for their application: more than it can ever have asked for.
const ANSWERS_MAX: usize = 64;

/// The longest pause between two tries to reach the store.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The shortest sleep, so that a fault in the engine's times cannot make a busy loop.
const SLEEP_MIN: Duration = Duration::from_millis(10);

/// Where an application's news come in.
pub(super) struct Inbox {
    application: watch::Receiver<Box<ApplicationFacts>>,
    rollout: watch::Receiver<Option<RolloutFacts>>,
    policy: watch::Receiver<Arc<Policy>>,
}

impl Inbox {
    pub(super) fn new(
        mut application: watch::Receiver<Box<ApplicationFacts>>,
        rollout: watch::Receiver<Option<RolloutFacts>>,
        policy: watch::Receiver<Arc<Policy>>,
    ) -> Self {
        application.mark_changed();
        Self { application, rollout, policy }
    }

    /// Puts the newest facts in.
    fn bring_up_to_date(&mut self, app: &mut App) {
        app.seen.application = Some(self.application.borrow_and_update().clone());
        if let Some(rollout) = self.rollout.borrow_and_update().clone() {
            app.seen.rollout = Some(rollout);
        }
    }
}

/// Looks after one application until it is aborted.
pub(super) async fn run(key: AppKey, mut inbox: Inbox, shared: Arc<Shared>) {
    let (answer, mut answers) = mpsc::channel(ANSWERS_MAX);
    let (has, mut in_ledger) = mpsc::unbounded_channel();
    let mut actor = Actor {
        uid: inbox.application.borrow().uid.clone(),
        key,
        shared,
        answer,
        app: App::default(),
        version: None,
        sentence: String::new(),
        waiting: Waiting::default(),
        queue: Queue::default(),
        has,
    };
    actor.load().await;
    actor.tell_ledger(&inbox.application.borrow().clone(), &inbox.policy.borrow().clone(), true);
    let mut event = Event::Started;
    loop {
        let policy = Arc::clone(&inbox.policy.borrow_and_update());
        actor.take(event, &policy, &mut inbox).await;
        let wake = actor.sleep(&policy);
        event = tokio::select! {
            biased;
            Some(event) = answers.recv() => event,
            Ok(()) = inbox.application.changed() => Event::Application(inbox.application.borrow_and_update().clone()),
            Ok(()) = inbox.rollout.changed() => match inbox.rollout.borrow_and_update().clone() {
                Some(rollout) => Event::Rollout(rollout),
                None => Event::Tick,
            },
            Ok(()) = inbox.policy.changed() => Event::Tick,
            () = wake => Event::Tick,
            Some(ids) = in_ledger.recv() => {
                actor.recorded(&ids, &inbox).await;
                Event::Tick
            }
            else => return,
        };
    }
}

struct Actor {
    key: AppKey,
    uid: String,
    shared: Arc<Shared>,
    answer: mpsc::Sender<Event>,
    app: App,
    /// What the store holds; none while it holds nothing.
    version: Option<Version>,
    /// The newest journal sentence.
    sentence: String,
    /// The records that the ledger does not have yet, as they are saved.
    waiting: Waiting,
    /// The same for whoever writes the ledger.
    queue: Queue,
    /// Where that one says what the ledger has.
    has: mpsc::UnboundedSender<Vec<String>>,
}

impl Actor {
    /// Takes one event in, however long the store needs.
    ///
    /// A step whose state could not be saved at once is dropped and taken again with the newest facts: what follows from
    /// it is done after an outage, and must not rest on what was true before.
    async fn take(&mut self, event: Event, policy: &Arc<Policy>, inbox: &mut Inbox) {
        let mut pause = Pause::default();
        loop {
            let app = App { state: self.app.state.clone(), seen: std::mem::take(&mut self.app.seen) };
            let before =
                self.shared.ledgers.keeps(app.seen.application.as_deref(), policy).then(|| app.clone());
            let now = Timestamp::now();
            let current = app.state.phase.current();
            let others_degraded = self.shared.fleet().others_degraded(&self.key, current, now);
            let cluster = &self.shared.cluster;
            let parent = app.seen.application.as_ref().and_then(|a| self.shared.fleet().parent(a));
            let context = Context { policy, cluster, now, others_degraded, parent: parent.as_ref() };
            let step = step(&self.key, app, event.clone(), &context);
            if let Some(newest) = step.entries.last() {
                self.sentence = newest.kind.to_string();
            }
            let mut waiting = self.waiting.clone();
            if let Some(before) = &before {
                let (key, uid, by) = (&self.key, self.uid.as_str(), &self.shared.by);
                let scene = Scene { key, uid, by, before, event: &event, context, after: &step.app };
                if let Err(error) = waiting.add(&step.entries, &scene) {
                    error!(application = %self.key, %error, "A record could not be made; please report this.");
                }
            }
            if step.app.state == self.app.state && waiting == self.waiting {
                return self.go_on(step, policy);
            }
            match self.save(&step.app.state, waiting).await {
                Saved::Yes => return self.go_on(step, policy),
                Saved::NotYet => pause.wait().await,
                Saved::SomebodyElse => {}
            }
            self.app.seen = step.app.seen;
            inbox.bring_up_to_date(&mut self.app);
        }
    }

    /// The state is saved: record and act.
    fn go_on(&mut self, step: Step, policy: &Arc<Policy>) {
        let Step { app, actions, entries } = step;
        self.app = app;
        self.shared.fleet().note(&self.key, &self.app.state);
        for entry in &entries {
            self.shared.journal.tell(entry, &self.uid);
        }
        if let Some(facts) = &self.app.seen.application
            && !entries.is_empty()
        {
            let urgent = |entry: &Entry| account::weight(&entry.kind) == Weight::Urgent;
            self.tell_ledger(facts, policy, entries.iter().any(urgent));
        }
        for mut action in actions {
            if let Action::Revert(order) = &mut action {
                order.record = self.waiting.intent(&order.rollback).map(str::to_owned);
            }
            let (shared, key, policy) = (Arc::clone(&self.shared), self.key.clone(), Arc::clone(policy));
            let answer = self.answer.clone();
            tokio::spawn(async move {
                if let Some(event) = perform::perform(shared, key, policy, action).await {
                    // Nobody waits any more when the application is gone.
                    answer.send(event).await.ok();
                }
            });
        }
    }

    async fn sleep(&self, policy: &Policy) {
        match self.app.state.wake_at(policy) {
            Some(at) => {
                let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
                tokio::time::sleep(left.max(SLEEP_MIN)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Reads the saved state, however long that takes: nothing may be decided before.
    async fn load(&mut self) {
        let mut pause = Pause::default();
        loop {
            match self.shared.store.load(&self.key).await {
                Ok(None) => {
                    (self.app.state, self.waiting) = Default::default();
                    self.version = None;
                    return;
                }
                Ok(Some(stored)) if stored.uid != self.uid => {
                    (self.app.state, self.waiting) = Default::default();
                    self.version = None;
                    return;
                }
                Ok(Some(stored)) => match kept::read(&self.key, stored.document.state) {
                    Ok((state, waiting)) => {
                        (self.app.state, self.waiting) = (state, waiting);
                        self.version = Some(stored.version);
                        return;
                    }
                    // Acting without it could repeat a revert, so nobody acts until somebody looks.
                    Err(error) => {
                        error!(application = %self.key, %error, "The saved state cannot be read; nothing is done for this application. Delete the LastGood object to start anew.");
                    }
                },
                Err(error) => warn!(%error, "The state could not be loaded; trying again."),
            }
            pause.wait().await;
        }
    }

    /// Tells whoever writes the ledger what waits for it, as it is saved.
    fn tell_ledger(&self, facts: &ApplicationFacts, policy: &Policy, urgent: bool) {
        ledgers::publish(&self.waiting, &self.queue);
        if self.waiting.records().is_empty() {
            return;
        }
        let (key, uid) = (self.key.clone(), self.uid.clone());
        let (queue, has) = (Arc::clone(&self.queue), self.has.clone());
        self.shared.ledgers.tell(facts, policy, Source { key, uid, queue, has }, urgent);
    }

    /// These are in the ledger: they wait no longer.
    async fn recorded(&mut self, ids: &[String], inbox: &Inbox) {
        let mut waiting = self.waiting.clone();
        let (now, cluster) = (Timestamp::now(), &self.shared.cluster);
        if !waiting.has(ids) {
            return;
        }
        waiting.tell_dropped(&self.key, &self.uid, cluster, &self.shared.by, now);
        let state = self.app.state.clone();
        // Where it is not saved they are appended once more, which changes nothing.
        self.save(&state, waiting).await;
        let (facts, policy) = (inbox.application.borrow().clone(), inbox.policy.borrow().clone());
        self.tell_ledger(&facts, &policy, false);
    }

    /// Saves `state` and what waits with it; where that fails, what the store holds is in force.
    async fn save(&mut self, state: &AppState, waiting: Waiting) -> Saved {
        let document = match kept::write(state, &waiting) {
            Ok(value) => Document { summary: self.summary(state), state: value },
            Err(error) => {
                error!(application = %self.key, %error, "The state cannot be written as JSON; please report this.");
                return Saved::NotYet;
            }
        };
        let saved = self.shared.store.save(&self.key, &self.uid, &document, self.version.as_ref()).await;
        match saved {
            Ok(version) => {
                (self.version, self.waiting) = (Some(version), waiting);
                return Saved::Yes;
            }
            Err(error) => warn!(%error, "The state was not saved; looking what is there."),
        }
        let expected = self.version.clone();
        self.load().await;
        // It may have been saved without our knowing.
        if self.app.state == *state && self.waiting == waiting {
            Saved::Yes
        } else if self.version == expected {
            Saved::NotYet
        } else {
            Saved::SomebodyElse
        }
    }

    fn summary(&self, state: &AppState) -> Summary {
        let held = state.hold.as_ref().filter(|_| matches!(state.phase, Phase::Idle { .. }));
        Summary {
            phase: held.map_or(state.phase.name(), |_| "Held").to_owned(),
            revision: state.phase.current().map(ToString::to_string).unwrap_or_default(),
            last_good: state.last_good.as_ref().map(|good| good.revisions.to_string()).unwrap_or_default(),
            reason: state
                .hold
                .as_ref()
                .map_or_else(|| self.sentence.clone(), |hold| format!("{} (hold {})", hold.why, hold.id)),
        }
    }
}

/// What became of a save.
enum Saved {
    Yes,
    /// What was there before still is.
    NotYet,
    /// Another daemon's state is in force.
    SomebodyElse,
}

/// Pauses that double.
struct Pause(Duration);

impl Default for Pause {
    fn default() -> Self {
        Self(Duration::from_millis(250))
    }
}

impl Pause {
    async fn wait(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = self.0.saturating_mul(2).min(PAUSE_MAX);
    }
}
