//! The sync operation as a signal.

use serde::{Deserialize, Serialize};

use super::{Judgement, Outcome};
use crate::engine::facts::{Operation, OperationPhase, Revisions};

/// What is remembered of an operation while it is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempts {
    /// Attempts that failed on a resource or a hook.
    pub failed: u32,
    /// The newest retry that was waited for, so that each counts once.
    pub counted: u32,
    /// Whether somebody ended the operation.
    pub terminated: bool,
}

impl Attempts {
    /// Takes a look at the operation in.
    pub fn note(&mut self, operation: &Operation) {
        self.terminated |= operation.is_terminated();
        if operation.waits_after_failure() && operation.retry_count > self.counted {
            self.failed = self.failed.saturating_add(1);
            self.counted = operation.retry_count;
        }
    }
}

/// Judges the operation that is to bring `revisions`.
///
/// `Failed` means that a resource or a hook failed and convicts, unless somebody terminated the operation; `Error` means
/// that Argo CD itself could not work (repository, cluster), and is inconclusive.
pub fn judge(
    operation: Option<&Operation>,
    revisions: &Revisions,
    attempts: Attempts,
    failed_attempts_max: u32,
) -> Judgement {
    let Some(operation) = operation.filter(|o| o.revisions.as_ref() == Some(revisions)) else {
        return Judgement::new(Outcome::Inconclusive, "the operation is not known");
    };
    let failed = attempts.failed;
    let message = shorten(&operation.message);
    match operation.phase {
        OperationPhase::Succeeded => Judgement::new(Outcome::Pass, "the operation succeeded"),
        _ if attempts.terminated => {
            Judgement::new(Outcome::Inconclusive, "somebody terminated the sync operation")
        }
        OperationPhase::Failed => {
            Judgement::new(Outcome::Fail, format!("the sync operation failed: {message}"))
        }
        OperationPhase::Running if failed >= failed_attempts_max => Judgement::new(
            Outcome::Fail,
            format!("{failed} attempts of the sync operation failed: {message}"),
        ),
        OperationPhase::Running => Judgement::new(Outcome::Inconclusive, "the sync operation is running"),
        OperationPhase::Terminating => {
            Judgement::new(Outcome::Inconclusive, "the sync operation is being terminated")
        }
        OperationPhase::Error => Judgement::new(
            Outcome::Inconclusive,
            format!("Argo CD could not carry the operation out: {message}"),
        ),
    }
}

/// Argo CD's messages name every resource; a sentence needs the beginning.
pub(super) fn shorten(message: &str) -> String {
    /// Enough for the first resource's error.
    const MESSAGE_CHARS_MAX: usize = 240;
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::engine::facts::Revision;

    /// Looks at an operation: its phase, and for each look whether it waits for that retry, and what failed.
    fn check(phase: OperationPhase, waits: &[u32], resource_failed: bool, message: &str, expected: &str) {
        let revisions = Revisions::from(Revision::new("b"));
        let operation = |phase, retry_count, waits: bool| Operation {
            phase,
            revisions: Some(revisions.clone()),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: waits.then_some(Timestamp::UNIX_EPOCH),
            retry_count,
            dry_run: false,
            partial: false,
            resource_failed,
            spec_digest: String::new(),
            message: message.into(),
            initiated_by: "automated".into(),
        };
        let mut attempts = Attempts::default();
        for retry in waits {
            attempts.note(&operation(OperationPhase::Running, *retry, true));
        }
        let last = operation(phase, 0, false);
        attempts.note(&last);
        let got = judge(Some(&last), &revisions, attempts, 2);
        assert_eq!(format!("{:?}: {}", got.outcome, got.why), expected);
    }

    #[test]
    fn an_operation_convicts_only_when_a_resource_or_hook_failed() {
        use OperationPhase::{Error, Failed, Running, Succeeded};
        check(Succeeded, &[], false, "", "Pass: the operation succeeded");
        check(Failed, &[], true, "objects\n failed", "Fail: the sync operation failed: objects failed");
        check(
            Error,
            &[1, 2, 3],
            false,
            "no repo",
            "Inconclusive: Argo CD could not carry the operation out: no repo",
        );
        check(Running, &[], false, "", "Inconclusive: the sync operation is running");
        check(Running, &[1, 1, 1], true, "x", "Inconclusive: the sync operation is running");
        check(Running, &[1, 2], true, "x", "Fail: 2 attempts of the sync operation failed: x");
        check(Running, &[1, 2, 3], false, "x", "Inconclusive: the sync operation is running");
    }

    #[test]
    fn what_somebody_terminated_says_nothing() {
        use OperationPhase::{Failed, Terminating};
        check(
            Failed,
            &[],
            true,
            "Operation terminated",
            "Inconclusive: somebody terminated the sync operation",
        );
        check(Terminating, &[1, 2], true, "x", "Inconclusive: somebody terminated the sync operation");
    }

    #[test]
    fn another_revisions_operation_says_nothing() {
        let got = judge(None, &Revisions::from(Revision::new("b")), Attempts::default(), 2);
        assert_eq!(got.outcome, Outcome::Inconclusive);
    }
}
