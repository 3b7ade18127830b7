//! Policies: the files in which people say what lastgood watches and what it may do.
//!
//! ```text
//! *.yaml --read--> file::PolicyFile --check--> engine::policy::Policy + Selector --set--> PolicySet
//!                        |                |                                           |
//!                        +--- Mistake (file:line:column, the line, a suggestion) -----+--reload--> running daemon
//! ```
//!
//! One file holds one policy; the file's name without its ending is the policy's name. A policy that comes out of here is
//! valid: nothing downstream checks it again.

pub mod burn_rate;
pub mod check;
pub mod code;
mod draft;
pub mod duration;
pub mod file;
mod guard;
pub mod lint;
pub mod mistake;
pub mod preset;
mod promql;
mod read;
pub mod reload;
mod rewrite;
mod schema;
mod selector;
mod server;
mod set;
mod share;
mod slo;
mod structure;
mod words;

pub(crate) use check::{Finding, Report, Step, keys, short_text, web_url};
pub use lint::place;
pub use mistake::{Mistake, Mistakes};
pub(crate) use read::read_as;
pub use read::{Loaded, read};
pub use reload::watch;
pub use rewrite::{Limit, with_limits};
pub use schema::schema;
pub(crate) use schema::schema_of;
pub use selector::{Pattern, Selector};
pub use set::{Match, PolicySet, SourceFile, read_files};
pub(crate) use structure::Written;
pub(crate) use words::words;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
