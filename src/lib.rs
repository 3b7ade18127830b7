//! lastgood rolls GitOps applications back through Git when a change makes them sick.

pub mod cli;
pub mod engine;
pub mod policy;
