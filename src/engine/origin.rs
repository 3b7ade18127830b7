//! Where an Application's own specification comes from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::facts::AppKey;

/// An object that defines applications.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// An Application.
    Application(AppKey),
    /// An `ApplicationSet`.
    ApplicationSet(AppKey),
}

impl Origin {
    /// The object's kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Application(_) => "Application",
            Self::ApplicationSet(_) => "ApplicationSet",
        }
    }

    /// The object's namespace and name.
    pub fn key(&self) -> &AppKey {
        match self {
            Self::Application(key) | Self::ApplicationSet(key) => key,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.key())
    }
}
