//! The objects, their versions and the log of changes that watches read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::error::ApiError;
use super::kinds::{Generation, Resource};
use super::parts::Part;
use super::parts::merge_parts;
use crate::sandbox::clock::{Clock, whole_seconds};
use crate::sandbox::json::{list, merge_patch, remove, set, text};

/// Changes that watches can still replay; a watch that is further behind is told 410 and lists again.
const CHANGES_KEPT_MAX: usize = 4096;

/// Seconds that a pod gets to end, as the API server's default.
const GRACE_SECONDS: u32 = 30;

/// The API server's objects. Clones share them.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Mutex<Inner>>,
    version: Arc<watch::Sender<u64>>,
    clock: Clock,
}

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<Key, Arc<Value>>,
    changes: VecDeque<Change>,
    /// The newest version, of any object.
    version: u64,
    /// The newest version that is no longer in `changes`.
    forgotten: u64,
    uids: u64,
}

/// Names one object. The order is the one of lists: by namespace, then name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    group: &'static str,
    plural: &'static str,
    namespace: String,
    name: String,
}

impl Key {
    fn new(resource: &'static Resource, namespace: &str, name: &str) -> Self {
        let namespace = if resource.namespaced { namespace } else { "" };
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { group: resource.group, plural: resource.plural, namespace, name }
    }

    pub(crate) fn is_of(&self, resource: &Resource, namespace: Option<&str>) -> bool {
        self.group == resource.group
            && self.plural == resource.plural
            && namespace.is_none_or(|wanted| self.namespace == wanted)
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<Value>>,
    /// None after a deletion.
    pub(crate) after: Option<Arc<Value>>,
}

/// What a deletion expects to find.
#[derive(Clone, Debug, Default)]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    /// Skip the graceful end.
    pub(crate) now: bool,
}

impl Store {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        Self { inner: Arc::default(), version: Arc::new(watch::Sender::new(0)), clock }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whenever an object changes.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The newest `resourceVersion`.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// One object.
    pub fn get(&self, resource: &'static Resource, namespace: &str, name: &str) -> Option<Value> {
        let found = self.lock().objects.get(&Key::new(resource, namespace, name)).cloned()?;
        Some(Value::clone(&found))
    }

    /// All objects of a kind, in one namespace or in all, by namespace and name.
    pub fn list(&self, resource: &'static Resource, namespace: Option<&str>) -> Vec<Value> {
        self.snapshot(resource, namespace).1.into_iter().map(|object| Value::clone(&object)).collect()
    }

    /// Like [`list`](Self::list) in all namespaces, without copying the objects.
    pub(crate) fn objects(&self, resource: &'static Resource) -> Vec<Arc<Value>> {
        self.snapshot(resource, None).1
    }

    /// Like [`list`](Self::list), with the version that it is of.
    pub(crate) fn snapshot(
        &self,
        resource: &'static Resource,
        namespace: Option<&str>,
    ) -> (u64, Vec<Arc<Value>>) {
        let inner = self.lock();
        let first = Key::new(resource, namespace.unwrap_or_default(), "");
        let objects = inner
            .objects
            .range(first..)
            .take_while(|(key, _)| key.is_of(resource, namespace))
            .map(|(_, object)| Arc::clone(object))
            .collect();
        (inner.version, objects)
    }

    /// The changes after a version, with the newest version; an error when they are forgotten.
    pub(crate) fn since(&self, version: u64) -> Result<(u64, Vec<Change>), ApiError> {
        let inner = self.lock();
        if version < inner.forgotten {
            return Err(ApiError::expired(version, inner.forgotten));
        }
        let start = inner.changes.partition_point(|change| change.version <= version);
        Ok((inner.version, inner.changes.range(start..).cloned().collect()))
    }

    /// Forgets all changes, as a compaction does: watches from before now are told 410.
    pub fn forget_changes(&self) {
        let mut inner = self.lock();
        // One version more, so that a watch from the newest one is too old as well.
        inner.version += 1;
        inner.forgotten = inner.version;
        inner.changes.clear();
    }

    /// Creates an object; gives back what was stored.
    pub fn create(
        &self,
        resource: &'static Resource,
        namespace: &str,
        mut object: Value,
    ) -> Result<Value, ApiError> {
        let now = whole_seconds(self.clock.now());
        let mut inner = self.lock();
        inner.uids += 1;
        let serial = inner.uids;
        let mut name = text(&object, "/metadata/name").to_owned();
        if name.is_empty() {
            let prefix = text(&object, "/metadata/generateName");
            if prefix.is_empty() {
                return Err(ApiError::invalid(resource, "", "metadata.name: Required value"));
            }
            name = format!("{prefix}{}", short_hash(serial, 5));
        }
        let key = Key::new(resource, namespace, &name);
        if inner.objects.contains_key(&key) {
            return Err(ApiError::already_exists(resource, &name));
        }
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        if resource.status {
            remove(&mut object, &["status"]);
        }
        set(&mut object, &["apiVersion"], json!(resource.api_version()));
        set(&mut object, &["kind"], json!(resource.kind));
        set(&mut object, &["metadata", "name"], json!(name));
        if resource.namespaced {
            set(&mut object, &["metadata", "namespace"], json!(namespace));
        }
        set(&mut object, &["metadata", "uid"], json!(format!("5a9db0c5-0000-4000-8000-{serial:012x}")));
        set(&mut object, &["metadata", "creationTimestamp"], json!(now));
        if resource.generation != Generation::None {
            set(&mut object, &["metadata", "generation"], json!(1));
        }
        Ok(self.commit(&mut inner, key, None, object))
    }

    /// Replaces an object; when it carries a `resourceVersion`, only if that is still the newest.
    pub fn replace(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        object: &Value,
    ) -> Result<Value, ApiError> {
        if resource.conditional && text(object, "/metadata/resourceVersion").is_empty() {
            let why = "metadata.resourceVersion: Invalid value: 0x0: must be specified for an update";
            return Err(ApiError::invalid(resource, name, why));
        }
        self.write(resource, namespace, name, part, |_| object.clone())
    }

    /// Applies a merge patch; when it carries a `resourceVersion`, only if that is still the newest.
    pub fn patch(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Value,
    ) -> Result<Value, ApiError> {
        self.write(resource, namespace, name, part, |current| {
            let mut next = current.clone();
            merge_patch(&mut next, patch);
            next
        })
    }

    /// Changes an object in place.
    pub(crate) fn edit(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Value, ApiError> {
        self.write(resource, namespace, name, part, |current| {
            let mut next = current.clone();
            edit(&mut next);
            next
        })
    }

    fn write(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        part: Part,
        make: impl FnOnce(&Value) -> Value,
    ) -> Result<Value, ApiError> {
        let mut inner = self.lock();
        let key = Key::new(resource, namespace, name);
        let Some(current) = inner.objects.get(&key).cloned() else {
            return Err(ApiError::not_found(resource, name));
        };
        let wanted = make(&current);
        let expected = text(&wanted, "/metadata/resourceVersion");
        if !expected.is_empty() && expected != text(&current, "/metadata/resourceVersion") {
            return Err(ApiError::conflict(resource, name));
        }
        let (want_uid, have_uid) = (text(&wanted, "/metadata/uid"), text(&current, "/metadata/uid"));
        if !want_uid.is_empty() && want_uid != have_uid {
            return Err(ApiError::precondition(resource, name, "UID", want_uid, have_uid));
        }
        let next = merge_parts(resource, part, &current, wanted);
        if next == *current {
            // As the real one: a write that changes nothing makes no new version.
            return Ok(next);
        }
        if !text(&next, "/metadata/deletionTimestamp").is_empty()
            && list(&next, "/metadata/finalizers").is_empty()
            && !resource.graceful
        {
            return Ok(self.commit_deletion(&mut inner, key, &current));
        }
        Ok(self.commit(&mut inner, key, Some(current), next))
    }

    /// Deletes an object; pods and objects with finalizers are only marked at first.
    pub fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Value, ApiError> {
        self.delete_if(resource, namespace, name, &Preconditions::default())
    }

    pub(crate) fn delete_if(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        expect: &Preconditions,
    ) -> Result<Value, ApiError> {
        let mut inner = self.lock();
        let key = Key::new(resource, namespace, name);
        let Some(current) = inner.objects.get(&key).cloned() else {
            return Err(ApiError::not_found(resource, name));
        };
        for (what, pointer, wanted) in [
            ("UID", "/metadata/uid", &expect.uid),
            ("ResourceVersion", "/metadata/resourceVersion", &expect.resource_version),
        ] {
            let have = text(&current, pointer);
            if let Some(wanted) = wanted.as_deref().filter(|wanted| *wanted != have) {
                return Err(ApiError::precondition(resource, name, what, wanted, have));
            }
        }
        let waits = (resource.graceful && !expect.now) || !list(&current, "/metadata/finalizers").is_empty();
        if !waits {
            return Ok(self.commit_deletion(&mut inner, key, &current));
        }
        if !text(&current, "/metadata/deletionTimestamp").is_empty() {
            return Ok(Value::clone(&current));
        }
        let mut next = Value::clone(&current);
        set(&mut next, &["metadata", "deletionTimestamp"], json!(whole_seconds(self.clock.now())));
        let grace = if resource.graceful { GRACE_SECONDS } else { 0 };
        set(&mut next, &["metadata", "deletionGracePeriodSeconds"], json!(grace));
        Ok(self.commit(&mut inner, key, Some(current), next))
    }

    /// Deletes what belongs to an owner that is gone, as the garbage collector of Kubernetes does.
    pub(crate) fn collect_garbage(&self) {
        let mut inner = self.lock();
        let alive: std::collections::BTreeSet<String> =
            inner.objects.values().map(|object| text(object, "/metadata/uid").to_owned()).collect();
        let orphans: Vec<(Key, Arc<Value>)> = inner
            .objects
            .iter()
            .filter(|(_, object)| {
                let owners = list(object, "/metadata/ownerReferences");
                !owners.is_empty() && owners.iter().all(|owner| !alive.contains(text(owner, "/uid")))
            })
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        for (key, object) in orphans {
            self.commit_deletion(&mut inner, key, &object);
        }
    }

    fn commit(&self, inner: &mut Inner, key: Key, before: Option<Arc<Value>>, mut object: Value) -> Value {
        set(&mut object, &["metadata", "resourceVersion"], json!((inner.version + 1).to_string()));
        let stored = Arc::new(object);
        inner.objects.insert(key.clone(), Arc::clone(&stored));
        self.log(inner, key, before, Some(Arc::clone(&stored)));
        Value::clone(&stored)
    }

    fn commit_deletion(&self, inner: &mut Inner, key: Key, before: &Arc<Value>) -> Value {
        inner.objects.remove(&key);
        let mut last = Value::clone(before);
        set(&mut last, &["metadata", "resourceVersion"], json!((inner.version + 1).to_string()));
        self.log(inner, key, Some(Arc::new(last.clone())), None);
        last
    }

    fn log(&self, inner: &mut Inner, key: Key, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        inner.version += 1;
        let version = inner.version;
        inner.changes.push_back(Change { version, key, before, after });
        if inner.changes.len() > CHANGES_KEPT_MAX
            && let Some(old) = inner.changes.pop_front()
        {
            inner.forgotten = old.version;
        }
        self.version.send_replace(version);
    }
}

/// A short name like those of Kubernetes, the same for the same number.
pub(crate) fn short_hash(number: u64, length: usize) -> String {
    // Kubernetes leaves out vowels and what looks like another letter.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let base = LETTERS.len() as u64;
    // The finaliser of splitmix64, so that neighbours look unlike.
    let mut rest = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    rest = (rest ^ (rest >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    rest ^= rest >> 27;
    let mut out = String::new();
    for _ in 0..length {
        let letter = usize::try_from(rest % base).ok().and_then(|i| LETTERS.get(i)).copied();
        out.push(char::from(letter.unwrap_or(b'x')));
        rest /= base;
    }
    out
}
