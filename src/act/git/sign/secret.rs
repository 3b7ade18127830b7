//! The signing key as a Secret holds it.

use k8s_openapi::api::core::v1::Secret as KubeSecret;
use kube::Api;

use super::{KeyText, SignError};
use crate::act::git::access::Secret;

/// The keys of a Secret that hold a private key.
const KEYS: [&str; 2] = ["gpgPrivateKey", "sshPrivateKey"];
/// The key of a Secret that holds what the private key is locked with.
const PASSPHRASE: &str = "passphrase";

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The API server did not give it; it may the next time.
    #[error("cannot read the Secret `{name}` with the signing key in namespace `{namespace}`: {reason}")]
    Unreadable {
        /// The Secret.
        name: String,
        /// Where.
        namespace: String,
        /// Why not.
        reason: String,
    },
    /// There is no Secret, or no key in it.
    #[error(transparent)]
    Missing(SignError),
}

/// Reads the key from a Secret with `gpgPrivateKey` or `sshPrivateKey`, and `passphrase` where the key has one.
pub async fn from_secret(client: &kube::Client, namespace: &str, name: &str) -> Result<KeyText, NoKey> {
    let secrets: Api<KubeSecret> = Api::namespaced(client.clone(), namespace);
    let found = secrets.get_opt(name).await.map_err(|e| NoKey::Unreadable {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        reason: e.to_string(),
    })?;
    let origin = format!("the Secret `{name}`");
    let Some(found) = found else {
        let why = format!("with the signing key does not exist in namespace `{namespace}`");
        return Err(NoKey::Missing(SignError::new(origin, why)));
    };
    pick(found, origin).map_err(NoKey::Missing)
}

fn pick(secret: KubeSecret, origin: String) -> Result<KeyText, SignError> {
    let mut data = secret.data.unwrap_or_default();
    let mut keys = KEYS.into_iter().filter_map(|key| data.remove(key));
    let (key, second) = (keys.next(), keys.next());
    let reason = match (key, second) {
        (Some(_), Some(_)) => "holds both `gpgPrivateKey` and `sshPrivateKey`: one of them must sign",
        (None, _) => "holds no `gpgPrivateKey` and no `sshPrivateKey`",
        (Some(key), None) => match (String::from_utf8(key.0), data.remove(PASSPHRASE)) {
            (Ok(key), None) => {
                return Ok(KeyText { origin, key: Secret::new(key), passphrase: None });
            }
            (Ok(key), Some(passphrase)) => match String::from_utf8(passphrase.0) {
                Ok(passphrase) => {
                    // `kubectl create secret --from-file` keeps the last line break of a file.
                    let passphrase = Some(Secret::new(passphrase.trim_end_matches(['\r', '\n'])));
                    return Ok(KeyText { origin, key: Secret::new(key), passphrase });
                }
                Err(_) => "holds a `passphrase` that is not text",
            },
            (Err(_), _) => "holds a key that is not text; gpg needs `--armor`",
        },
    };
    Err(SignError::new(origin, reason))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn picked(data: &[(&str, &[u8])]) -> Result<KeyText, String> {
        let data: BTreeMap<_, _> =
            data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec()))).collect();
        let secret = KubeSecret { data: Some(data), ..KubeSecret::default() };
        pick(secret, "the Secret `s`".to_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_secret_holds_one_key() {
        let key = picked(&[("sshPrivateKey", b"k"), ("passphrase", b"p w\n"), ("other", b"\xff")]).unwrap();
        assert_eq!((key.key.reveal(), key.passphrase.unwrap().reveal()), ("k", "p w"));
        assert_eq!(picked(&[("gpgPrivateKey", b"g")]).unwrap().key.reveal(), "g");
        let holds = |data: &[(&str, &[u8])], expected: &str| {
            let error = picked(data).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        holds(&[("password", b"p")], "the Secret `s` holds no `gpgPrivateKey`");
        holds(&[("gpgPrivateKey", b"g"), ("sshPrivateKey", b"s")], "the Secret `s` holds both");
        holds(&[("gpgPrivateKey", b"\xff")], "the Secret `s` holds a key that is not text");
        holds(&[("gpgPrivateKey", b"g"), ("passphrase", b"\xff")], "holds a `passphrase` that is not text");
    }
}
