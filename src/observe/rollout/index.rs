//! What is known about workloads and pods, kept up to date by what the watches tell. No async, no clock.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::core::ObjectMeta;

use super::super::watching::Watched;
use super::pods::{Pod, PodObject, age};
use super::workloads::{Newest, ReplicaSet, ReplicaSetObject, Workload, WorkloadObject};
use super::{KINDS, kind_name};
use crate::engine::facts::{
    Gap, PodTrouble, RolloutFacts, TROUBLED_PODS_MAX, WorkloadFacts, WorkloadKind, WorkloadRef,
};

/// Where an object is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    namespace: String,
    /// Its name or its uid, whichever others refer to it by.
    id: String,
}

impl Key {
    /// By name.
    pub(super) fn named(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref(), meta.name.as_deref())
    }

    /// By uid.
    pub(super) fn unique(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref(), meta.uid.as_deref())
    }

    fn new(namespace: Option<&str>, id: Option<&str>) -> Self {
        Self { namespace: namespace.unwrap_or_default().into(), id: id.unwrap_or_default().into() }
    }
}

/// All that is known.
pub(super) struct Index {
    workloads: BTreeMap<WorkloadKind, Table<Workload>>,
    replica_sets: Table<ReplicaSet>,
    /// Only those in trouble.
    pods: Table<Pod>,
    touched: Touched,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            workloads: KINDS.into_iter().map(|kind| (kind, Table::new(kind_name(kind)))).collect(),
            replica_sets: Table::new("replicasets"),
            pods: Table::new("pods"),
            touched: Touched::default(),
        }
    }
}

/// Where something changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    everywhere: bool,
    namespaces: BTreeSet<String>,
}

impl Touched {
    /// Whether facts about this namespace may have changed.
    pub(super) fn covers(&self, namespace: &str) -> bool {
        self.everywhere || self.namespaces.contains(namespace)
    }
}

impl Index {
    /// Takes what the watch of one kind of workload tells.
    pub(super) fn workload(&mut self, kind: WorkloadKind, watched: Watched<WorkloadObject>) {
        let table = self.workloads.entry(kind).or_insert_with(|| Table::new(kind_name(kind)));
        let row = |object: &WorkloadObject| {
            let (key, workload) = object.row(kind);
            (key, Some(workload))
        };
        table.take(watched, row, &mut self.touched);
    }

    /// Takes what the watch of `ReplicaSet`s tells.
    pub(super) fn replica_set(&mut self, watched: Watched<ReplicaSetObject>) {
        self.replica_sets.take(watched, ReplicaSetObject::row, &mut self.touched);
    }

    /// Takes what the watch of pods tells.
    pub(super) fn pod(&mut self, watched: Watched<PodObject>) {
        self.pods.take(watched, PodObject::row, &mut self.touched);
    }

    /// Whether anything changed since [`take_touched`](Self::take_touched).
    pub(super) fn is_touched(&self) -> bool {
        self.touched != Touched::default()
    }

    /// What changed since the last call.
    pub(super) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// What becomes of these workloads.
    pub(super) fn facts(&self, workloads: &[WorkloadRef], now: Timestamp) -> RolloutFacts {
        let known = workloads.iter().filter_map(|workload| {
            let found = self.workloads.get(&workload.kind)?.get(&workload.namespace, &workload.name)?;
            Some(WorkloadFacts {
                workload: workload.clone(),
                observed: found.observed,
                desired: found.desired,
                updated: found.updated,
                available: found.available,
                paused: found.paused,
                failed: found.failed.clone(),
                troubled: self.troubled(found, &workload.namespace),
            })
        });
        RolloutFacts { at: now, workloads: known.collect(), gap: self.gap(workloads) }
    }

    fn troubled(&self, workload: &Workload, namespace: &str) -> Vec<PodTrouble> {
        let pods = self.pods.in_namespace(namespace).filter(|pod| self.is_newest(pod, workload, namespace));
        let mut troubled: Vec<PodTrouble> = pods.flat_map(|pod| pod.troubles.iter().cloned()).collect();
        troubled.sort_by(|a, b| age(a).cmp(&age(b)));
        troubled.truncate(TROUBLED_PODS_MAX);
        troubled
    }

    /// Whether a pod is one of the workload's newest template.
    fn is_newest(&self, pod: &Pod, workload: &Workload, namespace: &str) -> bool {
        let replica_set = self.replica_sets.get(namespace, &pod.owner);
        let is_owned = pod.owner == workload.uid
            || replica_set.is_some_and(|replica_set| replica_set.owner == workload.uid);
        is_owned
            && match &workload.newest {
                Newest::All => true,
                Newest::ReplicaSet(revision) => {
                    replica_set.is_some_and(|replica_set| replica_set.revision.as_ref() == Some(revision))
                }
                Newest::Label(name, value) => pod.labels.iter().any(|(n, v)| n == name && v == value),
                Newest::Nothing => false,
            }
    }

    /// Why the facts about these workloads are not the whole picture, if they are not.
    fn gap(&self, workloads: &[WorkloadRef]) -> Option<Gap> {
        let kinds: BTreeSet<WorkloadKind> = workloads.iter().map(|workload| workload.kind).collect();
        if kinds.is_empty() {
            return None;
        }
        let own = kinds.iter().filter_map(|kind| self.workloads.get(kind)?.missing());
        let below = [self.replica_sets.missing(), self.pods.missing()].into_iter().flatten();
        own.chain(below).next().map(Gap::NotWatching)
    }
}

/// The objects of one kind.
struct Table<V> {
    what: &'static str,
    rows: BTreeMap<Key, V>,
    /// Named by the list that goes on now.
    listed: Option<BTreeSet<Key>>,
    picture: Picture,
}

/// Whether all objects of a kind are known.
enum Picture {
    /// The first list is not complete.
    Incomplete,
    /// They are.
    Whole,
    /// They were.
    Stale(String),
}

impl<V: PartialEq> Table<V> {
    fn new(what: &'static str) -> Self {
        Self { what, rows: BTreeMap::new(), listed: None, picture: Picture::Incomplete }
    }

    fn get(&self, namespace: &str, id: &str) -> Option<&V> {
        self.rows.get(&Key::new(Some(namespace), Some(id)))
    }

    fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a V> {
        let from = Key::new(Some(namespace), None);
        self.rows.range(from..).take_while(move |(key, _)| key.namespace == namespace).map(|(_, row)| row)
    }

    /// Why not all objects are known, if they are not.
    fn missing(&self) -> Option<String> {
        match &self.picture {
            Picture::Incomplete => Some(format!("{}: the first list is not complete", self.what)),
            Picture::Whole => None,
            Picture::Stale(error) => Some(format!("{}: {error}", self.what)),
        }
    }

    /// Takes what a watch tells; `row` says where an object is kept and what is kept of it, if anything.
    fn take<O>(&mut self, watched: Watched<O>, row: impl Fn(&O) -> (Key, Option<V>), touched: &mut Touched) {
        match watched {
            Watched::Listing => self.listed = Some(BTreeSet::new()),
            Watched::Object(object) => match row(&object) {
                (key, Some(value)) => self.put(key, value, touched),
                (key, None) => self.remove(&key, touched),
            },
            Watched::Gone(object) => self.remove(&row(&object).0, touched),
            Watched::Complete => {
                let listed = self.listed.take().unwrap_or_default();
                let gone: Vec<Key> = self.rows.keys().filter(|key| !listed.contains(key)).cloned().collect();
                for key in gone {
                    self.remove(&key, touched);
                }
                self.set_picture(Picture::Whole, touched);
            }
            Watched::Absent => {
                self.rows.clear();
                self.set_picture(Picture::Whole, touched);
            }
            Watched::Down(error) => self.set_picture(Picture::Stale(error), touched),
        }
    }

    fn put(&mut self, key: Key, value: V, touched: &mut Touched) {
        if let Some(listed) = &mut self.listed {
            listed.insert(key.clone());
        }
        if self.rows.get(&key) != Some(&value) {
            touched.namespaces.insert(key.namespace.clone());
            self.rows.insert(key, value);
        }
    }

    fn remove(&mut self, key: &Key, touched: &mut Touched) {
        if self.rows.remove(key).is_some() {
            touched.namespaces.insert(key.namespace.clone());
        }
    }

    fn set_picture(&mut self, picture: Picture, touched: &mut Touched) {
        if !matches!((&self.picture, &picture), (Picture::Whole, Picture::Whole)) {
            touched.everywhere = true;
        }
        self.picture = picture;
    }
}
