//! lastgood rolls GitOps applications back through Git when a change makes them sick.

pub mod act;
pub mod cli;
pub mod cluster;
pub mod engine;
pub mod observe;
pub mod policy;
pub mod record;
pub mod run;
pub mod sandbox;
pub mod serve;
