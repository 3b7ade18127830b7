//! Repository URLs: Argo CD's normal form, the parts of an SSH address, and hiding passwords.

use std::path::PathBuf;

/// The URL without its password, for errors and logs.
pub fn redact(url: &str) -> String {
    match split_userinfo(url) {
        Some((scheme, userinfo, rest)) => match userinfo.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{rest}"),
            // A token may stand where the user's name is.
            None if scheme.starts_with("http") => format!("{scheme}://***@{rest}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

/// Splits `scheme://user:password@rest`.
pub(crate) fn split_userinfo(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let at = authority.rfind('@')?;
    let userinfo = authority.get(..at)?;
    let after = rest.get(at + 1..).filter(|after| after.ends_with(path))?;
    Some((scheme, userinfo, after))
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Ssh,
    Local,
}

impl Scheme {
    /// The scheme of a URL; none for one that is not supported.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let lower = url.trim().to_ascii_lowercase();
        match lower.split_once("://") {
            Some(("http" | "https", _)) => Some(Self::Http),
            Some(("ssh" | "git+ssh" | "ssh+git", _)) => Some(Self::Ssh),
            Some(("file", _)) => Some(Self::Local),
            Some(_) => None,
            // Git's own rule: a colon before the first slash makes it `host:path`.
            None => match (lower.find(':'), lower.find('/')) {
                (Some(colon), slash) if slash.is_none_or(|slash| colon < slash) => Some(Self::Ssh),
                _ => Some(Self::Local),
            },
        }
    }
}

/// The folder that a path or a `file:` URL names on this machine.
pub(crate) fn local_path(url: &str) -> Option<PathBuf> {
    match url.strip_prefix("file://") {
        Some(_) => reqwest::Url::parse(url).ok()?.to_file_path().ok(),
        None => Some(url.into()),
    }
}

/// The parts of `ssh://user@host:port/path` or `user@host:path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshAddress {
    pub(crate) user: Option<String>,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// As the server gets it: absolute, from the home folder, or `~somebody/…`.
    pub(crate) path: String,
}

impl SshAddress {
    /// Takes it apart; none when a part is missing or could be taken for an option.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let (authority, path) = match url.split_once("://") {
            Some((_, rest)) => {
                let slash = rest.find('/')?;
                let (authority, path) = rest.split_at_checked(slash)?;
                let path = if path.starts_with("/~") { path.get(1..)? } else { path };
                (authority, path)
            }
            None if url.contains('[') => {
                let (authority, path) = url.split_once("]:")?;
                (url.get(..=authority.len())?, path)
            }
            None => url.split_once(':')?,
        };
        let (user, host) = match authority.rsplit_once('@') {
            // A password here is of no use to `ssh` in batch mode.
            Some((user, host)) => (Some(user.split(':').next().unwrap_or(user)), host),
            None => (None, authority),
        };
        let (host, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed.split_once(']')?;
                (host, after.strip_prefix(':'))
            }
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(str::parse).transpose().ok()?;
        let safe = |part: &str| !part.is_empty() && !part.starts_with('-');
        let sound = safe(host) && user.is_none_or(safe) && safe(path);
        sound.then(|| Self {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        })
    }
}

/// The host of a URL, without its port: what Argo CD keys certificates by.
pub(crate) fn host(url: &str) -> Option<String> {
    match Scheme::of(url)? {
        Scheme::Http => reqwest::Url::parse(url.trim()).ok()?.host_str().map(str::to_owned),
        Scheme::Ssh => SshAddress::parse(url).map(|address| address.host),
        Scheme::Local => None,
    }
}

/// The URL as Argo CD compares it: lower case, without `.git` and `ssh://`, the `host:path` form made a path.
pub(crate) fn normalise(url: &str) -> String {
    let mut url = url.trim().to_lowercase();
    if let Some(rest) = ssh_rest(&url) {
        url = rest;
    }
    url.strip_suffix(".git").unwrap_or(&url).to_owned()
}

/// Argo CD's test for SSH, `^(ssh://)?([^/:]*?)@[^@]+$`, and the URL without its scheme if it holds.
fn ssh_rest(url: &str) -> Option<String> {
    let rest = url.strip_prefix("ssh://");
    let (user, after) = rest.unwrap_or(url).split_once('@')?;
    let is_ssh = !user.contains(['/', ':']) && !after.is_empty() && !after.contains('@');
    is_ssh.then(|| match rest {
        Some(rest) => rest.to_owned(),
        None => url.replacen(':', "/", 1),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden() {
        for (url, expected) in [
            ("https://ann:secret@git.example/a.git", "https://ann:***@git.example/a.git"),
            ("https://ann:se@cret@git.example/a.git", "https://ann:***@git.example/a.git"),
            ("https://token@git.example/a.git", "https://***@git.example/a.git"),
            ("https://git.example/a@b", "https://git.example/a@b"),
            ("ssh://git@git.example/a", "ssh://git@git.example/a"),
            ("git@git.example:a.git", "git@git.example:a.git"),
            ("/srv/a.git", "/srv/a.git"),
        ] {
            assert_eq!(redact(url), expected);
        }
    }

    #[test]
    fn the_normal_form_is_argo_cds() {
        for (url, expected) in [
            (" https://Git.Example/Shop.git ", "https://git.example/shop"),
            ("git@github.com:Org/Shop.git", "git@github.com/org/shop"),
            ("ssh://git@github.com/Org/Shop", "git@github.com/org/shop"),
            ("ssh://git@github.com:22/org/shop.git", "git@github.com:22/org/shop"),
            ("https://github.com/org/shop/", "https://github.com/org/shop/"),
            ("file:///tmp/a.git", "file:///tmp/a"),
        ] {
            assert_eq!(normalise(url), expected);
        }
    }

    #[test]
    fn ssh_addresses_are_taken_apart() {
        let parts = |url: &str| {
            SshAddress::parse(url).map(|a| {
                format!("{}|{}|{}|{}", a.user.unwrap_or_default(), a.host, a.port.unwrap_or(0), a.path)
            })
        };
        for (url, expected) in [
            ("git@host:org/a.git", Some("git|host|0|org/a.git")),
            ("host:a", Some("|host|0|a")),
            ("ssh://git@host:2222/org/a.git", Some("git|host|2222|/org/a.git")),
            ("ssh://git:pw@host/a", Some("git|host|0|/a")),
            ("ssh://host/~ann/a.git", Some("|host|0|~ann/a.git")),
            ("ssh://[::1]:22/a", Some("|::1|22|/a")),
            ("git@[::1]:a", Some("git|::1|0|a")),
            ("ssh://-oProxyCommand=x/a", None),
            ("git@host:-a", None),
            ("ssh://host:port/a", None),
        ] {
            assert_eq!(parts(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn schemes_are_told_apart_as_git_does() {
        for (url, expected) in [
            ("HTTPS://host/a", Some(Scheme::Http)),
            ("git@host:a", Some(Scheme::Ssh)),
            ("./a:b", Some(Scheme::Local)),
            ("/srv/a", Some(Scheme::Local)),
            ("file:///srv/a", Some(Scheme::Local)),
            ("ext::sh -c x", Some(Scheme::Ssh)),
            ("git://host/a", None),
            ("oci://host/a", None),
        ] {
            assert_eq!(Scheme::of(url), expected, "{url}");
        }
    }
}
