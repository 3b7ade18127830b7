//! Taking over changed policies while the daemon runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::mistake::Mistakes;
use super::set::{PolicySet, SourceFile, digest, read_files};

/// How often the directory is read again.
///
/// Reading beats being told: it is a handful of small files, and notifications get lost when a `ConfigMap` mount swaps its link.
pub const PERIOD: Duration = Duration::from_secs(2);

/// Keeps the last good policies in force.
#[derive(Debug)]
pub struct Reloader {
    good: Arc<PolicySet>,
    /// What was answered for last.
    seen: Contents,
    /// What was there a moment ago and differs from `seen`.
    pending: Option<Contents>,
}

/// What a look into the directory gave: the files' digest, or why they cannot be read.
type Contents = Result<String, Mistakes>;

/// What became of a look into the directory.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// These policies are in force now.
    Changed(Arc<PolicySet>),
    /// Nothing new.
    Unchanged,
    /// The new version is bad, and the last good one stays in force. Said once for each bad version.
    Refused(Mistakes),
}

impl Reloader {
    /// Begins with policies that were loaded.
    pub fn new(good: Arc<PolicySet>) -> Self {
        let seen = Ok(good.digest().to_owned());
        Self { good, seen, pending: None }
    }

    /// The policies in force.
    pub fn good(&self) -> &Arc<PolicySet> {
        &self.good
    }

    /// Takes a look into the directory.
    ///
    /// A change counts once two looks in a row showed it: an editor that writes in place could be caught half-way, and half a
    /// policy may be a valid one with other limits.
    pub fn look(&mut self, files: Result<Vec<SourceFile>, Mistakes>) -> Outcome {
        let contents = files.as_ref().map(|files| digest(files)).map_err(Clone::clone);
        if contents == self.seen {
            self.pending = None;
            return Outcome::Unchanged;
        }
        if self.pending.as_ref() != Some(&contents) {
            self.pending = Some(contents);
            return Outcome::Unchanged;
        }
        self.pending = None;
        self.seen = contents;
        match files.and_then(|files| PolicySet::from_files(&files)) {
            // A bad version that is taken back changes nothing.
            Ok(set) if set == *self.good => Outcome::Unchanged,
            Ok(set) => {
                self.good = Arc::new(set);
                Outcome::Changed(Arc::clone(&self.good))
            }
            Err(mistakes) => Outcome::Refused(mistakes),
        }
    }
}

/// Looks into the directory again and again, and sends policies that changed, until nobody listens any more.
///
/// The channel must hold the policies that were loaded from the same directory.
pub async fn watch(dir: PathBuf, period: Duration, tx: watch::Sender<Arc<PolicySet>>) {
    let mut reloader = Reloader::new(Arc::clone(&tx.borrow()));
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = tx.closed() => return,
            _ = ticks.tick() => {}
        }
        let path = dir.clone();
        // A network volume may block.
        let Ok(files) = tokio::task::spawn_blocking(move || read_files(&path)).await else { continue };
        let outcome = reloader.look(files);
        tell(&dir, reloader.good(), &outcome);
        if let Outcome::Changed(set) = outcome {
            tx.send_replace(set);
        }
    }
}

fn tell(dir: &Path, good: &PolicySet, outcome: &Outcome) {
    let dir = dir.display();
    match outcome {
        Outcome::Unchanged => {}
        Outcome::Changed(set) if set.is_empty() => warn!(%dir, "No policies are left: nothing is watched."),
        Outcome::Changed(set) => {
            info!(%dir, policies = set.len(), digest = set.digest(), "Policies reloaded.");
        }
        Outcome::Refused(mistakes) => {
            for mistake in mistakes.iter() {
                warn!(file = mistake.location(), mistake = mistake.one_line(), "Mistake in a policy.");
            }
            let (count, digest) = (mistakes.len(), good.digest());
            warn!(%dir, mistakes = count, in_force = digest, "New policies refused; the last good ones stay in force.");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mistake::Mistake;
    use super::*;

    fn good(application: &str) -> Vec<SourceFile> {
        let text = format!(
            "apiVersion: lastgood.dev/v1alpha1\napplication: {{ name: {application} }}\nrollback: {{ mode: push }}\n"
        );
        vec![SourceFile { name: "p.yaml".into(), bytes: text.into_bytes() }]
    }

    fn bad() -> Vec<SourceFile> {
        vec![SourceFile { name: "p.yaml".into(), bytes: b"nonsense".to_vec() }]
    }

    fn gone() -> Mistakes {
        Mistake::whole("dir", "cannot read the policies", None).into()
    }

    fn reloader() -> Reloader {
        Reloader::new(Arc::new(PolicySet::from_files(&good("a")).unwrap()))
    }

    /// Looks again and again, and notes what became of each look.
    #[track_caller]
    fn check(reloader: &mut Reloader, looks: &[Result<Vec<SourceFile>, Mistakes>], expected: &str) {
        let outcomes: Vec<&str> = looks
            .iter()
            .map(|files| match reloader.look(files.clone()) {
                Outcome::Changed(_) => "changed",
                Outcome::Unchanged => "-",
                Outcome::Refused(_) => "refused",
            })
            .collect();
        assert_eq!(outcomes.join(" "), expected);
    }

    #[test]
    fn a_change_counts_once_it_stays() {
        let mut reloader = reloader();
        check(&mut reloader, &[Ok(good("a")), Ok(good("b")), Ok(good("a"))], "- - -");
        check(&mut reloader, &[Ok(good("b")), Ok(good("c")), Ok(good("c")), Ok(good("c"))], "- - changed -");
        assert_eq!(**reloader.good(), PolicySet::from_files(&good("c")).unwrap());
        check(&mut reloader, &[Ok(vec![]), Ok(vec![])], "- changed");
        assert!(reloader.good().is_empty());
    }

    #[test]
    fn a_bad_version_is_refused_once_and_the_last_good_one_stays() {
        let mut reloader = reloader();
        let before = Arc::clone(reloader.good());
        check(&mut reloader, &[Ok(bad()), Ok(bad()), Ok(bad())], "- refused -");
        check(&mut reloader, &[Err(gone()), Err(gone()), Err(gone())], "- refused -");
        assert!(Arc::ptr_eq(&before, reloader.good()));
        check(&mut reloader, &[Ok(good("a")), Ok(good("a"))], "- -");
        check(&mut reloader, &[Ok(bad()), Ok(bad()), Ok(good("b")), Ok(good("b"))], "- refused - changed");
    }

    #[tokio::test]
    async fn watching_sends_what_changed_and_ends_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |files: &[SourceFile]| std::fs::write(dir.path().join("p.yaml"), &files[0].bytes).unwrap();
        write(&good("a"));
        let (tx, mut rx) = watch::channel(Arc::new(PolicySet::load(dir.path()).unwrap()));
        let watching = tokio::spawn(super::watch(dir.path().to_owned(), Duration::from_millis(1), tx));
        write(&good("b"));
        rx.changed().await.unwrap();
        let selector = rx.borrow_and_update().iter().next().unwrap().selector.clone();
        assert_eq!(selector.name.unwrap().as_str(), "b");
        drop(rx);
        watching.await.unwrap();
    }
}
