//! lastgood rolls GitOps applications back through Git when a change makes them sick.

pub mod act;
pub mod cluster;
pub mod engine;
pub mod observe;
pub mod record;
pub mod serve;
