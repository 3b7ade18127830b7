//! Carries out the engine's actions. Each is safe to repeat and says what it expects to find; a possible outcome is
//! data, not an error.

pub mod argocd;
pub mod forge;
pub mod git;
