//! Where the forge of a repository is, and what the repository is called there.

use reqwest::Url;

use super::error::ForgeError;
use crate::act::git::url::{Scheme, SshAddress, split_userinfo};
use crate::engine::forge::{ForgeKind, ForgeRules};

/// A repository at its forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// The API that the forge speaks.
    pub(crate) kind: ForgeKind,
    /// The API's address.
    pub(crate) api: Url,
    /// The repository's page: the address that a token is looked up by.
    pub(crate) page: String,
    /// The folders that the repository is in, and its name.
    pub(crate) project: Vec<String>,
}

/// Hosts that serve SSH for a forge of another name.
const SSH_ONLY_HOSTS: [(&str, &str); 2] =
    [("ssh.github.com", "github.com"), ("altssh.gitlab.com", "gitlab.com")];

/// Names of hosts that tell the kind, as a whole or as the first label.
const KNOWN: [(&str, ForgeKind); 8] = [
    ("github.com", ForgeKind::GitHub),
    ("github", ForgeKind::GitHub),
    ("gitlab.com", ForgeKind::GitLab),
    ("gitlab", ForgeKind::GitLab),
    ("codeberg.org", ForgeKind::Gitea),
    ("gitea.com", ForgeKind::Gitea),
    ("gitea", ForgeKind::Gitea),
    ("forgejo", ForgeKind::Gitea),
];

impl Address {
    /// Finds it by the rules and the repository's URL.
    pub(crate) fn of(repo_url: &str, rules: &ForgeRules) -> Result<Self, ForgeError> {
        let unusable = |reason: &str| ForgeError::unusable(repo_url, reason);
        let (guessed, path) = site(repo_url)
            .ok_or_else(|| unusable("it is neither an HTTP nor an SSH URL, so no forge serves it"))?;
        let web = match &rules.url {
            Some(url) => Url::parse(url)
                .ok()
                .filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some())
                .ok_or_else(|| unusable("the forge's `url` in the policy is not an HTTP URL"))?,
            None => guessed.clone(),
        };
        let host = web.host_str().unwrap_or_default().to_owned();
        let kind = rules.kind.or_else(|| kind_of(&host)).ok_or_else(|| {
            unusable("the host does not tell what forge it is; name it in the policy under `git.forge.kind`")
        })?;
        let project = project(&path, &web, repo_url)
            .filter(|project| fits(kind, project))
            .ok_or_else(|| unusable("its path is not that of a repository at such a forge"))?;
        let mut page = web.clone();
        extend(&mut page, project.iter().map(String::as_str));
        let api = api(kind, &web).ok_or_else(|| unusable("the forge's address cannot be used"))?;
        Ok(Self { kind, api, page: page.to_string(), project })
    }
}

/// The forge's own address as the repository's URL tells it, and the repository's path there.
fn site(repo_url: &str) -> Option<(Url, String)> {
    let repo_url = repo_url.trim();
    match Scheme::of(repo_url)? {
        Scheme::Http => {
            let bare = match split_userinfo(repo_url) {
                Some((scheme, _, rest)) => format!("{scheme}://{rest}"),
                None => repo_url.to_owned(),
            };
            let mut url = Url::parse(&bare).ok()?;
            let path = url.path().to_owned();
            url.set_path("");
            url.set_query(None);
            url.set_fragment(None);
            Some((url, path))
        }
        Scheme::Ssh => {
            let address = SshAddress::parse(repo_url)?;
            let host = SSH_ONLY_HOSTS.iter().find(|(ssh, _)| *ssh == address.host);
            let host = host.map_or(address.host.as_str(), |(_, web)| web);
            Some((Url::parse(&format!("https://{host}")).ok()?, address.path))
        }
        Scheme::Local => None,
    }
}

fn kind_of(host: &str) -> Option<ForgeKind> {
    let first = host.split('.').next().filter(|first| *first != host);
    let known = KNOWN.iter().find(|(name, _)| *name == host || first == Some(name));
    known.map(|(_, kind)| *kind).or_else(|| host.ends_with(".ghe.com").then_some(ForgeKind::GitHub))
}

/// The parts of the repository's path below the forge's address.
fn project(path: &str, web: &Url, repo_url: &str) -> Option<Vec<String>> {
    let mut path = path.trim_matches('/');
    // A forge in a subfolder has it in HTTP URLs, and not in SSH ones.
    if Scheme::of(repo_url) == Some(Scheme::Http) {
        path = path.strip_prefix(web.path().trim_matches('/'))?.trim_start_matches('/');
    }
    let path = path.strip_suffix(".git").unwrap_or(path);
    let sound = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.split('/').map(|part| sound(part).then(|| part.to_owned())).collect()
}

fn fits(kind: ForgeKind, project: &[String]) -> bool {
    match kind {
        ForgeKind::GitHub | ForgeKind::Gitea => project.len() == 2,
        ForgeKind::GitLab => project.len() >= 2,
    }
}

fn api(kind: ForgeKind, web: &Url) -> Option<Url> {
    let mut api = web.clone();
    match (kind, web.host_str()?) {
        // github.com and its tenants serve the API on a host of its own; a server of one's own does not.
        (ForgeKind::GitHub, host) if host == "github.com" || host.ends_with(".ghe.com") => {
            api.set_host(Some(&format!("api.{host}"))).ok()?;
        }
        (ForgeKind::GitHub, _) => extend(&mut api, ["api", "v3"]),
        (ForgeKind::GitLab, _) => extend(&mut api, ["api", "v4"]),
        (ForgeKind::Gitea, _) => extend(&mut api, ["api", "v1"]),
    }
    Some(api)
}

/// Adds parts to a URL's path, each encoded as one part whatever it holds.
pub(super) fn extend<'a>(url: &mut Url, parts: impl IntoIterator<Item = &'a str>) {
    // HTTP URLs always have a path.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(repo_url: &str, rules: &ForgeRules, expected: &str) {
        let found = match Address::of(repo_url, rules) {
            Ok(a) => format!("{} {} {} {}", a.kind, a.api, a.page, a.project.join("|")),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "{repo_url}");
    }

    #[test]
    fn the_host_tells() {
        let by_host = ForgeRules::default();
        for (repo_url, expected) in [
            (
                "https://github.com/acme/shop.git",
                "GitHub https://api.github.com/ https://github.com/acme/shop acme|shop",
            ),
            (
                "https://ann:secret@github.com/acme/shop",
                "GitHub https://api.github.com/ https://github.com/acme/shop acme|shop",
            ),
            (
                "git@github.com:acme/shop.git",
                "GitHub https://api.github.com/ https://github.com/acme/shop acme|shop",
            ),
            (
                "ssh://git@ssh.github.com:443/acme/shop.git",
                "GitHub https://api.github.com/ https://github.com/acme/shop acme|shop",
            ),
            (
                "https://acme.ghe.com/acme/shop",
                "GitHub https://api.acme.ghe.com/ https://acme.ghe.com/acme/shop acme|shop",
            ),
            (
                "https://github.example.org/acme/shop",
                "GitHub https://github.example.org/api/v3 https://github.example.org/acme/shop acme|shop",
            ),
            (
                "https://gitlab.com/acme/team/shop.git",
                "GitLab https://gitlab.com/api/v4 https://gitlab.com/acme/team/shop acme|team|shop",
            ),
            (
                "git@gitlab.example.org:acme/shop.git",
                "GitLab https://gitlab.example.org/api/v4 https://gitlab.example.org/acme/shop acme|shop",
            ),
            (
                "https://codeberg.org/acme/shop/",
                "Gitea https://codeberg.org/api/v1 https://codeberg.org/acme/shop acme|shop",
            ),
        ] {
            check(repo_url, &by_host, expected);
        }
    }

    #[test]
    fn the_policy_tells() {
        let rules = |url: &str| ForgeRules {
            kind: Some(ForgeKind::Gitea),
            url: Some(url.to_owned()).filter(|url| !url.is_empty()),
            secret: None,
        };
        check(
            "http://git.example:3000/acme/shop.git",
            &rules(""),
            "Gitea http://git.example:3000/api/v1 http://git.example:3000/acme/shop acme|shop",
        );
        check(
            "ssh://git@git.example:2222/acme/shop.git",
            &rules("https://git.example/gitea/"),
            "Gitea https://git.example/gitea/api/v1 https://git.example/gitea/acme/shop acme|shop",
        );
        check(
            "https://git.example/gitea/acme/shop.git",
            &rules("https://git.example/gitea"),
            "Gitea https://git.example/gitea/api/v1 https://git.example/gitea/acme/shop acme|shop",
        );
    }

    #[test]
    fn what_has_no_forge_is_named_without_its_password() {
        let no = "no pull request can be opened for";
        let by_host = ForgeRules::default();
        check(
            "/srv/shop.git",
            &by_host,
            &format!("{no} `/srv/shop.git`: it is neither an HTTP nor an SSH URL, so no forge serves it"),
        );
        check(
            "https://ann:secret@git.example/a/b",
            &by_host,
            &format!(
                "{no} `https://ann:***@git.example/a/b`: the host does not tell what forge it is; name it in the policy under `git.forge.kind`"
            ),
        );
        check(
            "https://github.com/shop",
            &by_host,
            &format!("{no} `https://github.com/shop`: its path is not that of a repository at such a forge"),
        );
        check(
            "https://github.com/../shop/a/..",
            &by_host,
            &format!(
                "{no} `https://github.com/../shop/a/..`: its path is not that of a repository at such a forge"
            ),
        );
    }
}
