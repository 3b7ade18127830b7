//! Secrets that stand in no file that people write: they lie in a Kubernetes Secret, or in a folder with a file for each
//! key. Nothing that holds them has a `Debug`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::io::AsyncReadExt as _;

use crate::engine::policy::CredentialsAt;
use crate::tls;

/// Bytes of one of them; a Secret holds no more in all.
const VALUE_BYTES_MAX: u64 = 1024 * 1024;

/// Where Secrets are read.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Why nothing was read; a sentence without its subject.
pub(crate) enum NotRead {
    /// It is known to be wrong.
    Wrong(String),
    /// It could not be found out.
    Unknown(String),
}

/// Reads the texts of these keys, as far as they are there; no others are looked at.
pub(crate) async fn read(
    at: &CredentialsAt,
    keys: &[&'static str],
    secrets: Option<&Secrets>,
) -> Result<BTreeMap<&'static str, String>, NotRead> {
    let raw = match (at, secrets) {
        (CredentialsAt::Folder(folder), _) => from_folder(Path::new(folder), keys).await?,
        (CredentialsAt::Secret(name), Some(secrets)) => from_secret(name, keys, secrets).await?,
        (CredentialsAt::Secret(name), None) => {
            let why = format!("they are in the Secret `{name}`, and no cluster is asked here");
            return Err(NotRead::Wrong(why));
        }
    };
    let mut texts = BTreeMap::new();
    for (key, bytes) in raw {
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(NotRead::Wrong(format!("`{key}` is not UTF-8 text")));
        };
        // Files end with a line break.
        texts.insert(key, text.trim().to_owned());
    }
    Ok(texts)
}

async fn from_secret(
    name: &str,
    keys: &[&'static str],
    secrets: &Secrets,
) -> Result<Vec<(&'static str, Vec<u8>)>, NotRead> {
    let Secrets { client, namespace } = secrets;
    let secret = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(name).await;
    let what = format!("the Secret `{name}` in namespace `{namespace}`");
    match secret {
        Ok(Some(secret)) => {
            let mut data = secret.data.unwrap_or_default();
            Ok(keys.iter().filter_map(|key| Some((*key, data.remove(*key)?.0))).collect())
        }
        Ok(None) => Err(NotRead::Wrong(format!("{what} does not exist"))),
        Err(error) => Err(NotRead::Unknown(format!("cannot read {what}: {error}"))),
    }
}

async fn from_folder(folder: &Path, keys: &[&'static str]) -> Result<Vec<(&'static str, Vec<u8>)>, NotRead> {
    let mut found = Vec::new();
    for key in keys {
        let path = folder.join(key);
        let cannot = |why: &str| NotRead::Unknown(format!("cannot read {}: {why}", path.display()));
        let file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(cannot(&error.to_string())),
        };
        let mut bytes = Vec::new();
        let mut limited = file.take(VALUE_BYTES_MAX + 1);
        limited.read_to_end(&mut bytes).await.map_err(|error| cannot(&error.to_string()))?;
        if bytes.len() as u64 > VALUE_BYTES_MAX {
            return Err(cannot("it is too long"));
        }
        found.push((*key, bytes));
    }
    if found.is_empty() {
        return Err(NotRead::Wrong(format!("the folder {} holds none of them", folder.display())));
    }
    Ok(found)
}

/// A client with these certificates: the authorities, and certificate and key of its own one after the other.
pub(crate) fn client(
    mut builder: reqwest::ClientBuilder,
    ca_pem: Option<&str>,
    pair: Option<&str>,
) -> Result<reqwest::Client, String> {
    match (ca_pem, pair) {
        // These and no others, as for Git.
        (Some(ca), pair) => builder = builder.tls_backend_preconfigured(tls::config(ca, pair)?),
        (None, Some(pair)) => {
            let identity = reqwest::Identity::from_pem(pair.as_bytes()).map_err(|e| e.to_string())?;
            builder = builder.identity(identity);
        }
        (None, None) => {}
    }
    builder.build().map_err(|e| e.to_string())
}

/// The innermost cause says it best: "Connection refused", "failed to lookup address". None repeats the URL.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
