//! The chain of each cluster in a ledger.

use std::collections::BTreeMap;

use anyhow::bail;
use jiff::Timestamp;

use super::source::Source;
use crate::audit::chain::{self, Chain};
use crate::audit::{Finding, Leaf};
use crate::record::ledger::Head;

/// The files of one cluster's ledger.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) name: String,
    leaves: Vec<Leaf>,
    /// What is wrong with files by themselves.
    findings: Vec<Finding>,
}

impl Cluster {
    /// Checks that they are one chain; gives its records in order.
    pub(super) fn check(mut self, since: Option<Timestamp>, remembered: &[Head]) -> (Chain, Vec<Leaf>) {
        let mut chain = chain::check(&self.name, &mut self.leaves, since, remembered);
        self.findings.append(&mut chain.findings);
        (Chain { findings: self.findings, ..chain }, self.leaves)
    }
}

/// Reads all files. A folder is the ledger of one cluster: the one that is named, else that of its first record.
pub(super) fn read(source: &Source, cluster: Option<&str>) -> anyhow::Result<Vec<Cluster>> {
    let read = source.each(|_| true, |file, bytes| (file.branch, Leaf::read(&file.path, bytes)))?;
    let mut clusters: BTreeMap<String, Cluster> = BTreeMap::new();
    for branch in &source.branches {
        clusters.entry(branch.cluster.clone()).or_default();
    }
    let leaves = read.iter().filter_map(|(_, (leaf, _))| leaf.as_ref());
    let of_folder = match (cluster, leaves.min_by_key(|leaf| leaf.sequence)) {
        _ if !source.branches.is_empty() => String::new(),
        (Some(cluster), _) => cluster.to_owned(),
        (None, Some(first)) => first.cluster.clone(),
        (None, None) => bail!("{} holds no record that can be read", source.place()),
    };
    for (branch, (leaf, mut found)) in read {
        let name = source.branches.get(branch).map_or(&of_folder, |branch| &branch.cluster);
        let cluster = clusters.entry(name.clone()).or_default();
        cluster.leaves.extend(leaf);
        cluster.findings.append(&mut found);
    }
    Ok(clusters.into_iter().map(|(name, cluster)| Cluster { name, ..cluster }).collect())
}
