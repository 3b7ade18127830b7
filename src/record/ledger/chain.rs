//! From records to the files that hold them.

use std::collections::HashSet;

use super::{Head, LedgerError, Link, Record};

/// Bytes of a file's name on any file system.
const NAME_BYTES_MAX: usize = 255;

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewFile {
    /// Where, from the ledger's root.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) bytes: Vec<u8>,
    /// The head once it is there.
    pub(crate) head: Head,
}

/// Links records to a chain, in this order.
pub(crate) fn chain<'a>(
    mut head: Option<Head>,
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<Vec<NewFile>, LedgerError> {
    let mut files = Vec::new();
    for record in records {
        let unfit = |why: serde_json::Error| unfit(record, &why.to_string());
        let link = Link::after(head.as_ref(), record).map_err(unfit)?;
        let bytes = link.bytes().map_err(unfit)?;
        let new = Head::of(link.sequence, &bytes);
        files.push(NewFile { path: record.path(), bytes, head: new.clone() });
        head = Some(new);
    }
    Ok(files)
}

/// The records whose files are not there yet, each once.
pub(crate) fn missing<E: From<LedgerError>>(
    records: &[Record],
    mut is_there: impl FnMut(&Record) -> Result<bool, E>,
) -> Result<Vec<&Record>, E> {
    let (mut missing, mut seen) = (Vec::new(), HashSet::new());
    for record in records {
        check_id(record)?;
        if seen.insert(record.path()) && !is_there(record)? {
            missing.push(record);
        }
    }
    Ok(missing)
}

/// An id is a file's name: it must not lead anywhere else.
fn check_id(record: &Record) -> Result<(), LedgerError> {
    let id = &record.id;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if id.is_empty() || id.starts_with('.') || !id.bytes().all(is_plain) {
        return Err(unfit(
            record,
            "an id is made of letters, digits, `-`, `_` and `.`, and begins with no dot",
        ));
    }
    if id.len() + ".json".len() > NAME_BYTES_MAX {
        return Err(unfit(record, &format!("its id is longer than a file's name, {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn unfit(record: &Record, why: &str) -> LedgerError {
    LedgerError::Unfit { id: record.id.clone(), why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ledger::record::tests::record;

    #[test]
    fn each_file_carries_the_hash_of_the_one_before() {
        let (a, b) = (record("a"), record("b"));
        let files = chain(None, [&a, &b]).unwrap();
        let links: Vec<_> = files.iter().map(|file| Link::read(&file.bytes).unwrap()).collect();
        assert_eq!((links[0].sequence, links[1].sequence), (1, 2));
        assert_eq!(links[1].previous.as_ref(), Some(&files[0].head.hash));
        assert_eq!(links[1].head().unwrap(), files[1].head);
        assert_eq!(chain(Some(files[0].head.clone()), [&b]).unwrap(), files[1..]);
    }

    #[test]
    fn no_id_leads_out_of_the_ledger() {
        let check = |id: &str| missing(&[record(id)], |_| Ok::<_, LedgerError>(false)).map(|new| new.len());
        for id in ["a", "argocd-shop-1a2b.pushed_2", &"x".repeat(250)] {
            assert_eq!(check(id).unwrap(), 1, "{id}");
        }
        for id in ["", "..", ".hidden", "a/b", "../../etc/passwd", "a\0", "a b", "é", &"x".repeat(251)] {
            assert!(matches!(check(id), Err(LedgerError::Unfit { .. })), "{id}");
        }
    }

    #[test]
    fn what_is_told_twice_is_kept_once() {
        let records = [record("a"), record("b"), record("a")];
        let new = missing(&records, |record| Ok::<_, LedgerError>(record.id == "b")).unwrap();
        assert_eq!(new, [&records[0]]);
    }
}
