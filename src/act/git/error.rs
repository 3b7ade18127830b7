//! Errors of the Git room: what failed, on which repository, why, and what to do.

use git2::{ErrorClass, ErrorCode};

use super::message::one_line;
use super::url::redact;
use crate::engine::action::Refusal;

/// The most that is kept of a server's words, in characters.
pub(crate) const WORDS_CHARS_MAX: usize = 500;

/// Why nothing is known of a repository. URLs in it carry no password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// The credentials were refused.
    #[error("not authorised at `{repo_url}`: {message}; check the repository's credentials")]
    NotAuthorised {
        /// The repository.
        repo_url: String,
        /// The server's words.
        message: String,
    },
    /// There is no such repository, or none that these credentials may see.
    #[error(
        "no repository at `{repo_url}`: {message}; check the URL, and whether the credentials may see it"
    )]
    NotFound {
        /// The repository.
        repo_url: String,
        /// The server's words.
        message: String,
    },
    /// The server did not answer, or not in time, or is overloaded.
    #[error("no answer from `{repo_url}`: {message}")]
    Unreachable {
        /// The repository.
        repo_url: String,
        /// What failed.
        message: String,
    },
    /// It must not be, whatever is tried.
    #[error("{0}")]
    Refused(Refusal),
    /// libgit2 could not be set up.
    #[error("libgit2 could not be set up: {message}")]
    Unprepared {
        /// Why.
        message: String,
    },
    /// Anything else.
    #[error("git failed on `{repo_url}`: {message}")]
    Other {
        /// The repository.
        repo_url: String,
        /// What failed.
        message: String,
    },
}

/// Why a transport gave up: the part of a [`GitError`] that libgit2 would forget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) message: String,
}

/// The class of a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    NotAuthorised,
    NotFound,
    Unreachable,
    /// The copy is at fault, or the repository on the same disk.
    Damaged,
    Other,
}

impl Failure {
    pub(crate) fn new(class: Class, message: impl AsRef<str>) -> Self {
        Self { class, message: one_line(message.as_ref(), WORDS_CHARS_MAX) }
    }

    /// The same for libgit2, which keeps only the text.
    pub(crate) fn to_git2(&self) -> git2::Error {
        git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, &self.message)
    }

    /// libgit2's own error, where no transport of ours has said more.
    pub(crate) fn from_git2(error: &git2::Error) -> Self {
        let class = match (error.code(), error.class()) {
            (ErrorCode::Auth | ErrorCode::Certificate, _) => Class::NotAuthorised,
            (ErrorCode::Timeout, _)
            | (_, ErrorClass::Net | ErrorClass::Http | ErrorClass::Ssl | ErrorClass::Ssh) => {
                Class::Unreachable
            }
            _ if is_damage(error) => Class::Damaged,
            _ => Class::Other,
        };
        Self::new(class, error.message())
    }

    pub(crate) fn on(self, repo_url: &str) -> GitError {
        let (repo_url, message) = (redact(repo_url), self.message);
        match self.class {
            Class::NotAuthorised => GitError::NotAuthorised { repo_url, message },
            Class::NotFound => GitError::NotFound { repo_url, message },
            Class::Unreachable => GitError::Unreachable { repo_url, message },
            Class::Damaged | Class::Other => GitError::Other { repo_url, message },
        }
    }
}

/// Whether an error tells of a damaged object store rather than of the world.
fn is_damage(error: &git2::Error) -> bool {
    matches!(
        error.class(),
        ErrorClass::Odb | ErrorClass::Object | ErrorClass::Zlib | ErrorClass::Indexer | ErrorClass::Reference
    ) || (error.class() == ErrorClass::Os && error.code() == ErrorCode::GenericError)
}
