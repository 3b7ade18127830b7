//! A server's branches, by how their names begin.

use std::sync::Arc;

use git2::{Oid, Repository};

use super::advert::Wanted;
use super::error::{Class, Failure};
use super::transport::Session;
use super::url::{Scheme, local_path};
use super::{http, ssh};

const BRANCHES: &str = "refs/heads/";

/// The branches whose names begin with `prefix`, and what they stand at.
pub(crate) fn branches(session: &Arc<Session>, prefix: &str) -> Result<Vec<(String, Oid)>, Failure> {
    let prefix = format!("{BRANCHES}{prefix}");
    session.begin(Wanted { prefixes: vec![prefix.clone()], ..Wanted::default() });
    let found = match Scheme::of(&session.access.url) {
        Some(Scheme::Http) => http::list(session)?,
        Some(Scheme::Ssh) => ssh::list(session)?,
        Some(Scheme::Local) => local(&session.access.url, &prefix).map_err(|e| session.explain(&e))?,
        None => return Err(Failure::new(Class::Other, "this is not an HTTP, SSH or file URL")),
    };
    // What else is kept: the first reference, and `HEAD`.
    let wanted = found.into_iter().filter(|(name, _)| name.starts_with(&prefix));
    let parsed = wanted.filter_map(|(name, id)| {
        let name = name.strip_prefix(BRANCHES)?.to_owned();
        Some(Oid::from_str(&id).map(|id| (name, id)))
    });
    parsed.collect::<Result<_, _>>().map_err(|e| session.explain(&e))
}

fn local(url: &str, prefix: &str) -> Result<Vec<(String, String)>, git2::Error> {
    let path =
        local_path(url).ok_or_else(|| git2::Error::from_str("the file URL names no path on this machine"))?;
    let repo = Repository::open(path)?;
    let mut found = Vec::new();
    for reference in repo.references()? {
        let reference = reference?;
        let Ok(name) = std::str::from_utf8(reference.name_bytes()) else { continue };
        if let Some(id) = reference.target().filter(|_| name.starts_with(prefix)) {
            found.push((name.to_owned(), id.to_string()));
        }
    }
    Ok(found)
}
