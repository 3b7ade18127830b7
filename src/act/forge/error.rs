//! Errors of the forge room: what failed, at which forge, why, and what to do. No secret is in them.

use crate::act::git::redact;

/// Why a forge did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgeError {
    /// The repository has no forge, or none that is known.
    #[error("no pull request can be opened for `{repo_url}`: {reason}")]
    Unusable {
        /// The repository.
        repo_url: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// The token was refused, or may not do this.
    #[error("not authorised at {forge}: {message}; the token needs {needs}")]
    NotAuthorised {
        /// The forge's API.
        forge: String,
        /// The forge's words.
        message: String,
        /// What the token must be allowed to do.
        needs: &'static str,
    },
    /// There is no such thing, or none that the token may see.
    #[error("not found at {forge}: {message}; check the URL, and whether the token may see the repository")]
    NotFound {
        /// The forge's API.
        forge: String,
        /// The forge's words.
        message: String,
    },
    /// The forge did not answer, or not in time, or is overloaded.
    #[error("no answer from {forge}: {message}")]
    Unreachable {
        /// The forge's API.
        forge: String,
        /// What failed.
        message: String,
    },
    /// The forge understood and declined.
    #[error("{forge} declined: {message}")]
    Declined {
        /// The forge's API.
        forge: String,
        /// The forge's words.
        message: String,
    },
    /// The answer is not what this forge's API gives.
    #[error("{forge} gave an answer that cannot be understood: {message}")]
    Strange {
        /// The forge's API.
        forge: String,
        /// What is wrong with it.
        message: String,
    },
}

impl ForgeError {
    pub(super) fn unusable(repo_url: &str, reason: impl Into<String>) -> Self {
        Self::Unusable { repo_url: redact(repo_url), reason: reason.into() }
    }
}
