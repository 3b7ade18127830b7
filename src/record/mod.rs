//! Only tells: the state of each application, Kubernetes Events about it, and the ledger's records. Nothing here decides or
//! acts.

pub mod account;
pub mod events;
pub mod ledger;
pub mod secrets;
pub mod state;
pub mod waiting;
