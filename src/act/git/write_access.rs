//! Whether the credentials may push, found out without leaving a trace: a push session is opened, and nothing is pushed.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use super::advert::Wanted;
use super::error::{Class, Failure, GitError};
use super::transport::Session;
use super::url::{Scheme, redact};
use super::{http, push, ssh};
use crate::engine::action::Refusal;

/// A push of no commands at all. Git itself asks so before it sends a large pack.
const NO_COMMANDS: &[u8] = b"0000";
/// Bytes of an answer to nothing that are read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// What is known about the right to push to a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteAccess {
    /// The server opens a session for a push, and has the branch. Whether this branch takes a push from this account
    /// (protection, hooks, signatures) is known only by pushing.
    Allowed,
    /// No push can succeed.
    Refused(Refusal),
    /// It could not be found out.
    Unknown(GitError),
}

/// Answers [`Git::check_write`](super::Git::check_write).
pub(crate) fn check(session: &Arc<Session>, target: &str) -> WriteAccess {
    let url = &session.access.url;
    let checked = match Scheme::of(url) {
        Some(Scheme::Local) => local(url),
        Some(Scheme::Http) => {
            session.begin(Wanted::target(target));
            http::open_push(session).and_then(|(kept, stream)| say_nothing(session, kept, stream))
        }
        Some(Scheme::Ssh) => {
            session.begin(Wanted::target(target));
            ssh::open_push(session).and_then(|(kept, stream)| say_nothing(session, kept, stream))
        }
        None => {
            let reason = format!("`{}` is not an HTTP, SSH or file URL", redact(url));
            return WriteAccess::Refused(Refusal::Unsupported { reason });
        }
    };
    match checked {
        // A session for a push does not say which branch is the default one.
        Ok(names) if !["", "HEAD"].contains(&target) && !is_among(&names, target) => {
            WriteAccess::Refused(Refusal::NotABranch { target_revision: target.to_owned() })
        }
        Ok(_) => WriteAccess::Allowed,
        Err(Failure { class: Class::NotAuthorised, message }) => {
            WriteAccess::Refused(Refusal::NotAuthorised { repo_url: redact(url), message })
        }
        Err(failure) => WriteAccess::Unknown(failure.on(url)),
    }
}

fn is_among(names: &[String], target: &str) -> bool {
    let branch = target.strip_prefix("refs/heads/").unwrap_or(target);
    names.iter().any(|name| name.strip_prefix("refs/heads/") == Some(branch))
}

/// Pushes nothing; gives the names of the references that were kept.
fn say_nothing(
    session: &Session,
    kept: Vec<(String, String)>,
    mut stream: impl io::Read + io::Write,
) -> Result<Vec<String>, Failure> {
    let said = stream.write_all(NO_COMMANDS).and_then(|()| stream.flush());
    let said = said.and_then(|()| stream.take(ANSWER_BYTES_MAX).read_to_end(&mut Vec::new()));
    // Not every server knows what to answer to nothing, or ends well after it; only a plain no counts.
    match said.map_err(|e| session.explain_io(&e)) {
        Err(failure) if failure.class == Class::NotAuthorised => Err(failure),
        _ => Ok(kept.into_iter().map(|(name, _)| name).collect()),
    }
}

/// Whether a repository on the same disk can be written to; gives its branches.
fn local(url: &str) -> Result<Vec<String>, Failure> {
    let explain = |e: git2::Error| Failure::from_git2(&e);
    let there = push::open_local(url).map_err(explain)?;
    for folder in ["objects", "refs/heads"] {
        writable(&there.path().join(folder))?;
    }
    let branches = there.references_glob("refs/heads/*").map_err(explain)?.flatten();
    Ok(branches.map(|branch| String::from_utf8_lossy(branch.name_bytes()).into_owned()).collect())
}

/// Makes a file that has no name, and so leaves nothing behind.
fn writable(folder: &Path) -> Result<(), Failure> {
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(e) => {
            let denied =
                matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem);
            let class = if denied { Class::NotAuthorised } else { Class::Other };
            Err(Failure::new(class, format!("{} cannot be written to: {e}", folder.display())))
        }
    }
}
