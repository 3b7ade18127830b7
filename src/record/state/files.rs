//! State in a folder of local files, one for each application: for the sandbox, tests and single use.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Document, LoadError, SaveError, StateStore, Stored, Version};
use crate::engine::facts::AppKey;

/// Keeps states in a folder.
#[derive(Clone)]
pub struct FileStore {
    folder: Arc<Path>,
}

/// One file's content.
#[derive(Serialize, Deserialize)]
struct Content {
    /// Counts the saves.
    version: u64,
    uid: String,
    #[serde(flatten)]
    document: Document,
}

impl FileStore {
    /// Keeps states in `folder`, which is made if it is not there.
    pub fn open(folder: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder: folder.into() })
    }

    // A Kubernetes name never holds an underscore, so no two applications share a file.
    fn path(&self, app: &AppKey) -> PathBuf {
        self.folder.join(format!("{}_{}.json", app.namespace, app.name))
    }

    fn read(&self, app: &AppKey) -> io::Result<Option<Content>> {
        match fs::read(self.path(app)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file if it has the version that is expected; none when it has another.
    fn swap(
        &self,
        app: &AppKey,
        content: &mut Content,
        expect: Option<&Version>,
    ) -> io::Result<Option<Version>> {
        // Locks out other processes too. Released when the file is closed, also by a crash.
        let lock = File::create(self.folder.join(".lock"))?;
        lock.lock()?;
        let found = self.read(app)?.filter(|found| found.uid == content.uid).map(|found| found.version);
        if found.map(|version| version.to_string()).as_deref() != expect.map(Version::as_str) {
            return Ok(None);
        }
        content.version = found.unwrap_or(0) + 1;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec_pretty(content)?)?;
        file.as_file().sync_all()?;
        file.persist(self.path(app)).map_err(|error| error.error)?;
        // Without this the new name may be lost with the power.
        File::open(&self.folder)?.sync_all()?;
        Ok(Some(Version::new(content.version.to_string())))
    }
}

#[async_trait]
impl StateStore for FileStore {
    async fn load(&self, app: &AppKey) -> Result<Option<Stored>, LoadError> {
        let (store, key) = (self.clone(), app.clone());
        let content = blocking(move || store.read(&key)).await.map_err(|error| LoadError {
            app: app.clone(),
            place: self.path(app).display().to_string(),
            why: error.to_string(),
        })?;
        Ok(content.map(|Content { version, uid, document }| Stored {
            version: Version::new(version.to_string()),
            uid,
            document,
        }))
    }

    async fn save(
        &self,
        app: &AppKey,
        uid: &str,
        document: &Document,
        expect: Option<&Version>,
    ) -> Result<Version, SaveError> {
        let (store, key, expect) = (self.clone(), app.clone(), expect.cloned());
        let mut content = Content { version: 0, uid: uid.to_owned(), document: document.clone() };
        let place = || self.path(app).display().to_string();
        match blocking(move || store.swap(&key, &mut content, expect.as_ref())).await {
            Ok(Some(version)) => Ok(version),
            Ok(None) => Err(SaveError::Conflict { app: app.clone(), place: place() }),
            Err(error) => Err(SaveError::Other { app: app.clone(), place: place(), why: error.to_string() }),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Summary;
    use super::*;

    fn document(n: u32) -> Document {
        Document {
            summary: Summary { phase: format!("p{n}"), ..Summary::default() },
            state: json!({ "n": n }),
        }
    }

    #[tokio::test]
    async fn a_save_replaces_only_what_it_expects() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path().join("deep/er")).unwrap();
        let app = AppKey::new("argocd", "shop");
        assert_eq!(store.load(&app).await.unwrap(), None);

        let first = store.save(&app, "u1", &document(1), None).await.unwrap();
        let read = store.load(&app).await.unwrap().unwrap();
        assert_eq!(read, Stored { version: first.clone(), uid: "u1".into(), document: document(1) });

        let again = store.save(&app, "u1", &document(2), None).await;
        assert!(matches!(again, Err(SaveError::Conflict { .. })), "{again:?}");
        let second = store.save(&app, "u1", &document(2), Some(&first)).await.unwrap();
        let stale = store.save(&app, "u1", &document(3), Some(&first)).await;
        assert!(matches!(stale, Err(SaveError::Conflict { .. })), "{stale:?}");

        let reopened = FileStore::open(folder.path().join("deep/er")).unwrap();
        let read = reopened.load(&app).await.unwrap().unwrap();
        assert_eq!((read.version, read.document), (second, document(2)));
    }

    #[tokio::test]
    async fn what_was_saved_for_an_earlier_application_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        let app = AppKey::new("argocd", "shop");
        let old = store.save(&app, "u0", &document(1), None).await.unwrap();
        let saved = store.save(&app, "u1", &document(2), Some(&old)).await;
        assert!(matches!(saved, Err(SaveError::Conflict { .. })), "{saved:?}");
        store.save(&app, "u1", &document(2), None).await.unwrap();
        assert_eq!(store.load(&app).await.unwrap().unwrap().uid, "u1");
    }

    #[tokio::test]
    async fn of_many_at_once_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        let app = AppKey::new("argocd", "shop");
        let saves = (0..8).map(|n| {
            let (store, app) = (store.clone(), app.clone());
            async move { store.save(&app, "u1", &document(n), None).await.is_ok() }
        });
        let won = futures::future::join_all(saves).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1);
    }

    #[tokio::test]
    async fn a_broken_file_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        let app = AppKey::new("argocd", "shop");
        fs::write(store.path(&app), "{").unwrap();
        let error = store.load(&app).await.unwrap_err().to_string();
        assert!(error.contains("argocd_shop.json") && error.contains("argocd/shop"), "{error}");
        let saved = store.save(&app, "u1", &document(1), None).await;
        assert!(matches!(saved, Err(SaveError::Other { .. })), "{saved:?}");
    }
}
