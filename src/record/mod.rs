//! Only tells: the state of each application and Kubernetes Events about it. Nothing here decides or acts.

pub mod events;
pub mod ledger;
pub mod state;
