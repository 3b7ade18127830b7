//! The pure part: facts in, verdicts and actions out. No clock, no I/O, no kube, no git2, no tokio, no tracing.
#![deny(clippy::disallowed_methods)]

pub mod action;
pub mod event;
pub mod facts;
pub mod policy;
pub mod template;
