//! What is proposed to a forge: the side branch's name, and the title and description of its pull request.

use sha2::{Digest as _, Sha256};

use crate::engine::facts::{AppKey, Revision};
use crate::engine::forge::{MergeMethod, SIDE_BRANCHES};

/// The longest part of a branch's name that is an application's, in characters: forges refuse very long names.
const NAME_CHARS_MAX: usize = 100;

/// The longest title, in characters: the least that the forges take is 255.
const TITLE_CHARS_MAX: usize = 200;

/// A pull request to open or to adopt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The branch that is to change.
    pub base: String,
    /// The side branch that holds the revert.
    pub branch: String,
    /// The revert commit on it: a branch that somebody else has changed since is left alone.
    pub commit: String,
    /// The title.
    pub title: String,
    /// The description, with the evidence.
    pub body: String,
    /// Labels to put on it.
    pub labels: Vec<String>,
    /// People, or teams as `organisation/team`, who are asked for a review.
    pub reviewers: Vec<String>,
    /// Whether and how the forge shall merge it by itself, once its own rules allow.
    pub auto_merge: Option<MergeMethod>,
}

impl Proposal {
    /// Proposes a commit, in the words of its message.
    ///
    /// A squash takes its message from here at some forges, so the trailers stay at the end. No line can be a command to
    /// GitLab (`/approve`), since each begins with words of ours or a dash.
    pub fn new(base: &str, branch: &str, commit: &str, message: &str) -> Self {
        let (subject, body) = message.split_once('\n').unwrap_or((message, ""));
        Self {
            base: base.to_owned(),
            branch: branch.to_owned(),
            commit: commit.to_owned(),
            title: subject.chars().take(TITLE_CHARS_MAX).collect(),
            body: body.trim().to_owned(),
            labels: Vec::new(),
            reviewers: Vec::new(),
            auto_merge: None,
        }
    }
}

/// The side branch for a rollback: the same for the same application and bad revision, whoever asks and however often.
pub fn branch(app: &AppKey, bad: &Revision) -> String {
    let readable = format!("{}-{}", app.namespace, app.name);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    // Names of Kubernetes objects are safe as they are, apart from dots at the wrong places.
    let sound = readable.chars().all(plain)
        && readable.len() <= NAME_CHARS_MAX
        && !readable.contains("..")
        && !readable.contains(".lock");
    let name = if sound {
        readable
    } else {
        let kept: String =
            readable.chars().filter(|c| plain(*c) && *c != '.').take(NAME_CHARS_MAX / 2).collect();
        let digest = format!("{:x}", Sha256::digest(readable.as_bytes()));
        let digest: String = digest.chars().take(12).collect();
        format!("{kept}-{digest}")
    };
    format!("{SIDE_BRANCHES}{name}-{}", bad.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_named_safely() {
        let bad = Revision::new("0123456789abcdef0123456789abcdef01234567");
        let name = |namespace: &str, name: &str| branch(&AppKey::new(namespace, name), &bad);
        assert_eq!(name("argocd", "shop"), format!("lastgood/argocd-shop-{}", bad.short()));
        let (dots, long) = (name("argocd", "a..b.lock"), name("argocd", &"x".repeat(250)));
        assert!(dots.starts_with("lastgood/argocd-ablock-") && !dots.contains(".."), "{dots}");
        assert!(long.len() < 90, "{long}");
        assert_ne!(name("argocd", "a..b"), name("argocd", "a..c"));
        for name in [dots, long] {
            assert!(git2::Reference::is_valid_name(&format!("refs/heads/{name}")), "{name}");
        }
    }

    #[test]
    fn a_proposal_speaks_as_its_commit_does() {
        let message = "Revert \"more\"\n\nThis reverts commit 1.\n\nLastgood-Bad: 1\n";
        let proposal = Proposal::new("main", "lastgood/a", "2", message);
        assert_eq!(proposal.title, "Revert \"more\"");
        assert_eq!(proposal.body, "This reverts commit 1.\n\nLastgood-Bad: 1");
    }
}
