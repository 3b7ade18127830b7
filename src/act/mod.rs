//! Carries out the engine's actions. Each says what it expects to find, and a possible outcome is data, not an error.

pub mod argocd;
