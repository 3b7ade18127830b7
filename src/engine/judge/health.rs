//! When Argo CD's health may be believed to belong to a revision.

use crate::engine::facts::{ApplicationFacts, Gap, HealthStatus, OperationPhase};

/// Argo CD's health, if it describes what the newest operation left behind.
///
/// Argo CD writes operation and health in two loops, so right after a sync the health is still the previous
/// revision's. It is believed only once no operation is requested or running and the comparison
/// (`status.reconciledAt`) is not older than the operation's end: the rule of `argocd app wait`
/// (`checkAppWaitConditions`). Both times have a resolution of one second, so an equal second is accepted there and here.
pub fn trusted(application: &ApplicationFacts) -> Result<HealthStatus, Gap> {
    let Some(operation) = &application.operation else {
        return Ok(application.health);
    };
    let settled = !application.operation_requested
        && !matches!(operation.phase, OperationPhase::Running | OperationPhase::Terminating);
    match (operation.finished_at, application.reconciled_at) {
        (Some(finished), Some(reconciled)) if settled && reconciled >= finished => Ok(application.health),
        (_, _) => Err(Gap::HealthOlderThanSync),
    }
}
