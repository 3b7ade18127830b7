//! How to reach a repository: its URL, the credentials and the certificates. No secret in it shows in `Debug`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::url;

/// A text that must not be seen.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Gives the secret away; only for the wire, or for a file that none but us may read.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How to prove who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// Not at all: a public or local repository.
    #[default]
    None,
    /// A user's name and a password or token.
    Basic {
        /// The user's name.
        username: String,
        /// The password or token.
        password: Secret,
    },
    /// A token of its own scheme.
    Bearer(Secret),
    /// A private key for SSH, in any form that `ssh` reads.
    SshKey {
        /// The key.
        key: Secret,
    },
}

/// Everything that a connection to one repository needs.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The URL, without user and password where it is HTTP.
    pub url: String,
    /// The credentials.
    pub auth: Auth,
    /// Certificates of authorities to trust instead of the system's own, in PEM.
    pub ca_pem: Option<String>,
    /// A client certificate and its key, in PEM.
    pub client_cert_pem: Option<Secret>,
    /// Host keys to trust, in the form of `known_hosts`.
    pub known_hosts: Option<String>,
    /// Whether neither certificates nor host keys are checked.
    pub insecure: bool,
    /// The proxy for HTTP; its URL may hold a password.
    pub proxy: Option<Secret>,
    /// The hosts to reach without the proxy, separated by commas.
    pub no_proxy: Option<String>,
}

impl Access {
    /// Reaches a URL without further credentials; user and password in it become [`Auth::Basic`].
    pub fn new(repo_url: &str) -> Self {
        let repo_url = repo_url.trim();
        let is_http = url::Scheme::of(repo_url) == Some(url::Scheme::Http);
        match url::split_userinfo(repo_url).filter(|_| is_http) {
            Some((scheme, userinfo, rest)) => {
                Self { url: format!("{scheme}://{rest}"), auth: basic(userinfo), ..Self::default() }
            }
            None => Self { url: repo_url.to_owned(), ..Self::default() },
        }
    }
}

/// The shortest secret that is looked for in a text: anything shorter is in many words.
const SECRET_CHARS_MIN: usize = 4;

impl Access {
    /// The text without what must not be seen: a server may repeat what it was sent.
    pub(crate) fn hush(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        match &self.auth {
            Auth::Basic { username, password } => {
                secrets.push(password.reveal().to_owned());
                secrets.push(STANDARD.encode(format!("{username}:{}", password.reveal())));
            }
            Auth::Bearer(token) => secrets.push(token.reveal().to_owned()),
            Auth::None | Auth::SshKey { .. } => {}
        }
        if let Some((_, userinfo, _)) =
            self.proxy.as_ref().and_then(|proxy| url::split_userinfo(proxy.reveal()))
        {
            secrets.extend(userinfo.split_once(':').map(|(_, password)| password.to_owned()));
        }
        secrets.retain(|secret| secret.chars().count() >= SECRET_CHARS_MIN);
        secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("url", &url::redact(&self.url))
            .field("auth", &self.auth)
            .field("ca_pem", &self.ca_pem.is_some())
            .field("client_cert_pem", &self.client_cert_pem)
            .field("known_hosts", &self.known_hosts.is_some())
            .field("insecure", &self.insecure)
            .field("proxy", &self.proxy)
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

fn basic(userinfo: &str) -> Auth {
    let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    Auth::Basic { username: decode(username), password: Secret::new(decode(password)) }
}

/// Undoes percent-encoding; what is not valid stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn no_secret_shows() {
        let mut access = Access::new("https://ann:se%2Fcret@git.example/a.git");
        assert_eq!(access.url, "https://git.example/a.git");
        let Auth::Basic { username, password } = access.auth.clone() else { panic!("not basic") };
        assert_eq!((username.as_str(), password.reveal()), ("ann", "se/cret"));
        access.proxy = Some(Secret::new("http://p:secret@proxy"));
        access.client_cert_pem = Some(Secret::new("secret"));
        let shown = format!("{access:?} {:?} {:?}", Auth::Bearer(Secret::new("secret")), access.auth);
        assert!(!shown.contains("cret"), "{shown}");
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, expected) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foobar", "Zm9vYmFy")]
        {
            assert_eq!(STANDARD.encode(bytes), expected);
            assert_eq!(URL_SAFE_NO_PAD.encode(bytes), expected.trim_end_matches('='));
        }
        assert_eq!(URL_SAFE_NO_PAD.encode([0xfb, 0xff, 0xfe]), "-__-");
    }

    #[test]
    fn what_a_server_repeats_is_hushed() {
        let mut access = Access::new("https://ann:s3cret@git.example/a.git");
        access.proxy = Some(Secret::new("http://p:pr0xy@proxy"));
        assert_eq!(access.hush("s3cret, YW5uOnMzY3JldA==, pr0xy, ann"), "***, ***, ***, ann");
        access.auth = Auth::Bearer(Secret::new("t0ken"));
        assert_eq!(access.hush("t0ken"), "***");
        access.auth = Auth::Basic { username: "ann".into(), password: Secret::new("a") };
        assert_eq!(access.hush("a branch"), "a branch");
    }

    #[test]
    fn an_ssh_url_keeps_its_user() {
        assert_eq!(Access::new("ssh://git@host/a").url, "ssh://git@host/a");
        assert_eq!(Access::new(" git@host:a ").auth, Auth::None);
    }
}
