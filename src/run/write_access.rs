//! Says at once that lastgood could not push, instead of at the first rollback.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{Shared, perform};
use crate::act::git::{WriteAccess, redact};
use crate::engine::facts::{AppKey, ApplicationFacts, SourceKind};
use crate::engine::policy::{Mode, Policy};
use crate::record::events::{self, Notice, Urgency};

/// How long one check may take.
const CHECK_MAX: Duration = Duration::from_secs(30);
/// Checks at the same time, so that a start with many repositories does not look like an attack to a forge.
const AT_ONCE: usize = 4;
/// When what is allowed is asked again: keys and tokens expire.
const AGAIN_AFTER_YES: Duration = Duration::from_secs(6 * 60 * 60);
/// When what is refused is asked again: somebody may have seen to it.
const AGAIN_AFTER_NO: Duration = Duration::from_secs(60 * 60);
/// When a server that did not answer is asked again.
const AGAIN_AFTER_SILENCE: Duration = Duration::from_secs(10 * 60);

/// What the credentials of a repository are chosen by, and the branch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    repo_url: String,
    target_revision: String,
    project: String,
    secret: Option<String>,
}

/// The checks that were made: one for each repository, branch and credentials, not for each application.
pub(super) struct Checks {
    /// What the newest answer was, where there was one.
    allowed: Mutex<HashMap<Place, bool>>,
    due: Mutex<HashMap<Place, Instant>>,
    turns: Semaphore,
}

impl Default for Checks {
    fn default() -> Self {
        Self { allowed: Mutex::default(), due: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

impl Checks {
    /// Whether this is due; if so, nobody else is told so for a while.
    fn take(&self, place: &Place, now: Instant) -> bool {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.get(place).is_some_and(|due| *due > now) {
            return false;
        }
        due.insert(place.clone(), now + AGAIN_AFTER_SILENCE);
        true
    }

    /// Notes an answer; whether it is another one than before. That it is allowed from the beginning is no news.
    fn is_news(&self, place: &Place, allowed: bool) -> bool {
        let mut known = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(place.clone(), allowed).unwrap_or(true) != allowed
    }

    fn made(&self, place: Place, again: Instant) {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).insert(place, again);
    }
}

/// Starts the checks that are due for an application, unless its policy never pushes.
pub(super) fn begin(shared: &Arc<Shared>, facts: &ApplicationFacts, policy: &Arc<Policy>) {
    if policy.mode == Mode::DryRun {
        return;
    }
    // What a hydrator writes is undone where it renders from.
    let sources =
        facts.dry.as_ref().map_or(facts.sources.as_slice(), |dry| std::slice::from_ref(&dry.source));
    for source in sources.iter().filter(|source| matches!(source.kind, SourceKind::Git { .. })) {
        let place = Place {
            repo_url: source.repo_url.clone(),
            target_revision: source.target_revision.clone(),
            project: facts.project.clone(),
            secret: policy.git.secret.clone(),
        };
        if shared.write_checks.take(&place, Instant::now()) {
            let (shared, policy) = (Arc::clone(shared), Arc::clone(policy));
            let (app, uid) = (facts.app.clone(), facts.uid.clone());
            tokio::spawn(async move { check(&shared, &policy, place, &app, &uid).await });
        }
    }
}

async fn check(shared: &Arc<Shared>, policy: &Policy, place: Place, app: &AppKey, uid: &str) {
    // Never closed.
    let _turn = shared.write_checks.turns.acquire().await;
    let (repository, branch) = (redact(&place.repo_url), place.target_revision.clone());
    let (note, again) = match ask(shared, policy, &place).await {
        Ok(WriteAccess::Allowed) => {
            info!(repository, branch, "The repository can be pushed to.");
            if shared.write_checks.is_news(&place, true) {
                let sentence = format!("`{branch}` of {repository} can be pushed to again");
                let detail = json!({ "repository": repository, "branch": branch });
                shared.ledgers.tell_own(&shared.own.record("CanPush", &sentence, false, detail));
            }
            shared.write_checks.made(place, Instant::now() + AGAIN_AFTER_YES);
            return;
        }
        Ok(WriteAccess::Refused(refusal)) => {
            if shared.write_checks.is_news(&place, false) {
                let sentence = format!("`{branch}` of {repository} cannot be pushed to: {refusal}");
                let detail = json!({ "repository": repository, "branch": branch, "refusal": refusal });
                shared.ledgers.tell_own(&shared.own.record("CannotPush", &sentence, true, detail));
            }
            (format!("a rollback could not be pushed: {refusal}"), AGAIN_AFTER_NO)
        }
        Ok(WriteAccess::Unknown(error)) => (cannot_tell(&error.to_string()), AGAIN_AFTER_SILENCE),
        Err(error) => (cannot_tell(&error), AGAIN_AFTER_SILENCE),
    };
    warn!(application = %app, repository, branch, note, "A rollback could not be pushed now.");
    let (reason, action) = ("CannotPush", "CheckWriteAccess");
    let notice = Notice { app, uid, urgency: Urgency::Warning, reason, action, note: &note };
    events::publish(&shared.clients.request, &notice, Timestamp::now()).await;
    shared.write_checks.made(place, Instant::now() + again);
}

fn cannot_tell(error: &str) -> String {
    format!("whether a rollback could be pushed is not known: {error}")
}

async fn ask(shared: &Arc<Shared>, policy: &Policy, place: &Place) -> Result<WriteAccess, String> {
    let access = perform::access(shared, policy, &place.repo_url, &place.project).await?;
    let (git, target) = (Arc::clone(&shared.git), place.target_revision.clone());
    let work = move || git.check_write(&access, &target, Instant::now() + CHECK_MAX);
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_asked_once_until_it_is_due_again() {
        let place = |repo_url: &str| Place {
            repo_url: repo_url.into(),
            target_revision: "main".into(),
            project: "default".into(),
            secret: None,
        };
        let (checks, now) = (Checks::default(), Instant::now());
        assert!(checks.take(&place("a"), now));
        assert!(!checks.take(&place("a"), now));
        assert!(checks.take(&place("b"), now));
        checks.made(place("a"), now + AGAIN_AFTER_NO);
        assert!(!checks.take(&place("a"), now + AGAIN_AFTER_SILENCE));
        assert!(checks.take(&place("a"), now + AGAIN_AFTER_NO));
        let news = [true, true, false, false, true].map(|allowed| checks.is_news(&place("a"), allowed));
        assert_eq!(news, [false, false, true, false, true]);
        assert!(checks.is_news(&place("b"), false));
    }
}
