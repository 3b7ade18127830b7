//! What was not followed, in words for people.

use std::fmt;

/// Something that an application is rendered from and that the footprint does not hold, or holds only by guess.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// It lies in another place.
    Remote {
        /// Who refers to it.
        from: String,
        /// The address, without passwords.
        address: String,
    },
    /// It leaves the repository.
    Outside {
        /// Who refers to it.
        from: String,
        /// What it refers to.
        path: String,
    },
    /// A plugin reads what it likes.
    Plugin {
        /// The folder.
        path: String,
    },
    /// The name depends on the revision or on what is not known.
    Unknown {
        /// Who refers to it.
        from: String,
        /// What it refers to.
        path: String,
    },
    /// A file that refers to others could not be understood.
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// There is more than is looked at.
    Limit {
        /// Where.
        from: String,
        /// Which limit.
        limit: &'static str,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { from, address } => {
                write!(f, "`{from}` refers to `{address}`, which is not in this repository: not followed")
            }
            Self::Outside { from, path } => {
                write!(f, "`{from}` refers to `{path}`, which leaves the repository: not followed")
            }
            Self::Plugin { path } => {
                write!(
                    f,
                    "`{path}` is rendered by a plugin, which may read other files: only the folder and the paths of \
                     the annotation `argocd.argoproj.io/manifest-generate-paths` are known"
                )
            }
            Self::Unknown { from, path } => {
                write!(f, "`{from}` refers to `{path}`, whose name is not known from here: not followed")
            }
            Self::Unreadable { path, reason } => {
                write!(f, "`{path}` could not be read for what it refers to: {reason}")
            }
            Self::Limit { from, limit } => {
                write!(f, "`{from}` refers to more than is looked at ({limit}): the rest is not followed")
            }
        }
    }
}
