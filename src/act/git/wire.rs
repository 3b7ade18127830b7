//! The part of a push that libgit2 would do: what is sent, and what the server says to it.
//!
//! Before it sends one commit, libgit2 reads every folder of the tree that the commit stands on. Here only the folders
//! that differ are read, so that a push into a large repository costs what one into a small repository does.

use std::io::{self, Read, Write};

use git2::{Buf, Oid, Repository};

use super::declined::HEARD_BYTES_MAX;
use super::tree::{self, Entry};

/// What is asked of the server: an answer, and its words beside it.
const CAPABILITIES: &str =
    concat!("report-status side-band-64k agent=git/lastgood-", env!("CARGO_PKG_VERSION"));
/// Digits before each line of the protocol.
const LENGTH_CHARS: usize = 4;
/// Bytes of an answer that are read: one line, and what hooks write.
const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a server made of a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The reference is where it was asked to be.
    Done,
    /// It is where it was.
    Declined {
        /// The protocol's reason.
        why: String,
        /// What the server wrote for people.
        words: String,
    },
    /// It said nothing of it.
    Silence(String),
}

/// The objects of a commit that the commits before it do not have.
pub(crate) fn pack(repo: &Repository, new: Oid) -> Result<Buf, git2::Error> {
    let commit = repo.find_commit(new)?;
    let before = commit.parents().next().map(|parent| parent.tree_id());
    let mut pack = repo.packbuilder()?;
    // A few objects: the time of threads would go into starting them.
    pack.set_threads(1);
    pack.insert_object(new, None)?;
    let mut open = vec![(before.map(Entry::folder), Entry::folder(commit.tree_id()))];
    while let Some((old, new)) = open.pop() {
        // A submodule's commit is in another repository.
        if old.is_some_and(|old| old.oid == new.oid) || new.is_submodule() {
            continue;
        }
        pack.insert_object(new.oid, None)?;
        if new.is_folder() {
            let old = tree::Folder::read(repo, old.filter(|old| old.is_folder()).map(|old| old.oid))?;
            let new = tree::Folder::read(repo, Some(new.oid))?;
            let children = tree::names(&[&new]).into_iter();
            open.extend(children.filter_map(|name| Some((old.child(&name), new.child(&name)?))));
        }
    }
    let mut bytes = Buf::new();
    pack.write_buf(&mut bytes)?;
    Ok(bytes)
}

/// Asks for a reference to be moved, sends the objects, and hears the answer.
pub(crate) fn send(
    stream: &mut (impl Read + Write),
    reference: &str,
    [old, new]: [Oid; 2],
    pack: &[u8],
) -> io::Result<Answer> {
    let command = format!("{old} {new} {reference}\0 {CAPABILITIES}");
    write!(stream, "{:04x}{command}0000", command.len() + LENGTH_CHARS)?;
    stream.write_all(pack)?;
    stream.flush()?;
    hear(stream, reference)
}

/// Reads the answer to its end.
fn hear(stream: &mut impl Read, reference: &str) -> io::Result<Answer> {
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let (mut report, mut words, mut fatal) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(line) = line(&mut stream)? {
        let Some((band, data)) = line.split_first() else { break };
        let (heard, most) = match band {
            1 => (&mut report, usize::MAX),
            2 => (&mut words, HEARD_BYTES_MAX),
            3 => (&mut fatal, HEARD_BYTES_MAX),
            // A server that keeps no bands apart reports at once.
            _ => {
                report.extend(format!("{:04x}", line.len() + LENGTH_CHARS).into_bytes());
                report.extend(&line);
                continue;
            }
        };
        let room = most.saturating_sub(heard.len());
        heard.extend(data.iter().take(room));
    }
    let words = String::from_utf8_lossy(&words).into_owned();
    let mut report = report.as_slice();
    let (mut unpacked, mut status) = (None, None);
    while let Some(line) = line(&mut report)?.filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        match line.split_once(' ') {
            Some(("unpack", result)) => unpacked = Some(result.to_owned()),
            Some(("ok", name)) if name == reference => status = Some(None),
            Some(("ng", rest)) => match rest.split_once(' ') {
                Some((name, why)) if name == reference => status = Some(Some(why.to_owned())),
                _ => {}
            },
            _ => {}
        }
    }
    Ok(match (status, unpacked) {
        (Some(None), _) => Answer::Done,
        (Some(Some(why)), _) => Answer::Declined { why, words },
        (None, Some(why)) if why != "ok" => Answer::Declined { why, words },
        (None, _) => Answer::Silence(String::from_utf8_lossy(&fatal).trim().to_owned()),
    })
}

/// The next line without its length, empty for the one that ends a list; none at the end of the stream.
fn line(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut digits = [0; LENGTH_CHARS];
    if stream.read(digits.get_mut(..1).unwrap_or_default())? == 0 {
        return Ok(None);
    }
    stream.read_exact(digits.get_mut(1..).unwrap_or_default())?;
    let length = std::str::from_utf8(&digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let length = match length {
        Some(0) => 0,
        Some(length) if length >= LENGTH_CHARS => length - LENGTH_CHARS,
        _ => return Err(io::Error::other("the server's answer to the push is not in Git's protocol")),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "refs/heads/main";

    fn pkt(text: impl AsRef<[u8]>) -> Vec<u8> {
        let text = text.as_ref();
        [format!("{:04x}", text.len() + LENGTH_CHARS).as_bytes(), text].concat()
    }

    fn band(number: u8, data: impl AsRef<[u8]>) -> Vec<u8> {
        pkt([&[number], data.as_ref()].concat())
    }

    fn heard(parts: &[Vec<u8>]) -> Answer {
        hear(&mut parts.concat().as_slice(), NAME).unwrap()
    }

    #[test]
    fn an_answer_is_read_with_and_without_bands() {
        let end = || b"0000".to_vec();
        let done = [pkt("unpack ok\n"), pkt("ok refs/heads/main\n"), end()].concat();
        assert_eq!(heard(&[band(2, "Resolving\n"), band(1, &done), end()]), Answer::Done);
        // A report may be cut anywhere.
        let (first, second) = done.split_at(7);
        assert_eq!(heard(&[band(1, first), band(2, "x"), band(1, second), end()]), Answer::Done);
        assert_eq!(heard(&[done]), Answer::Done);
        let refused = [pkt("unpack ok"), pkt("ng refs/heads/main hook declined"), end()].concat();
        let (why, words) = ("hook declined".to_owned(), "remote says: no\n".to_owned());
        let answer = heard(&[band(2, &words), band(1, &refused), end()]);
        assert_eq!(answer, Answer::Declined { why, words });
    }

    #[test]
    fn what_is_not_said_is_not_taken_for_done() {
        assert_eq!(heard(&[]), Answer::Silence(String::new()));
        assert_eq!(heard(&[b"0000".to_vec()]), Answer::Silence(String::new()));
        let other = [pkt("unpack ok\n"), pkt("ok refs/heads/other\n"), b"0000".to_vec()].concat();
        assert_eq!(heard(&[band(1, &other)]), Answer::Silence(String::new()));
        assert_eq!(heard(&[band(3, "out of memory\n")]), Answer::Silence("out of memory".to_owned()));
        let broken = [pkt("unpack disk full\n"), b"0000".to_vec()].concat();
        assert!(matches!(heard(&[band(1, &broken)]), Answer::Declined { why, .. } if why == "disk full"));
        for rubbish in [&b"<html>"[..], b"0003", b"00ff\x01cut", b"00"] {
            hear(&mut &rubbish[..], NAME).unwrap_err();
        }
    }
}
