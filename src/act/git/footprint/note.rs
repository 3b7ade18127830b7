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
    /// It goes round in circles: a link to itself, or to a folder that it lies in.
    Circle {
        /// Who refers to it.
        from: String,
        /// What it refers to.
        path: String,
    },
    /// It lies in a submodule, of which this repository holds only the commit.
    Submodule {
        /// Who refers to it.
        from: String,
        /// The submodule.
        path: String,
    },
    /// The annotation names a folder above the application's, which holds more than it is rendered from.
    Broad {
        /// The folder.
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
            Self::Circle { from, path } => {
                write!(f, "`{from}` refers to `{path}`, which goes round in circles: not followed")
            }
            Self::Submodule { from, path } => {
                write!(
                    f,
                    "`{from}` refers into the submodule `{path}`: only the commit it points to is known here"
                )
            }
            Self::Broad { path } => {
                write!(
                    f,
                    "the annotation `argocd.argoproj.io/manifest-generate-paths` names `{path}`, which holds more than \
                     the application is rendered from: not taken as its files"
                )
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
