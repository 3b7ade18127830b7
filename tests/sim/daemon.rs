//! A daemon of the simulated world: the engine, with a state that it saves before it acts.

use jiff::Timestamp;
use lastgood::engine::action::Action;
use lastgood::engine::analysis::{App, AppState};
use lastgood::engine::decide::{Context, step};
use lastgood::engine::entry::Entry;
use lastgood::engine::event::Event;
use lastgood::engine::facts::{AppKey, ApplicationFacts, RolloutFacts};
use lastgood::engine::policy::Policy;

/// The saved state, with a version for compare-and-swap.
#[derive(Default)]
pub struct Store {
    pub version: u64,
    pub state: AppState,
    pub down: bool,
}

pub struct Daemon {
    pub app: App,
    pub version: u64,
    /// None while it runs; otherwise when it starts again.
    pub down_until: Option<Timestamp>,
    last_rollout: Option<RolloutFacts>,
    /// The newest change that the watches have brought.
    pub seen: u64,
    pub pending: Vec<(Timestamp, Event)>,
    /// The event whose state could not be saved yet.
    pub stuck: Option<Event>,
}

impl Daemon {
    pub fn new() -> Self {
        Self {
            app: App::default(),
            version: 0,
            down_until: None,
            last_rollout: None,
            seen: 0,
            pending: Vec::new(),
            stuck: None,
        }
    }

    pub fn crash(&mut self, until: Timestamp) {
        self.down_until = Some(until);
        self.pending.clear();
        self.stuck = None;
    }

    /// Starts with what was saved.
    pub fn start(&mut self, store: &Store, now: Timestamp) {
        self.down_until = None;
        self.app = App { state: store.state.clone(), ..App::default() };
        self.version = store.version;
        self.last_rollout = None;
        self.seen = 0;
        self.pending.push((now, Event::Started));
    }

    /// The events that the watches bring: what changed since the last look.
    pub fn observe(&mut self, application: ApplicationFacts, rollout: RolloutFacts) -> Vec<Event> {
        let mut events = Vec::new();
        if self.last_rollout.as_ref().is_none_or(|last| last.workloads != rollout.workloads) {
            self.last_rollout = Some(rollout.clone());
            events.push(Event::Rollout(rollout));
        }
        events.push(Event::Application(Box::new(application)));
        events
    }

    /// One step: the new state is saved first; where that fails nothing of the step happened.
    pub fn take(
        &mut self,
        key: &AppKey,
        event: Event,
        policy: &Policy,
        now: Timestamp,
        store: &mut Store,
    ) -> Option<(Vec<Action>, Vec<Entry>)> {
        let context = Context { policy, cluster: "sim", now, others_degraded: 0, parent: None };
        let old = self.app.state.clone();
        let seen = std::mem::take(&mut self.app.seen);
        let step = step(key, App { state: old.clone(), seen }, event.clone(), &context);
        if step.app.state != old {
            if store.down {
                // Tried again until it works; nothing else is taken in meanwhile.
                self.app.seen = step.app.seen;
                self.stuck = Some(event);
                return None;
            }
            if store.version != self.version {
                // Another daemon was faster: take its state, and look at everything again.
                self.app = App { state: store.state.clone(), seen: step.app.seen };
                self.version = store.version;
                self.pending.push((now, Event::Tick));
                return None;
            }
            store.version += 1;
            store.state = step.app.state.clone();
            self.version = store.version;
        }
        self.app = step.app;
        Some((step.actions, step.entries))
    }
}
