//! Finds the credentials of a repository where Argo CD keeps them, or in a Secret of the policy's own.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret as KubeSecret};
use kube::Api;
use kube::api::ListParams;

use super::access::{Access, Auth, Secret};
use super::github_app::{self, App, AppError};
use super::url::{self, Scheme, normalise, redact};

/// The label by which Argo CD knows its Secrets.
const TYPE_LABEL: &str = "argocd.argoproj.io/secret-type";
/// Certificates of Git servers, keyed by host.
const TLS_CERTS: &str = "argocd-tls-certs-cm";
/// Host keys of Git servers, in one key.
const KNOWN_HOSTS: &str = "argocd-ssh-known-hosts-cm";
/// The key in [`KNOWN_HOSTS`].
const KNOWN_HOSTS_KEY: &str = "ssh_known_hosts";
/// The user's name that Argo CD sends when a Secret holds only a password.
const DEFAULT_USERNAME: &str = github_app::USERNAME;
/// Secrets that are asked for at once.
const PAGE_SIZE: u32 = 50;

/// A Secret, decoded.
#[derive(Clone, Debug, Default)]
pub struct SecretData {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its data; values that are not UTF-8 are left out.
    pub data: BTreeMap<String, Secret>,
}

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The API server did not give them.
    #[error("cannot read {what} in namespace `{namespace}`: {reason}")]
    Unreadable {
        /// What was asked for.
        what: String,
        /// Where.
        namespace: String,
        /// Why not.
        reason: String,
    },
    /// The Secret that the policy names does not exist.
    #[error("the Secret `{name}` does not exist in namespace `{namespace}`; the policy names it for Git")]
    Missing {
        /// The Secret.
        name: String,
        /// Where.
        namespace: String,
    },
    /// The Secret is not meant for this repository.
    #[error(
        "the Secret `{name}` is not for `{repo_url}`: its `url` must be this repository's or a folder of its server"
    )]
    NotForThis {
        /// The Secret.
        name: String,
        /// The repository.
        repo_url: String,
    },
    /// The Secret holds nothing that can be used for this URL.
    #[error("the Secret `{name}` holds {found}, which cannot be used for `{repo_url}`; {hint}")]
    Unusable {
        /// The Secret.
        name: String,
        /// What it holds.
        found: String,
        /// The repository.
        repo_url: String,
        /// What to do.
        hint: &'static str,
    },
    /// The Secret holds a GitHub App's key, and GitHub gave no token for it.
    #[error("the Secret `{name}`, for `{repo_url}`: {error}")]
    App {
        /// The Secret.
        name: String,
        /// The repository.
        repo_url: String,
        /// Why not.
        error: AppError,
    },
}

/// How to reach a repository, and what its credentials must be exchanged for first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// How to reach it.
    pub access: Access,
    /// The GitHub App whose token it wants, and the Secret's name.
    pub app: Option<(String, App)>,
}

/// Credentials in a Secret.
enum Found {
    Auth(Auth),
    App(App),
}

/// What was read from the Argo CD namespace.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// All Secrets with Argo CD's label.
    pub secrets: Vec<SecretData>,
    /// The Secret that the policy names, instead of Argo CD's.
    pub own: Option<SecretData>,
    /// The data of `argocd-tls-certs-cm`.
    pub tls_certs: BTreeMap<String, String>,
    /// The host keys in `argocd-ssh-known-hosts-cm`.
    pub known_hosts: Option<String>,
}

/// Chooses how to reach a repository, by Argo CD's own rules, preferring its write credentials.
pub fn choose(sources: &Sources, repo_url: &str, project: &str) -> Result<Choice, CredentialsError> {
    let mut choice = Choice { access: Access::new(repo_url), app: None };
    choice.access.ca_pem = url::host(repo_url).and_then(|host| sources.tls_certs.get(&host).cloned());
    choice.access.known_hosts.clone_from(&sources.known_hosts);
    if let Some(own) = &sources.own {
        // Whoever may write an Application chooses its URL; the policy's token must not follow it anywhere.
        if !covers(own.get("url"), repo_url) {
            return Err(CredentialsError::NotForThis { name: own.name.clone(), repo_url: redact(repo_url) });
        }
        choice.access.insecure |= own.is_insecure();
        choice.take(own, sources, repo_url)?;
        return Ok(choice);
    }
    for (exact, prefix) in [("repository-write", "repo-write-creds"), ("repository", "repo-creds")] {
        let exact = by_url(sources, exact, repo_url, project);
        // A template has no such switch, so that one for a whole host does not open it.
        choice.access.insecure |= exact.is_some_and(SecretData::is_insecure);
        for secret in [exact, by_prefix(sources, prefix, repo_url)].into_iter().flatten() {
            if choice.take(secret, sources, repo_url)? {
                return Ok(choice);
            }
        }
    }
    Ok(choice)
}

impl Choice {
    /// Takes what a Secret holds and none before it held; whether that were credentials, so that no other is asked.
    fn take(
        &mut self,
        secret: &SecretData,
        sources: &Sources,
        repo_url: &str,
    ) -> Result<bool, CredentialsError> {
        apply(&mut self.access, secret);
        match found(secret, repo_url)? {
            Some(Found::Auth(auth)) => self.access.auth = auth,
            Some(Found::App(mut app)) => {
                app.ca_pem = url::host(&app.api).and_then(|host| sources.tls_certs.get(&host).cloned());
                self.app = Some((secret.name.clone(), app));
            }
            None => return Ok(secret.has_credentials()),
        }
        Ok(true)
    }
}

/// Whether a URL is the repository's, or of a folder that holds it.
fn covers(url: &str, repo_url: &str) -> bool {
    let (url, wanted) = (normalise(url), normalise(repo_url));
    !url.is_empty() && wanted.strip_prefix(&url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn of_type<'a>(sources: &'a Sources, kind: &'static str) -> impl Iterator<Item = &'a SecretData> {
    sources.secrets.iter().filter(move |s| s.labels.get(TYPE_LABEL).is_some_and(|t| t == kind))
}

/// The Secret of this very repository: the project's own, else one of no project.
fn by_url<'a>(
    sources: &'a Sources,
    kind: &'static str,
    repo_url: &str,
    project: &str,
) -> Option<&'a SecretData> {
    let wanted = normalise(repo_url);
    let same = |s: &&SecretData| !s.get("url").is_empty() && normalise(s.get("url")) == wanted;
    let of_project =
        |project: &str| of_type(sources, kind).filter(same).find(|s| s.get("project") == project);
    of_project(project).or_else(|| of_project(""))
}

/// The template with the longest URL that the repository's begins with.
fn by_prefix<'a>(sources: &'a Sources, kind: &'static str, repo_url: &str) -> Option<&'a SecretData> {
    let wanted = normalise(repo_url);
    let mut best: Option<(usize, &SecretData)> = None;
    for secret in of_type(sources, kind) {
        let prefix = normalise(secret.get("url"));
        if wanted.starts_with(&prefix) && best.map_or(0, |(len, _)| len) < prefix.len() {
            best = Some((prefix.len(), secret));
        }
    }
    best.map(|(_, secret)| secret)
}

impl SecretData {
    fn get(&self, key: &str) -> &str {
        self.data.get(key).map_or("", |value| value.reveal().trim())
    }

    fn has(&self, key: &str) -> bool {
        !self.get(key).is_empty()
    }

    /// A switch, by the words that Go's `strconv.ParseBool` takes.
    fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key), "1" | "t" | "T" | "true" | "TRUE" | "True")
    }

    /// What Argo CD calls credentials: with any of these a template is not asked, even if they are of no use.
    fn has_credentials(&self) -> bool {
        ["username", "password", "bearerToken", "sshPrivateKey", "tlsClientCertData", "githubAppPrivateKey"]
            .iter()
            .any(|key| self.has(key))
            || self.is_on("useAzureWorkloadIdentity")
    }

    /// A number; none where the key is missing.
    fn number(&self, key: &str) -> Option<Result<u64, std::num::ParseIntError>> {
        self.has(key).then(|| self.get(key).parse())
    }

    fn is_insecure(&self) -> bool {
        self.is_on("insecure") || self.is_on("insecureIgnoreHostKey")
    }
}

/// Takes over what is not credentials: certificates, host keys, proxy. A template fills only what is still open.
fn apply(access: &mut Access, secret: &SecretData) {
    if secret.has("ca.crt") {
        access.ca_pem = Some(secret.get("ca.crt").to_owned());
    }
    if secret.has("known_hosts") {
        access.known_hosts = Some(secret.get("known_hosts").to_owned());
    }
    if secret.has("proxy") && access.proxy.is_none() {
        access.proxy = Some(Secret::new(secret.get("proxy")));
        access.no_proxy = Some(secret.get("noProxy").to_owned()).filter(|hosts| !hosts.is_empty());
    }
    let certified = secret.has("tlsClientCertData") && secret.has("tlsClientCertKey");
    if certified && access.client_cert_pem.is_none() {
        let (cert, key) = (secret.get("tlsClientCertData"), secret.get("tlsClientCertKey"));
        access.client_cert_pem = Some(Secret::new(format!("{cert}\n{key}\n")));
    }
}

/// Kinds of credentials that Argo CD knows and lastgood does not.
const UNSUPPORTED: [(&str, &str); 4] = [
    ("gcpServiceAccountKey", "a Google service account's key"),
    ("useAzureWorkloadIdentity", "an Azure workload identity"),
    ("azureServicePrincipalClientSecret", "an Azure service principal"),
    ("azureServicePrincipalClientId", "an Azure service principal"),
];

/// The credentials in a Secret that fit the URL, in Argo CD's order; none when it holds none at all.
fn found(secret: &SecretData, repo_url: &str) -> Result<Option<Found>, CredentialsError> {
    let unusable = |found: &str, hint| {
        let (name, repo_url) = (secret.name.clone(), redact(repo_url));
        Err(CredentialsError::Unusable { name, found: found.to_owned(), repo_url, hint })
    };
    let password = secret.has("password");
    let (bearer, key) = (secret.has("bearerToken"), secret.has("sshPrivateKey"));
    match Scheme::of(repo_url) {
        Some(Scheme::Ssh) if key => {
            // Only the ends were trimmed; `ssh` wants the last line to end.
            let key = Secret::new(format!("{}\n", secret.get("sshPrivateKey")));
            Ok(Some(Found::Auth(Auth::SshKey { key })))
        }
        Some(Scheme::Http) if bearer => {
            Ok(Some(Found::Auth(Auth::Bearer(Secret::new(secret.get("bearerToken"))))))
        }
        Some(Scheme::Http) if password => {
            let username = Some(secret.get("username")).filter(|u| !u.is_empty()).unwrap_or(DEFAULT_USERNAME);
            let password = Secret::new(secret.get("password"));
            Ok(Some(Found::Auth(Auth::Basic { username: username.to_owned(), password })))
        }
        Some(Scheme::Http) if key => {
            unusable("only an SSH key", "give it a password or token, or use an SSH URL")
        }
        Some(Scheme::Ssh) if password || bearer => {
            unusable("only a password or token", "give it `sshPrivateKey`, or use an HTTPS URL")
        }
        Some(Scheme::Ssh) if secret.has("githubAppPrivateKey") => {
            unusable("only a GitHub App's key", "use an HTTPS URL: its tokens are not for SSH")
        }
        Some(Scheme::Http) if secret.has("githubAppPrivateKey") => match app(secret) {
            Ok(app) => Ok(Some(Found::App(app))),
            Err(hint) => unusable("an incomplete GitHub App", hint),
        },
        _ => match UNSUPPORTED.iter().find(|(key, _)| secret.has(key)) {
            Some((_, what)) => unusable(
                what,
                "name a Secret with `username` and `password`, or `sshPrivateKey`, in the policy",
            ),
            None => Ok(None),
        },
    }
}

/// The GitHub App in a Secret, or what is wrong with it.
fn app(secret: &SecretData) -> Result<App, &'static str> {
    let wrong_installation = "`githubAppInstallationID` is not a number";
    let id = secret.number("githubAppID").ok_or("give it `githubAppID`")?;
    let id = id.map_err(|_| "`githubAppID` is not a number")?;
    let installation =
        secret.number("githubAppInstallationID").transpose().map_err(|_| wrong_installation)?;
    let api = secret.get("githubAppEnterpriseBaseUrl").trim_end_matches('/');
    let api = if api.is_empty() { github_app::API } else { api };
    if Scheme::of(api) != Some(Scheme::Http) {
        return Err("`githubAppEnterpriseBaseUrl` is not an HTTP URL");
    }
    // Argo CD writes a missing number as zero.
    let installation = installation.filter(|number| *number != 0);
    let key = Secret::new(secret.get("githubAppPrivateKey"));
    Ok(App { id, installation, key, api: api.to_owned(), ca_pem: None })
}

/// Reads what is needed from the cluster and chooses.
///
/// With `secret` given only that one counts: a Secret with `url`, and `username` and `password`, or `bearerToken`, or
/// `sshPrivateKey`, or a GitHub App's keys, and if need be `known_hosts` and `ca.crt`. A GitHub App is exchanged for a
/// token, which stands as the password.
pub async fn resolve(
    client: &kube::Client,
    argocd_namespace: &str,
    repo_url: &str,
    project: &str,
    secret: Option<&str>,
) -> Result<Access, CredentialsError> {
    if Scheme::of(repo_url) == Some(Scheme::Local) {
        return Ok(Access::new(repo_url));
    }
    let secrets: Api<KubeSecret> = Api::namespaced(client.clone(), argocd_namespace);
    let unreadable = |what: &str, e: &kube::Error| CredentialsError::Unreadable {
        what: what.to_owned(),
        namespace: argocd_namespace.to_owned(),
        reason: e.to_string(),
    };
    let mut sources = Sources::default();
    if let Some(name) = secret {
        let own = secrets.get_opt(name).await.map_err(|e| unreadable(&format!("the Secret `{name}`"), &e))?;
        let missing =
            || CredentialsError::Missing { name: name.to_owned(), namespace: argocd_namespace.to_owned() };
        sources.own = Some(own.map(decoded).ok_or_else(missing)?);
    } else {
        let selector =
            format!("{TYPE_LABEL} in (repository, repo-creds, repository-write, repo-write-creds)");
        let mut page = ListParams::default().labels(&selector).limit(PAGE_SIZE);
        loop {
            let list = secrets.list(&page).await.map_err(|e| unreadable("Argo CD's Secrets", &e))?;
            sources.secrets.extend(list.items.into_iter().map(decoded));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), argocd_namespace);
    let certs = maps.get_opt(TLS_CERTS).await.map_err(|e| unreadable(TLS_CERTS, &e))?;
    sources.tls_certs = certs.and_then(|map| map.data).unwrap_or_default();
    let hosts = maps.get_opt(KNOWN_HOSTS).await.map_err(|e| unreadable(KNOWN_HOSTS, &e))?;
    sources.known_hosts = hosts.and_then(|map| map.data).and_then(|mut data| data.remove(KNOWN_HOSTS_KEY));
    let Choice { mut access, app } = choose(&sources, repo_url, project)?;
    if let Some((name, app)) = app {
        let token = app.token(&access, repo_url, Timestamp::now()).await;
        let no_token = |error| CredentialsError::App { name, repo_url: redact(repo_url), error };
        let password = token.map_err(no_token)?;
        access.auth = Auth::Basic { username: github_app::USERNAME.to_owned(), password };
    }
    Ok(access)
}

fn decoded(secret: KubeSecret) -> SecretData {
    let text = |(key, value): (String, k8s_openapi::ByteString)| {
        Some((key, Secret::new(String::from_utf8(value.0).ok()?)))
    };
    SecretData {
        name: secret.metadata.name.unwrap_or_default(),
        labels: secret.metadata.labels.unwrap_or_default(),
        data: secret.data.unwrap_or_default().into_iter().filter_map(text).collect(),
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
