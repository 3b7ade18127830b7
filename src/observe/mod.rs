//! Turns the outside into the engine's plain facts. Adapters here never decide.

pub mod argocd;
pub mod rollout;
pub mod slo;

mod object;
mod watching;
