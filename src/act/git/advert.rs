//! A server's list of references on its way to libgit2: what nobody asks about is left out.
//!
//! libgit2 keeps every reference in memory, and its binding cannot bear a name that is not UTF-8. A forge can have a
//! million of them, one or two for each pull request ever made.

use std::io::{self, Read};

use super::error::{Class, Failure};

/// Bytes of a list that are read: four million references.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// References that are kept: those asked for by name are a few, but many may stand at the same commit.
const KEPT_MAX: usize = 1000;
/// Hexadecimal digits of an object's name; SHA-256 repositories are not handled at all.
const ID_CHARS: usize = 40;
/// Digits before each line of the protocol.
const LENGTH_CHARS: usize = 4;

/// Which references a call asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// By their full names. `HEAD`, and what it points to if it is asked for, are kept anyway.
    pub(crate) names: Vec<String>,
    /// By how their full names begin.
    pub(crate) prefixes: Vec<String>,
    /// By what they stand at.
    pub(crate) ids: Vec<String>,
}

impl Wanted {
    /// What a branch, a tag or `HEAD` may be called.
    pub(crate) fn target(name: &str) -> Self {
        let name = if name.is_empty() { "HEAD" } else { name };
        let name = name.strip_prefix("refs/heads/").unwrap_or(name);
        let tag = name.strip_prefix("refs/tags/").unwrap_or(name);
        Self { names: vec![format!("refs/heads/{name}"), format!("refs/tags/{tag}")], ..Self::default() }
    }
}

/// Passes a connection's bytes on, without the references that nobody wants; after the list everything.
#[derive(Debug)]
pub(crate) struct Filter {
    wanted: Wanted,
    /// Bytes of a line that is not complete yet.
    pending: Vec<u8>,
    state: State,
    /// References so far.
    seen: usize,
    kept: usize,
    taken: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first line: HTTP begins with a line and a flush of its own.
    Begin,
    /// After the line `# service=…`.
    Service,
    /// In the list.
    List,
    /// After it.
    Done,
}

impl Filter {
    pub(crate) fn new(wanted: Wanted) -> Self {
        Self { wanted, pending: Vec::new(), state: State::Begin, seen: 0, kept: 0, taken: 0 }
    }

    /// Whether the list was read to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes what came, and adds to `out` what goes on.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        if self.is_done() {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        self.taken += bytes.len() as u64;
        if self.taken > LIST_BYTES_MAX {
            let why = format!("the server's list of references is longer than {LIST_BYTES_MAX} bytes");
            return Err(Failure::new(Class::Other, why));
        }
        let mut buffer = std::mem::take(&mut self.pending);
        buffer.extend_from_slice(bytes);
        let mut rest = buffer.as_slice();
        while !self.is_done() {
            let Some(length) = line_length(rest)? else { break };
            let Some((line, after)) = rest.split_at_checked(length) else { break };
            self.line(line, out);
            rest = after;
        }
        if self.is_done() {
            out.extend_from_slice(rest);
        } else {
            self.pending = rest.to_vec();
        }
        Ok(())
    }

    /// Takes one complete line, with its length before it.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let text = line.get(LENGTH_CHARS..).unwrap_or_default();
        self.state = match (self.state, text.is_empty()) {
            (State::Begin, false) if text.starts_with(b"# service=") => State::Service,
            (State::Service, true) => State::List,
            (State::Service, false) => State::Service,
            (State::Begin | State::List, true) | (State::Done, _) => State::Done,
            (State::Begin | State::List, false) => State::List,
        };
        if text.is_empty() || self.state == State::Service || self.keeps(text) {
            out.extend_from_slice(line);
        }
    }

    /// Whether a line of the list is passed on.
    fn keeps(&mut self, text: &[u8]) -> bool {
        // What is not a reference is a message, which libgit2 understands.
        let Some((id, name)) = reference(text) else { return true };
        self.seen += 1;
        if self.seen == 1 {
            // The first one carries what the server can do, and where `HEAD` points to.
            if self.wanted.names.iter().any(|wanted| wanted == "refs/heads/HEAD") {
                let told = symref(text).map(str::to_owned);
                let guessed = (told.is_none() && name == b"HEAD").then(|| id.to_owned());
                self.wanted.names.extend(told);
                self.wanted.ids.extend(guessed);
            }
            return true;
        }
        // A second list of capabilities is a trick.
        let Some(name) = std::str::from_utf8(name).ok().filter(|_| !text.contains(&0)) else { return false };
        let plain = name.strip_suffix("^{}").unwrap_or(name);
        let wanted = name == "HEAD"
            || self.wanted.names.iter().any(|wanted| wanted == plain)
            || self.wanted.prefixes.iter().any(|wanted| name.starts_with(wanted))
            || (self.wanted.ids.iter().any(|wanted| wanted == id) && name.starts_with("refs/heads/"));
        self.kept += usize::from(wanted);
        wanted && self.kept <= KEPT_MAX
    }
}

/// The length of the line that begins here; none when its beginning is not complete.
fn line_length(bytes: &[u8]) -> Result<Option<usize>, Failure> {
    let Some(digits) = bytes.get(..LENGTH_CHARS) else { return Ok(None) };
    let length = std::str::from_utf8(digits).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    match length {
        Some(0) => Ok(Some(LENGTH_CHARS)),
        Some(length) if length > LENGTH_CHARS => Ok(Some(length)),
        _ => Err(Failure::new(
            Class::Other,
            "the server's list of references is not in Git's protocol; is this a repository?",
        )),
    }
}

/// The object and the name in a line of the list.
pub(crate) fn reference(text: &[u8]) -> Option<(&str, &[u8])> {
    let (id, rest) = text.split_at_checked(ID_CHARS)?;
    let id = std::str::from_utf8(id).ok().filter(|id| id.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let rest = rest.strip_prefix(b" ")?;
    let end = rest.iter().position(|b| matches!(b, 0 | b'\n')).unwrap_or(rest.len());
    Some((id, rest.get(..end)?))
}

/// Where `HEAD` points to, by the capabilities after the first name.
fn symref(text: &[u8]) -> Option<&str> {
    let nul = text.iter().position(|b| *b == 0)?;
    let capabilities = std::str::from_utf8(text.get(nul + 1..)?).ok()?;
    capabilities.split_whitespace().find_map(|one| one.strip_prefix("symref=HEAD:"))
}

/// A connection whose list of references is filtered as it is read.
pub(crate) struct Filtered<R> {
    inner: R,
    filter: Filter,
    ready: io::Cursor<Vec<u8>>,
    fail: Box<dyn Fn(Failure) -> io::Error + Send>,
}

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 32 * 1024;

impl<R: Read> Filtered<R> {
    pub(crate) fn new(
        inner: R,
        wanted: Wanted,
        fail: impl Fn(Failure) -> io::Error + Send + 'static,
    ) -> Self {
        Self { inner, filter: Filter::new(wanted), ready: io::Cursor::default(), fail: Box::new(fail) }
    }

    /// Reads to the end of the list; gives the references that were kept, each with what it stands at.
    pub(crate) fn list(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut text = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        while !self.filter.is_done() {
            let read = self.inner.read(&mut chunk)?;
            if read == 0 {
                let why = "the server's list of references ends early";
                return Err((self.fail)(Failure::new(Class::Unreachable, why)));
            }
            let bytes = chunk.get(..read).unwrap_or_default();
            self.filter.feed(bytes, &mut text).map_err(&self.fail)?;
        }
        let mut kept = Vec::new();
        let mut rest = text.as_slice();
        while let Ok(Some(length)) = line_length(rest) {
            let Some((line, after)) = rest.split_at_checked(length) else { break };
            let found = line.get(LENGTH_CHARS..).and_then(reference);
            kept.extend(found.map(|(id, name)| (String::from_utf8_lossy(name).into_owned(), id.to_owned())));
            rest = after;
        }
        Ok(kept)
    }
}

impl<R: Read> Read for Filtered<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.ready.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            if self.filter.is_done() {
                return self.inner.read(buf);
            }
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = self.inner.read(&mut chunk)?;
            if read == 0 {
                return Ok(0);
            }
            let mut out = Vec::new();
            self.filter.feed(chunk.get(..read).unwrap_or_default(), &mut out).map_err(&self.fail)?;
            self.ready = io::Cursor::new(out);
        }
    }
}

impl<R: io::Write> io::Write for Filtered<R> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<u8> {
        format!("{:04x}{text}", text.len() + LENGTH_CHARS).into_bytes()
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(ID_CHARS)
    }

    fn list(first: &str, names: &[(char, &str)]) -> Vec<u8> {
        let mut bytes = line("# service=git-upload-pack\n");
        bytes.extend(b"0000");
        bytes.extend(line(&format!("{} {first}\n", id('1'))));
        for (digit, name) in names {
            bytes.extend(line(&format!("{} {name}\n", id(*digit))));
        }
        bytes.extend(b"0000");
        bytes
    }

    /// The names that are passed on, whatever pieces the bytes come in.
    fn passed(bytes: &[u8], wanted: &Wanted) -> Vec<String> {
        let mut results = Vec::new();
        for piece in [1, 7, bytes.len()] {
            let (mut filter, mut out) = (Filter::new(wanted.clone()), Vec::new());
            for chunk in bytes.chunks(piece) {
                filter.feed(chunk, &mut out).unwrap();
            }
            assert!(filter.is_done());
            results.push(out);
        }
        assert!(results.windows(2).all(|two| two[0] == two[1]));
        let mut again = Filtered::new(results[0].as_slice(), wanted.clone(), |f| io::Error::other(f.message));
        again.list().unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn only_what_is_asked_for_is_passed_on() {
        let bytes = list(
            "HEAD\0side-band-64k symref=HEAD:refs/heads/main agent=x",
            &[
                ('1', "refs/heads/main"),
                ('2', "refs/heads/other"),
                ('3', "refs/pull/1/head"),
                ('4', "refs/tags/other"),
                ('5', "refs/tags/other^{}"),
            ],
        );
        for (target, expected) in [
            ("main", vec!["HEAD", "refs/heads/main"]),
            ("HEAD", vec!["HEAD", "refs/heads/main"]),
            ("other", vec!["HEAD", "refs/heads/other", "refs/tags/other", "refs/tags/other^{}"]),
            ("refs/tags/other", vec!["HEAD", "refs/tags/other", "refs/tags/other^{}"]),
            ("nowhere", vec!["HEAD"]),
        ] {
            assert_eq!(passed(&bytes, &Wanted::target(target)), expected, "{target}");
        }
    }

    #[test]
    fn a_server_that_does_not_say_where_head_points_is_guessed_at() {
        let bytes = list("HEAD\0side-band-64k", &[('1', "refs/heads/main"), ('2', "refs/heads/other")]);
        assert_eq!(passed(&bytes, &Wanted::target("HEAD")), ["HEAD", "refs/heads/main"]);
    }

    #[test]
    fn branches_at_a_wanted_commit_are_passed_on() {
        let bytes = list("refs/heads/a\0report-status", &[('2', "refs/heads/b"), ('2', "refs/pull/1/head")]);
        let wanted = Wanted { ids: vec![id('2')], ..Wanted::default() };
        assert_eq!(passed(&bytes, &wanted), ["refs/heads/a", "refs/heads/b"]);
    }

    #[test]
    fn what_follows_the_list_is_not_touched() {
        let (mut filter, mut out) = (Filter::new(Wanted::default()), Vec::new());
        let mut bytes = line(&format!("{} refs/heads/a\0x\n", id('1')));
        bytes.extend(b"0000PACK\xff\0 anything");
        filter.feed(&bytes, &mut out).unwrap();
        filter.feed(b"\xfe more", &mut out).unwrap();
        assert!(out.ends_with(b"0000PACK\xff\0 anything\xfe more"));
    }

    #[test]
    fn rubbish_and_lists_without_an_end_are_refused() {
        for rubbish in ["rubbish", "0001", "0003", "fffg", "\u{e9}\u{e9}"] {
            assert!(
                Filter::new(Wanted::default()).feed(rubbish.as_bytes(), &mut Vec::new()).is_err(),
                "{rubbish}"
            );
        }
        let mut filter = Filter::new(Wanted::default());
        let chunk = line(&format!("{} refs/heads/a{}\n", id('1'), "a".repeat(60_000))).repeat(20);
        let mut out = Vec::new();
        let ended = (0..1000).find_map(|_| filter.feed(&chunk, &mut out).err()).unwrap();
        assert!(ended.message.contains("longer than"), "{}", ended.message);
        assert!(out.len() < 100_000, "{}", out.len());
    }
}
