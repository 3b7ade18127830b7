//! Tells a server's reasons for refusing a push apart, by the words that forges use.

use super::error::{Failure, WORDS_CHARS_MAX};
use super::message::one_line;
use super::url::redact;
use crate::engine::action::Refusal;

/// Bytes of a server's words that are read: some draw pictures before they come to the point.
pub(crate) const HEARD_BYTES_MAX: usize = 16 * 1024;

/// A refused push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declined {
    pub(crate) reason: Reason,
    /// The server's words.
    pub(crate) message: String,
}

/// Why a server refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The branch takes no pushes, or none of this account.
    Protected,
    /// It wants a signature that it can verify.
    SignatureRequired,
    /// The account may not write.
    NotAuthorised,
    /// A rule or a script of its own.
    Hook,
    /// It has trouble of its own: later it may say something else.
    Trouble,
    /// It does not say, or not in words that are known.
    Unclear,
}

impl Declined {
    /// Makes sense of the protocol's status and of what the server wrote for people.
    pub(crate) fn new(status: &str, written: &str) -> Self {
        let written: Vec<&str> = written.split(['\n', '\r']).filter(|line| !is_noise(line)).collect();
        let written = one_line(&written.join(" "), HEARD_BYTES_MAX);
        let status = one_line(status, WORDS_CHARS_MAX);
        let reason = reason(&format!("{status} {written}").to_lowercase());
        let message = if written.is_empty() { status } else { format!("{status}: {written}") };
        Self { reason, message: one_line(&message, WORDS_CHARS_MAX) }
    }

    /// The same as an outcome; none when it may be another one later.
    pub(crate) fn refusal(self, branch: &str, repo_url: &str) -> Result<Refusal, Failure> {
        let (branch, message) = (branch.to_owned(), self.message);
        Ok(match self.reason {
            Reason::Protected => Refusal::Protected { branch, message },
            Reason::SignatureRequired => Refusal::SignatureRequired { branch, message },
            Reason::NotAuthorised => Refusal::NotAuthorised { repo_url: redact(repo_url), message },
            Reason::Hook => Refusal::HookDeclined { branch, message },
            Reason::Unclear => Refusal::Declined { branch, message },
            Reason::Trouble => {
                let why = format!("the server could not take the push: {message}");
                return Err(Failure::new(super::error::Class::Unreachable, why));
            }
        })
    }
}

/// Whether a line says nothing about the reason: progress, rules and pictures.
fn is_noise(line: &str) -> bool {
    let line = line.trim();
    let letters = line.chars().filter(|c| c.is_alphabetic()).count();
    let progress = ["Resolving deltas:", "Analyzing objects...", "Storing packfile...", "Storing index..."];
    letters * 3 < line.chars().count() || progress.iter().any(|start| line.starts_with(start))
}

/// What each forge says, in lower case; the first row with a sign of it wins.
///
/// Trouble first, since a forge that cannot reach itself calls that a declined hook. Rights before protection, since a
/// branch rule of a server like gitolite is a right. A pull request before a signature: where both are wanted, no
/// signature helps. Whatever else a hook said is the hook's own.
const SIGNS: [(Reason, &[&str]); 6] = [
    (
        Reason::Trouble,
        &[
            "internal api unreachable",
            "internal api error",
            "internal server error",
            "unpacker error",
            "temporarily unavailable",
            "try again later",
        ],
    ),
    // Secrets in a file: no pull request helps either.
    (Reason::Hook, &["push cannot contain secrets", "secret scanning", "file size limit", "gh001"]),
    (
        Reason::NotAuthorised,
        &[
            "permission denied for writing", // Gitea
            "tf401027",                      // Azure DevOps: the account lacks a right
            "denied by fallthru",            // gitolite
            "not authorized to write",
            "you do not have permission",
        ],
    ),
    (
        Reason::Protected,
        &[
            "must be made through a pull request",    // GitHub
            "must be made through the merge queue",   // GitHub
            "not authorized to push to this branch",  // GitHub
            "cannot update this protected ref",       // GitHub
            "status check",                           // GitHub
            "approving review",                       // GitHub
            "code to protected branches",             // GitLab: push and merge
            "code to a protected branch",             // GitLab
            "code into protected branches",           // GitLab
            "push to protected branch",               // Gitea, Forgejo
            "is protected from changing file",        // Gitea, Forgejo
            "only be modified through pull requests", // Bitbucket Data Center
            "permission denied to update branch",     // Bitbucket Cloud
            "tf402455",                               // Azure DevOps
            "you must use a pull request",            // Azure DevOps
        ],
    ),
    (
        Reason::SignatureRequired,
        &[
            "verified signature",           // GitHub
            "must be signed",               // GitLab
            "is protected from unverified", // Gitea, Forgejo
            "unsigned commit",
            "signature is required",
        ],
    ),
    // What is left of GitHub's two ways to protect a branch.
    (Reason::Protected, &["protected branch hook declined", "gh006", "gh013", "repository rule violations"]),
];

fn reason(words: &str) -> Reason {
    let row = SIGNS.iter().find(|(_, signs)| signs.iter().any(|sign| words.contains(sign)));
    match row {
        Some((reason, _)) => *reason,
        None if words.contains("hook declined") => Reason::Hook,
        None => Reason::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forges_words_are_told_apart() {
        let github = "protected branch hook declined";
        let rules = "push declined due to repository rule violations";
        let gh006 = "error: GH006: Protected branch update failed for refs/heads/main.\n";
        let gh013 = "error: GH013: Repository rule violations found for refs/heads/main.\n\
                     Review all repository rules at https://github.com/o/r/rules?ref=refs%2Fheads%2Fmain\n\n";
        let hook = "pre-receive hook declined";
        let cases = [
            (github, "", Reason::Protected),
            (
                github,
                &format!("{gh006}error: 4 of 6 required status checks are expected."),
                Reason::Protected,
            ),
            (github, &format!("{gh006}error: Changes have been requested."), Reason::Protected),
            (
                github,
                &format!("{gh006}error: Commits must have verified signatures."),
                Reason::SignatureRequired,
            ),
            (rules, &format!("{gh013}- Changes must be made through a pull request."), Reason::Protected),
            (rules, &format!("{gh013}- Cannot update this protected ref."), Reason::Protected),
            (
                rules,
                &format!(
                    "{gh013}- Commits must have verified signatures.\n  Found 1 violation:\n\n  027faa71\n"
                ),
                Reason::SignatureRequired,
            ),
            (
                rules,
                &format!(
                    "{gh013}- Commits must have verified signatures.\n- Changes must be made through a pull request."
                ),
                Reason::Protected,
            ),
            (
                rules,
                &format!("{gh013}- GITHUB PUSH PROTECTION\n  - Push cannot contain secrets"),
                Reason::Hook,
            ),
            (
                hook,
                "GitLab: You are not allowed to push code to protected branches on this project.",
                Reason::Protected,
            ),
            (
                hook,
                "GitLab: You are not allowed to merge code into protected branches on this project.",
                Reason::Protected,
            ),
            (hook, "GitLab: Commit must be signed with a GPG key", Reason::SignatureRequired),
            (hook, "GitLab: Commit message does not follow the pattern '^JIRA-'", Reason::Hook),
            (hook, "GitLab: Internal API unreachable", Reason::Trouble),
            (hook, "Gitea: Not allowed to push to protected branch main", Reason::Protected),
            (hook, "Forgejo: Not allowed to push to protected branch main", Reason::Protected),
            (hook, "Gitea: branch main is protected from unverified commit 1234", Reason::SignatureRequired),
            (hook, "Gitea: branch main is protected from changing file a", Reason::Protected),
            (hook, "Gitea: User permission denied for writing.", Reason::NotAuthorised),
            (hook, "Branch refs/heads/main can only be modified through pull requests.", Reason::Protected),
            (hook, "Permission denied to update branch main.", Reason::Protected),
            (
                "TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.",
                "Analyzing objects... (12/12) (8 ms)\nStoring packfile... done (115 ms)\n",
                Reason::Protected,
            ),
            (
                "TF401027: You need the Git 'GenericContribute' permission to perform this action.",
                "",
                Reason::NotAuthorised,
            ),
            ("hook declined", "W refs/heads/main repo lastgood DENIED by fallthru", Reason::NotAuthorised),
            ("hook declined", "We freeze until Monday.", Reason::Hook),
            (hook, "", Reason::Hook),
            ("unpacker error", "", Reason::Trouble),
            ("branch is currently checked out", "", Reason::Unclear),
        ];
        for (status, written, expected) in cases {
            let declined = Declined::new(status, written);
            assert_eq!(declined.reason, expected, "{declined:?}");
        }
    }

    #[test]
    fn the_point_is_found_behind_a_picture() {
        let picture = format!("{}\n", "    %%%%///////%%%%####(((((((((((######  ".repeat(2)).repeat(25);
        let words = "Branch refs/heads/main can only be modified through pull requests.";
        let rule = "-".repeat(60);
        let declined =
            Declined::new("pre-receive hook declined", &format!("{picture}{rule}\n{words}\n{rule}\n"));
        assert_eq!(declined.reason, Reason::Protected);
        assert_eq!(declined.message, format!("pre-receive hook declined: {words}"));
    }

    #[test]
    fn words_have_an_end() {
        let declined = Declined::new("hook declined", &"very ".repeat(100_000));
        assert!(declined.message.chars().count() <= WORDS_CHARS_MAX);
    }
}
