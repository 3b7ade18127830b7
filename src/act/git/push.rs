//! Pushes one commit to one branch, if the branch is still where the plan found it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use git2::{ErrorClass, ErrorCode, Oid, PushOptions, RemoteCallbacks, Repository};

use super::advert::Wanted;
use super::declined::{Declined, HEARD_BYTES_MAX};
use super::error::{Class, Failure};
use super::transport::Session;
use super::url::Scheme;

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushOutcome {
    /// The server says that the branch is at the new commit.
    Pushed,
    /// Somebody else was faster; nothing was changed.
    Moved,
    /// The server refused; it may be that somebody else was faster.
    Declined(Declined),
    /// The credentials do not allow it.
    NotAuthorised(String),
    /// No answer: it may be done or not.
    Unknown(Failure),
}

/// Pushes `new` to the branch, which must be at `expected`, or must not exist if that is zero. Never forces.
pub(crate) fn push(
    repo: &Repository,
    session: &Session,
    branch: &str,
    new: Oid,
    expected: Oid,
) -> PushOutcome {
    let reference = format!("refs/heads/{branch}");
    // What the server has need not be sent; the branch and what the commit stands on are enough to know that.
    let parents = repo.find_commit(new).map(|new| new.parent_ids().collect::<Vec<_>>()).unwrap_or_default();
    let ids = parents.iter().map(ToString::to_string).collect();
    session.begin(Wanted { names: vec![reference.clone()], ids });
    if Scheme::of(&session.access.url) == Some(Scheme::Local) {
        return match local(repo, &session.access.url, &reference, new, expected) {
            Ok(()) => PushOutcome::Pushed,
            Err(e) if e.code() == ErrorCode::Modified => PushOutcome::Moved,
            Err(e) => PushOutcome::Unknown(session.explain(&e)),
        };
    }
    // libgit2's binding panics on a status that is not UTF-8, after the push was answered.
    match catch_unwind(AssertUnwindSafe(|| remote(repo, session, &reference, new, expected))) {
        Ok(outcome) => outcome,
        Err(_) => PushOutcome::Unknown(Failure::new(Class::Other, "the server's answer is not UTF-8")),
    }
}

fn remote(repo: &Repository, session: &Session, reference: &str, new: Oid, expected: Oid) -> PushOutcome {
    // None until the server has spoken: silence is no success.
    let status: RefCell<Option<Option<String>>> = RefCell::new(None);
    let words: RefCell<Vec<u8>> = RefCell::new(Vec::new());
    let mut callbacks = RemoteCallbacks::new();
    callbacks.push_negotiation(|updates| {
        let as_planned = |u: &git2::PushUpdate<'_>| u.src() == expected && u.dst() == new;
        if updates.len() == 1 && updates.iter().all(as_planned) {
            return Ok(());
        }
        let moved = "the branch moved between fetch and push";
        Err(git2::Error::new(ErrorCode::Modified, ErrorClass::Reference, moved))
    });
    callbacks.push_update_reference(|name, message| {
        if name == reference {
            *status.borrow_mut() = Some(message.map(str::to_owned));
        }
        Ok(())
    });
    callbacks.sideband_progress(|text| {
        let mut words = words.borrow_mut();
        let room = HEARD_BYTES_MAX.saturating_sub(words.len());
        words.extend(text.iter().take(room));
        true
    });
    let mut options = PushOptions::new();
    options.remote_callbacks(callbacks);
    let pushed = repo
        .remote_anonymous(&session.access.url)
        .and_then(|mut remote| remote.push(&[format!("{new}:{reference}")], Some(&mut options)));
    drop(options);
    let words = String::from_utf8_lossy(&words.into_inner()).into_owned();
    match (pushed, status.into_inner()) {
        (Ok(()), Some(None)) => PushOutcome::Pushed,
        (_, Some(Some(reason))) => {
            let hush = |text: &str| session.access.hush(text);
            PushOutcome::Declined(Declined::new(&hush(&reason), &hush(&words)))
        }
        (Err(e), None) if matches!(e.code(), ErrorCode::Modified | ErrorCode::NotFastForward) => {
            PushOutcome::Moved
        }
        (Err(e), _) => match session.explain(&e) {
            failure if failure.class == Class::NotAuthorised => PushOutcome::NotAuthorised(failure.message),
            failure => PushOutcome::Unknown(failure),
        },
        (Ok(()), None) => {
            PushOutcome::Unknown(Failure::new(Class::Other, "the server did not say what became of the push"))
        }
    }
}

/// Pushes into a repository on the same disk.
///
/// libgit2's own local push sets the branch whatever it holds by then; this compares and swaps under the lock.
fn local(repo: &Repository, url: &str, reference: &str, new: Oid, expected: Oid) -> Result<(), git2::Error> {
    let there = open_local(url)?;
    let mut walk = repo.revwalk()?;
    walk.push(new)?;
    for known in repo.find_commit(new)?.parent_ids().chain((!expected.is_zero()).then_some(expected)) {
        walk.hide(known)?;
    }
    let mut pack = repo.packbuilder()?;
    pack.insert_walk(&mut walk)?;
    let mut bytes = git2::Buf::new();
    pack.write_buf(&mut bytes)?;
    let odb = there.odb()?;
    let mut writer = odb.packwriter()?;
    std::io::Write::write_all(&mut writer, &bytes).map_err(|e| git2::Error::from_str(&e.to_string()))?;
    writer.commit()?;
    there.reference_matching(reference, new, true, expected, "lastgood: revert").map(drop)
}

/// Opens a repository on the same disk to push to it.
pub(crate) fn open_local(url: &str) -> Result<Repository, git2::Error> {
    let path = match url.strip_prefix("file://") {
        Some(_) => reqwest::Url::parse(url).ok().and_then(|url| url.to_file_path().ok()),
        None => Some(url.into()),
    };
    let path = path.ok_or_else(|| git2::Error::from_str("the file URL names no path on this machine"))?;
    let there = Repository::open(path)?;
    if !there.is_bare() {
        return Err(git2::Error::from_str("a push to a repository with a working tree is not supported"));
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use git2::{Signature, Time};

    use super::super::access::Access;
    use super::super::transport;
    use super::*;

    fn commit(repo: &Repository, message: &str, parents: &[Oid]) -> Oid {
        let tree = repo.find_tree(repo.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let signature = Signature::new("Ann", "ann@example.org", &Time::new(0, 0)).unwrap();
        let parents: Vec<_> = parents.iter().map(|id| repo.find_commit(*id).unwrap()).collect();
        let parents: Vec<_> = parents.iter().collect();
        repo.commit(None, &signature, &signature, message, &tree, &parents).unwrap()
    }

    #[test]
    fn a_local_push_compares_and_swaps() {
        transport::init().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        let (here, there) = (Repository::init_bare(here).unwrap(), Repository::init_bare(there).unwrap());
        let old = commit(&there, "old", &[]);
        assert_eq!(commit(&here, "old", &[]), old);
        let other = commit(&there, "somebody else's", &[old]);
        let new = commit(&here, "ours", &[old]);
        let url = format!("file://{}", there.path().display());
        let session = Session::new(&Access::new(&url), std::time::Instant::now());
        let set = |id: Oid| there.reference("refs/heads/main", id, true, "test").map(drop).unwrap();
        let tip = || there.refname_to_id("refs/heads/main").unwrap();

        set(other);
        assert_eq!(push(&here, &session, "main", new, old), PushOutcome::Moved);
        assert_eq!(tip(), other);
        set(old);
        assert_eq!(push(&here, &session, "main", new, old), PushOutcome::Pushed);
        assert_eq!(tip(), new);
        assert_eq!(there.find_commit(new).unwrap().message().unwrap(), "ours");
        // A branch that must not exist yet.
        assert_eq!(push(&here, &session, "main", new, Oid::ZERO_SHA1), PushOutcome::Moved);
        assert_eq!(push(&here, &session, "side", new, Oid::ZERO_SHA1), PushOutcome::Pushed);
        assert_eq!(there.refname_to_id("refs/heads/side").unwrap(), new);
    }
}
