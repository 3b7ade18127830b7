//! Replay: would it have been rolled back? The engine's own judgement over recorded history.
//!
//! [`rehearse()`] lets the engine watch a pretended sync, with a clock that only exists in its arguments: what the daemon
//! would ask a Prometheus is answered from [`Samples`]. [`needs()`] finds out beforehand what will be asked, so that
//! [`Recorded`] has it. Pure and synchronous; nothing here judges.

#[cfg(test)]
mod fixture;
mod limits;
mod plot;
mod recorded;
mod rehearse;

pub use limits::{LEFT_OUT, Quiet, quiet};
pub use plot::{Panel, Picture, draw, svg, word};
pub use recorded::{Recorded, Stretch, needs};
pub use rehearse::{Look, Pretence, Rehearsal, Samples, rehearse, rehearse_each};
