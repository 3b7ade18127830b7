//! When Argo CD's health may be believed to belong to a revision.

use crate::engine::facts::{ApplicationFacts, Gap, HealthStatus, OperationPhase};

/// Argo CD's health, if it describes what the newest operation left behind.
///
/// Argo CD writes operation and health in two loops, so right after a sync the health is still the previous
/// revision's. It is believed only once no operation is requested or running and the comparison
/// (`status.reconciledAt`) is not older than the operation's end: the rule of `argocd app wait`
/// (`checkAppWaitConditions`). Both times have a resolution of one second, so an equal second is accepted there and here.
pub fn trusted(application: &ApplicationFacts) -> Result<HealthStatus, Gap> {
    // A new request clears the state of the operation before it.
    if application.operation_requested {
        return Err(Gap::HealthOlderThanSync);
    }
    let Some(operation) = &application.operation else {
        return Ok(application.health);
    };
    let settled = !matches!(operation.phase, OperationPhase::Running | OperationPhase::Terminating);
    match (operation.finished_at, application.reconciled_at) {
        (Some(finished), Some(reconciled)) if settled && reconciled >= finished => Ok(application.health),
        (_, _) => Err(Gap::HealthOlderThanSync),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture;

    /// An operation in `phase` that ended at second `finished`, and a comparison at second `reconciled`.
    fn check(
        requested: bool,
        operation: Option<(OperationPhase, Option<i64>)>,
        reconciled: Option<i64>,
        trusted: bool,
    ) {
        let application = ApplicationFacts {
            operation_requested: requested,
            operation: operation.map(|(phase, finished)| fixture::operation(phase, finished)),
            health: HealthStatus::Degraded,
            reconciled_at: reconciled.map(fixture::at),
            ..fixture::application()
        };
        let expected = if trusted { Ok(HealthStatus::Degraded) } else { Err(Gap::HealthOlderThanSync) };
        assert_eq!(super::trusted(&application), expected, "{requested} {operation:?} {reconciled:?}");
    }

    #[test]
    fn health_is_believed_only_once_it_describes_what_the_operation_left_behind() {
        use OperationPhase::{Error, Failed, Running, Succeeded, Terminating};
        check(false, None, None, true);
        check(true, None, Some(199), false);
        check(false, Some((Succeeded, Some(110))), Some(109), false);
        // Argo CD's times have a resolution of one second.
        check(false, Some((Succeeded, Some(110))), Some(110), true);
        check(false, Some((Succeeded, Some(110))), Some(111), true);
        check(false, Some((Succeeded, Some(110))), None, false);
        check(false, Some((Succeeded, None)), Some(111), false);
        check(true, Some((Succeeded, Some(110))), Some(111), false);
        check(false, Some((Failed, Some(110))), Some(111), true);
        check(false, Some((Error, Some(110))), Some(111), true);
        check(false, Some((Running, None)), Some(111), false);
        // Waiting for a retry.
        check(false, Some((Running, Some(110))), Some(111), false);
        check(false, Some((Terminating, Some(110))), Some(111), false);
    }
}
