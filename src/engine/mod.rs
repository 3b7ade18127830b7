//! The pure part: facts in, verdicts and actions out. No clock, no I/O, no kube, no git2, no tokio, no tracing.
#![deny(clippy::disallowed_methods)]

pub mod action;
pub mod analysis;
pub mod decide;
pub mod entry;
pub mod event;
pub mod facts;
#[cfg(test)]
pub(crate) mod fixture;
pub mod fleet;
pub mod forge;
mod gap;
pub mod guards;
pub mod judge;
pub mod laws;
pub mod origin;
pub mod policy;
pub mod refusal;
pub mod rendering;
pub mod samples;
pub mod template;
pub mod time;
pub mod why;
