//! Signs commits as Git does, in its SSH form or in OpenPGP's, with a private key in the daemon's hands.

mod openpgp;
mod secret;
mod ssh;
mod trusted;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

pub use secret::{NoKey, from_secret};
pub use trusted::Trusted;

use super::access::Secret;

/// Why a key signs nothing. No part of the key shows in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin} {reason}")]
pub struct SignError {
    origin: String,
    reason: String,
}

impl SignError {
    /// `origin` is what holds the key, and `reason` what is wrong with it: both end up in one sentence.
    pub fn new(origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { origin: origin.into(), reason: reason.into() }
    }
}

/// The text of a private key, and where it is from.
#[derive(Clone, Debug)]
pub struct KeyText {
    /// What holds it, as it begins a sentence: ``the Secret `signing` ``.
    pub origin: String,
    /// In OpenSSH's form, or armored in OpenPGP's.
    pub key: Secret,
    /// What it is locked with.
    pub passphrase: Option<Secret>,
}

/// A private key, unlocked. It does not show in `Debug`.
#[derive(Clone)]
pub struct Signer {
    origin: String,
    key: Arc<Key>,
}

enum Key {
    Ssh(Box<ssh::Key>),
    OpenPgp(openpgp::Key),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.public_name()).finish()
    }
}

impl Signer {
    /// Reads a key, unlocks it, and makes sure that it may sign at this time.
    ///
    /// Unlocking is slow on purpose: call it where blocking is allowed.
    pub fn read(text: &KeyText, now: Timestamp) -> Result<Self, SignError> {
        let (key, passphrase) = (text.key.reveal().trim(), text.passphrase.as_ref().map(Secret::reveal));
        let key = if key.contains("BEGIN PGP PRIVATE KEY BLOCK") {
            openpgp::Key::read(key, passphrase, now).map(Key::OpenPgp)
        } else if key.contains("BEGIN OPENSSH PRIVATE KEY") {
            ssh::Key::read(key, passphrase).map(|key| Key::Ssh(Box::new(key)))
        } else {
            Err(unknown(key))
        };
        match key {
            Ok(key) => Ok(Self { origin: text.origin.clone(), key: Arc::new(key) }),
            Err(reason) => Err(SignError::new(&text.origin, reason)),
        }
    }

    /// Signs the content of a commit; gives what belongs into its header.
    pub fn sign(&self, content: &str, now: Timestamp) -> Result<String, SignError> {
        let signature = match &*self.key {
            Key::Ssh(key) => key.sign(content),
            Key::OpenPgp(key) => key.sign(content, now),
        };
        // A last line break would be kept as an empty line of the header.
        let signature = signature.map(|signature| signature.trim_end().to_owned());
        signature.map_err(|reason| SignError::new(&self.origin, reason))
    }

    /// The key's public fingerprint, for people.
    pub fn public_name(&self) -> String {
        match &*self.key {
            Key::Ssh(key) => key.public_name(),
            Key::OpenPgp(key) => key.public_name(),
        }
    }
}

/// What is wrong with a text that is neither kind of key.
fn unknown(text: &str) -> String {
    let hint = if text.is_empty() {
        "holds an empty key"
    } else if text.contains("BEGIN PGP") {
        "holds an OpenPGP block that is no private key; make it with `gpg --armor --export-secret-keys`"
    } else if text.contains("PRIVATE KEY-----") {
        "holds a private key in an old form; rewrite it with `ssh-keygen -p -f FILE`"
    } else if text.starts_with("ssh-") || text.starts_with("ecdsa-") {
        "holds a public key; signing takes the private one"
    } else {
        "holds no private key in OpenSSH's form or in OpenPGP's armored one"
    };
    hint.to_owned()
}

#[cfg(test)]
mod tests;
