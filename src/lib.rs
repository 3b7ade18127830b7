//! lastgood rolls GitOps applications back through Git when a change makes them sick.

pub mod engine;
pub mod sandbox;
