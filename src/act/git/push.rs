//! Pushes one commit to one branch, if the branch is still where the plan found it.

use std::io::{Read, Write};
use std::sync::Arc;

use git2::{ErrorCode, Oid, Repository};

use super::advert::Wanted;
use super::declined::Declined;
use super::error::{Class, Failure};
use super::transport::Session;
use super::url::{Scheme, local_path};
use super::wire::{self, Answer};
use super::{http, ssh};

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
    session: &Arc<Session>,
    branch: &str,
    new: Oid,
    expected: Oid,
) -> PushOutcome {
    let reference = format!("refs/heads/{branch}");
    session.begin(Wanted { names: vec![reference.clone()], ..Wanted::default() });
    if Scheme::of(&session.access.url) == Some(Scheme::Local) {
        return match local(repo, &session.access.url, &reference, new, expected) {
            Ok(()) => PushOutcome::Pushed,
            // Who holds the lock is about to move it.
            Err(e) if matches!(e.code(), ErrorCode::Modified | ErrorCode::Locked) => PushOutcome::Moved,
            Err(e) => PushOutcome::Unknown(session.explain(&e)),
        };
    }
    remote(repo, session, &reference, new, expected).unwrap_or_else(|failure| match failure.class {
        Class::NotAuthorised => PushOutcome::NotAuthorised(failure.message),
        _ => PushOutcome::Unknown(failure),
    })
}

fn remote(
    repo: &Repository,
    session: &Arc<Session>,
    reference: &str,
    new: Oid,
    expected: Oid,
) -> Result<PushOutcome, Failure> {
    let pack = wire::pack(repo, new).map_err(|e| session.explain(&e))?;
    let answer = if Scheme::of(&session.access.url) == Some(Scheme::Ssh) {
        let (kept, stream) = ssh::open_push(session)?;
        send(session, &kept, stream, reference, [expected, new], &pack)?
    } else {
        let (kept, stream) = http::open_push(session)?;
        send(session, &kept, stream, reference, [expected, new], &pack)?
    };
    // A server may repeat what it was sent.
    let hush = |text: &str| session.access.hush(text);
    Ok(match answer {
        None => PushOutcome::Moved,
        Some(Answer::Done) => PushOutcome::Pushed,
        Some(Answer::Declined { why, words }) => {
            PushOutcome::Declined(Declined::new(&hush(&why), &hush(&words)))
        }
        Some(Answer::Silence(words)) => {
            let why = "the server did not say what became of the push";
            let why = if words.is_empty() { why.to_owned() } else { format!("{why}: {}", hush(&words)) };
            PushOutcome::Unknown(Failure::new(Class::Other, why))
        }
    })
}

/// Sends if the branch is where it is expected; the server compares again when it moves it.
fn send(
    session: &Session,
    kept: &[(String, String)],
    mut stream: impl Read + Write,
    reference: &str,
    [expected, new]: [Oid; 2],
    pack: &[u8],
) -> Result<Option<Answer>, Failure> {
    let found = kept.iter().find(|(name, _)| name == reference).map(|(_, id)| id.as_str());
    let expected_id = expected.to_string();
    if found != (!expected.is_zero()).then_some(expected_id.as_str()) {
        return Ok(None);
    }
    let sent = wire::send(&mut stream, reference, [expected, new], pack);
    sent.map(Some).map_err(|e| session.explain_io(&e))
}

/// Pushes into a repository on the same disk.
///
/// libgit2's own local push sets the branch whatever it holds by then; this compares and swaps under the lock.
fn local(repo: &Repository, url: &str, reference: &str, new: Oid, expected: Oid) -> Result<(), git2::Error> {
    let there = open_local(url)?;
    let bytes = wire::pack(repo, new)?;
    let odb = there.odb()?;
    let mut writer = odb.packwriter()?;
    std::io::Write::write_all(&mut writer, &bytes).map_err(|e| git2::Error::from_str(&e.to_string()))?;
    writer.commit()?;
    there.reference_matching(reference, new, true, expected, "lastgood: push").map(drop)
}

/// Opens a repository on the same disk to push to it.
pub(crate) fn open_local(url: &str) -> Result<Repository, git2::Error> {
    let path =
        local_path(url).ok_or_else(|| git2::Error::from_str("the file URL names no path on this machine"))?;
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
