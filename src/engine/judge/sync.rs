//! The sync operation as a signal.

use super::{Judgement, Outcome};
use crate::engine::facts::{Operation, OperationPhase, Revisions};

/// Judges the operation that is to bring `revisions`.
///
/// `Failed` means that a resource or a hook failed and convicts; `Error` means that Argo CD itself could not work
/// (repository, cluster), and is inconclusive, as is what somebody ended.
pub fn judge(operation: Option<&Operation>, revisions: &Revisions, failed_attempts_max: u32) -> Judgement {
    let Some(operation) = operation.filter(|o| o.revisions.as_ref() == Some(revisions)) else {
        return Judgement::new(Outcome::Inconclusive, "the operation is not known");
    };
    let attempts = operation.failed_attempts();
    let message = shorten(&operation.message);
    match operation.phase {
        OperationPhase::Succeeded => Judgement::new(Outcome::Pass, "the operation succeeded"),
        OperationPhase::Failed if operation.was_terminated() => {
            Judgement::new(Outcome::Inconclusive, "somebody ended the sync operation")
        }
        OperationPhase::Failed => Judgement::new(
            Outcome::Fail,
            format!("the sync operation failed after {attempts} attempts: {message}"),
        ),
        OperationPhase::Running if attempts >= failed_attempts_max => Judgement::new(
            Outcome::Fail,
            format!("{attempts} attempts of the sync operation failed: {message}"),
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

    fn check(phase: OperationPhase, retry_count: u32, finished: bool, expected: &str) {
        let revisions = Revisions::from(Revision::new("b"));
        let operation = Operation {
            phase,
            revisions: Some(revisions.clone()),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: finished.then_some(Timestamp::UNIX_EPOCH),
            retry_count,
            dry_run: false,
            message: "one or more\n objects failed".into(),
            initiated_by: "automated".into(),
        };
        let got = judge(Some(&operation), &revisions, 2);
        assert_eq!(format!("{:?}: {}", got.outcome, got.why), expected);
    }

    #[test]
    fn an_operation_convicts_only_when_a_resource_or_hook_failed() {
        use OperationPhase::{Error, Failed, Running, Succeeded};
        check(Succeeded, 0, true, "Pass: the operation succeeded");
        check(
            Failed,
            0,
            true,
            "Fail: the sync operation failed after 1 attempts: one or more objects failed",
        );
        check(
            Error,
            3,
            true,
            "Inconclusive: Argo CD could not carry the operation out: one or more objects failed",
        );
        check(Running, 0, false, "Inconclusive: the sync operation is running");
        // Waiting for the first retry: one attempt has failed.
        check(Running, 1, true, "Inconclusive: the sync operation is running");
        check(Running, 1, false, "Inconclusive: the sync operation is running");
        check(Running, 2, true, "Fail: 2 attempts of the sync operation failed: one or more objects failed");
    }

    #[test]
    fn an_operation_that_somebody_ended_convicts_nothing() {
        let revisions = Revisions::from(Revision::new("b"));
        let judged = |message: &str| {
            let operation = Operation {
                phase: OperationPhase::Failed,
                revisions: Some(revisions.clone()),
                started_at: Timestamp::UNIX_EPOCH,
                finished_at: Some(Timestamp::UNIX_EPOCH),
                retry_count: 0,
                dry_run: false,
                message: message.into(),
                initiated_by: "automated".into(),
            };
            judge(Some(&operation), &revisions, 2).outcome
        };
        assert_eq!(judged("Operation terminated"), Outcome::Inconclusive);
        assert_eq!(judged("Operation terminated (retried 2 times)."), Outcome::Inconclusive);
        assert_eq!(judged("Operation terminated, triggered by controller sync timeout"), Outcome::Fail);
    }

    #[test]
    fn another_revisions_operation_says_nothing() {
        let got = judge(None, &Revisions::from(Revision::new("b")), 2);
        assert_eq!(got.outcome, Outcome::Inconclusive);
    }
}
