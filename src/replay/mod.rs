//! Replay: would it have been rolled back? The engine's own judgement over recorded history.
//!
//! [`rehearse()`] lets the engine watch a pretended sync, with a clock that only exists in its arguments: what the daemon
//! would ask a Prometheus is answered from [`Samples`]. Pure and synchronous; nothing here judges.

mod rehearse;

pub use rehearse::{Look, Pretence, Rehearsal, Samples, rehearse};
