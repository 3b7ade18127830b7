//! One rollback that a person asks for, with the daemon's own engine, acts and records.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tracing::warn;

use super::ledgers::{Keeping, Ledgers};
use super::{Shared, journal, kept, perform, write_access};
use crate::act::git::Git;
use crate::cluster::Clients;
use crate::engine::action::Action;
use crate::engine::analysis::{App, AppState, Phase, Seen};
use crate::engine::decide::{Context, step};
use crate::engine::entry::Entry;
use crate::engine::event::Event;
use crate::engine::facts::{AppKey, ApplicationFacts, HistoryEntry};
use crate::engine::fleet::Fleet;
use crate::engine::policy::{Mode, Policy};
use crate::observe::argocd;
use crate::observe::slo::Slos;
use crate::policy::{Match, PolicySet};
use crate::record::account::Scene;
use crate::record::ledger::{Ledger, Recorder};
use crate::record::state::{Document, SaveError, StateStore, Summary, Version};
use crate::record::waiting::Waiting;

/// Answers that are taken in before it is given up; a rollback that a daemon would have to repeat is left to it.
const ANSWERS_MAX: u32 = 3;

/// How often it is begun anew because a daemon saved the application's state meanwhile; it does so once a measurement at
/// most.
const BEGINNINGS_MAX: u32 = 5;

/// What is needed to roll an application back once.
pub struct Request {
    /// The Kubernetes API.
    pub clients: Clients,
    /// The namespaces whose Applications are looked at; none means all.
    pub namespaces: Vec<String>,
    /// The namespace of Argo CD's Secrets, and of the policies' own Secrets.
    pub argocd_namespace: String,
    /// Names the cluster in commits.
    pub cluster: String,
    /// The policies.
    pub policies: PolicySet,
    /// Where states are kept.
    pub store: Arc<dyn StateStore>,
    /// Where records go.
    pub ledger: Keeping,
    /// Who records: this program.
    pub by: Recorder,
    /// Where copies of repositories are kept.
    pub cache: PathBuf,
    /// Which application.
    pub app: AppKey,
    /// Why, in the person's words.
    pub because: String,
    /// How the revision begins to which to go back; none means last good.
    pub to: Option<String>,
}

/// What became of it.
#[derive(Debug)]
pub struct Told {
    /// What was decided and done, oldest first; nothing where the engine had nothing to do.
    pub entries: Vec<Entry>,
    /// What is going on with the application now.
    pub phase: Phase,
}

/// An application as the command found it.
struct Found {
    facts: Box<ApplicationFacts>,
    policy: Policy,
    kept: Kept,
}

/// What is saved of an application.
#[derive(Clone, Default)]
struct Kept {
    state: AppState,
    waiting: Waiting,
    version: Option<Version>,
}

/// Plans the rollback, and changes nothing.
///
/// # Errors
/// When something that it takes to decide is not known.
pub async fn plan(request: &Request) -> anyhow::Result<Told> {
    let (found, fleet) = look(request).await?;
    drive(request, found, fleet, Mode::DryRun).await
}

/// Carries the rollback out; a daemon goes on from there.
///
/// # Errors
/// When something that it takes to decide is not known, or the intent could not be written down.
pub async fn carry_out(request: &Request) -> anyhow::Result<Told> {
    let mut beginnings = 0;
    loop {
        beginnings += 1;
        let (found, fleet) = look(request).await?;
        match drive(request, found, fleet, Mode::Push).await {
            // Nothing was done yet: what was decided is decided anew, from what the daemon knows now.
            Err(error) if beginnings < BEGINNINGS_MAX && error.is::<Overtaken>() => {}
            other => return other,
        }
    }
}

/// A daemon saved the application's state between our reading it and our first writing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Overtaken(SaveError);

/// Reads the application, its policy and its state, and how all others do.
async fn look(request: &Request) -> anyhow::Result<(Found, Fleet)> {
    let mut fleet = Fleet::default();
    let mut found = None;
    for facts in applications(request).await? {
        fleet.place(&facts);
        let policy = match request.policies.for_application(&facts) {
            Match::One(policy) => Some(policy),
            Match::Ambiguous(names) if facts.app == request.app => {
                bail!("several policies claim {}: {}", request.app, names.join(", "));
            }
            Match::None | Match::Ambiguous(_) => None,
        };
        let Some(policy) = policy else {
            if facts.app == request.app {
                bail!("no policy selects {}", request.app);
            }
            continue;
        };
        let kept = kept(request, &facts).await?;
        fleet.note(&facts.app, &kept.state);
        if facts.app == request.app {
            found = Some(Found { facts, policy: (*policy).clone(), kept });
        }
    }
    let found = found.with_context(|| format!("there is no Application {}", request.app))?;
    Ok((found, fleet))
}

/// All Applications as they are now.
async fn applications(request: &Request) -> anyhow::Result<Vec<Box<ApplicationFacts>>> {
    let (tx, mut seen) = mpsc::channel(super::FACTS_MAX);
    let watching = tokio::spawn(argocd::watch(request.clients.watch.clone(), request.namespaces.clone(), tx));
    let mut all: Vec<Box<ApplicationFacts>> = Vec::new();
    let listed = tokio::time::timeout(super::LIST_MAX, async {
        while let Some(seen) = seen.recv().await {
            match seen {
                argocd::Seen::Application(facts) => all.push(facts),
                argocd::Seen::Gone(app) => all.retain(|known| known.app != app),
                argocd::Seen::Ready => return true,
            }
        }
        false
    });
    let listed = listed.await;
    watching.abort();
    match listed {
        Ok(true) => Ok(all),
        Ok(false) | Err(_) => bail!("the Applications could not be listed within {:?}", super::LIST_MAX),
    }
}

async fn kept(request: &Request, facts: &ApplicationFacts) -> anyhow::Result<Kept> {
    let stored = request.store.load(&facts.app).await?.filter(|stored| stored.uid == facts.uid);
    let Some(stored) = stored else { return Ok(Kept::default()) };
    let (state, waiting) = kept::read(&facts.app, stored.document.state)
        .with_context(|| format!("the saved state of {} cannot be read", facts.app))?;
    Ok(Kept { state, waiting, version: Some(stored.version) })
}

/// Asks the engine, saves what it intends, and does it, until nothing more is to be done at once.
async fn drive(request: &Request, found: Found, fleet: Fleet, mode: Mode) -> anyhow::Result<Told> {
    let Found { facts, mut policy, kept } = found;
    let Kept { state, mut waiting, mut version } = kept;
    let saves = mode == Mode::Push;
    // What the person says counts more than the policy's own mode; that nobody may push stays true.
    if !(saves && policy.mode == Mode::PullRequest) {
        policy.mode = mode;
    }
    let policy = Arc::new(policy);
    let parent = fleet.parent(&facts);
    let others_degraded = fleet.others_degraded(&request.app, state.phase.current(), Timestamp::now());
    let (shared, mut told) = shared(request, fleet, saves)?;
    let uid = facts.uid.clone();
    let to = request.to.as_deref().map(|to| synced(&facts, to)).transpose()?;
    let mut app = App { state, seen: Seen { application: Some(facts), ..Seen::default() } };
    let mut event = Event::Asked { because: request.because.clone(), to: to.map(Box::new) };
    for answers in 0..ANSWERS_MAX {
        let (now, cluster) = (Timestamp::now(), request.cluster.as_str());
        let context = Context { policy: &policy, cluster, now, others_degraded, parent: parent.as_ref() };
        let before = app.clone();
        let step = step(&request.app, app, event.clone(), &context);
        let mut told = waiting.clone();
        if saves && shared.ledgers.keeps(before.seen.application.as_deref(), &policy) {
            let (key, uid, by, before) = (&request.app, uid.as_str(), &request.by, &before);
            let scene = Scene { key, uid, by, before, event: &event, context, after: &step.app };
            told.add(&step.entries, &scene).context("a record could not be made; please report this")?;
        }
        if saves && (step.app.state != before.state || told != waiting) {
            match save(request, &uid, &step.app.state, &told, version.as_ref()).await {
                Ok(now_kept) => (version, waiting) = (Some(now_kept), told),
                Err(error) => match error.downcast::<SaveError>()? {
                    conflict @ SaveError::Conflict { .. } if answers == 0 => {
                        return Err(Overtaken(conflict).into());
                    }
                    // A daemon goes on from our intent: what came of it is added to what is known now.
                    SaveError::Conflict { .. } => {
                        let seen = step.app.seen;
                        let facts = seen.application.as_deref().context("the Application is gone")?;
                        let newest = self::kept(request, facts).await?;
                        let state = newest.state;
                        (version, waiting) = (newest.version, newest.waiting);
                        app = App { state, seen };
                        continue;
                    }
                    error @ SaveError::Other { .. } => return Err(error.into()),
                },
            }
        }
        for entry in &step.entries {
            shared.journal.tell(entry, &uid);
        }
        app = step.app;
        let mut answer = None;
        // A plan asks Git, and touches nothing else.
        let asks = |action: &Action| matches!(action, Action::Revert(_));
        for mut action in step.actions.into_iter().filter(|action| saves || asks(action)) {
            if let Action::Revert(order) = &mut action {
                order.record = waiting.intent(&order.rollback).map(str::to_owned);
            }
            let (shared, key, policy) = (Arc::clone(&shared), request.app.clone(), Arc::clone(&policy));
            let done = perform::perform(shared, key, policy, action).await;
            answer = answer.or(done.filter(|event| matches!(event, Event::Reverted { .. })));
        }
        match answer {
            Some(answer) => event = answer,
            None => break,
        }
    }
    if saves {
        let facts = app.seen.application.as_deref();
        if let Some(ledger) = facts.and_then(|facts| shared.ledgers.ledger(facts, &policy)) {
            record(request, ledger, (&uid, &app.state), waiting, version.as_ref()).await;
        }
    }
    shared.journal.flush().await;
    drop(shared);
    let mut entries = Vec::new();
    while let Ok(entry) = told.try_recv() {
        entries.push(entry);
    }
    Ok(Told { entries, phase: app.state.phase })
}

/// The newest sync in Argo CD's history of a revision that begins so.
fn synced(facts: &ApplicationFacts, to: &str) -> anyhow::Result<HistoryEntry> {
    let begins = |entry: &&HistoryEntry| entry.revisions.iter().any(|one| one.as_str().starts_with(to));
    let known =
        || facts.history.iter().rev().map(|entry| entry.revisions.short()).collect::<Vec<_>>().join(", ");
    let found = facts.history.iter().rev().find(begins).filter(|_| !to.is_empty());
    found.cloned().with_context(|| format!("Argo CD's history has no sync of `{to}`; it has {}", known()))
}

fn shared(
    request: &Request,
    fleet: Fleet,
    tells: bool,
) -> anyhow::Result<(Arc<Shared>, mpsc::UnboundedReceiver<Entry>)> {
    let (tap, told) = mpsc::unbounded_channel();
    let git = Git::new(&request.cache)
        .with_context(|| format!("cannot keep copies of repositories in {}", request.cache.display()))?;
    let journal = if tells {
        journal::Journal::start(request.clients.request.clone(), Some(tap))
    } else {
        journal::Journal::aside(tap)
    };
    let shared = Shared {
        clients: request.clients.clone(),
        argocd_namespace: request.argocd_namespace.clone(),
        cluster: request.cluster.clone(),
        store: Arc::clone(&request.store),
        git: Arc::new(git),
        slos: Slos::with_secrets(request.clients.request.clone(), request.argocd_namespace.clone())
            .context("cannot make the HTTP client for Prometheus")?,
        fleet: Mutex::new(fleet),
        journal,
        own: Arc::new(super::own::Own::new(&request.cluster, &request.by)),
        ledgers: Ledgers::start(
            request.ledger.clone(),
            super::homes::Place {
                client: request.clients.request.clone(),
                argocd_namespace: request.argocd_namespace.clone(),
                cluster: request.cluster.clone(),
            },
            request.cache.join(super::LEDGERS),
        ),
        by: request.by.clone(),
        write_checks: write_access::Checks::default(),
    };
    Ok((Arc::new(shared), told))
}

/// Brings what waits into the ledger; what cannot be brought there waits for the daemon.
async fn record(
    request: &Request,
    ledger: Arc<dyn Ledger>,
    (uid, state): (&str, &AppState),
    mut waiting: Waiting,
    version: Option<&Version>,
) {
    let (mut records, mut ids) = (Vec::new(), Vec::new());
    for packed in waiting.records() {
        ids.push(packed.id.clone());
        match packed.record() {
            Ok(record) => records.push(record),
            Err(error) => warn!(id = packed.id, %error, "A record cannot be read; please report this."),
        }
    }
    let appended = tokio::task::spawn_blocking(move || ledger.append(&records)).await;
    match appended {
        Ok(Ok(_)) => {
            waiting.has(&ids);
            // Where a daemon saved meanwhile, it appends them once more, which changes nothing.
            if let Err(error) = save(request, uid, state, &waiting, version).await {
                warn!(%error, "The records are in the ledger, and still wait in the saved state as well.");
            }
        }
        Ok(Err(error)) => warn!(%error, "The records wait in the saved state for the daemon."),
        Err(error) => warn!(%error, "The records wait in the saved state for the daemon."),
    }
}

/// Writes down what is meant before it is done; somebody else's newer state is never overwritten.
async fn save(
    request: &Request,
    uid: &str,
    state: &AppState,
    waiting: &Waiting,
    expect: Option<&Version>,
) -> anyhow::Result<Version> {
    let summary = Summary {
        phase: state.phase.name().to_owned(),
        revision: state.phase.current().map(ToString::to_string).unwrap_or_default(),
        last_good: state.last_good.as_ref().map(|good| good.revisions.to_string()).unwrap_or_default(),
        reason: format!("a person asked for a rollback: {}", request.because),
    };
    let document = Document { summary, state: kept::write(state, waiting)? };
    Ok(request.store.save(&request.app, uid, &document, expect).await?)
}
