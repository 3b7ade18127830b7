//! lastgood rolls GitOps applications back through Git when a change makes them sick.
//!
//! ```text
//!             observe                        engine (pure)                              act
//!  Argo CD --> argocd --+                                                   +--> git    --> one revert commit
//!  pods    --> rollout -+- Event -> judge -> Verdict -> decide -> Action ---+--> argocd --> refresh, terminate
//!  SLOs    --> slo -----+              ^                   |
//!  clock   --> Tick             Policy, State              +-> Entry -> record -> state, log, Kubernetes Events
//! ```
//!
//! Data goes one way. The [`engine`] knows no clock and does no I/O: `step(state, event, now)` gives the next state, the
//! actions and the journal's entries. [`observe`] turns the outside into facts, [`act`] carries actions out and is safe to
//! repeat, [`record`] keeps states and tells what happened, and [`run`] is the only place that connects them: it saves a
//! state before it acts on it. [`policy`] reads what people ask for, [`replay`] lets the engine judge recorded
//! history, [`audit`] checks what was recorded, and [`sandbox`] holds the stand-ins of `lastgood demo` and of the fast tests.
//!
//! What must always hold is listed in ARCHITECTURE.md, and as code in [`engine::laws`].

pub mod act;
pub mod audit;
pub mod cli;
pub mod cluster;
mod codes;
mod credentials;
pub mod engine;
pub mod observe;
pub mod policy;
pub mod record;
pub mod replay;
pub mod run;
pub mod sandbox;
pub mod serve;
pub mod sinks;
mod tls;
