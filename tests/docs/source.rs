//! Reads the doc comments of types out of the source: the reference says what the code says.

/// A struct or an enum.
#[derive(Debug, Default)]
pub(crate) struct Item {
    pub(crate) name: String,
    /// Its paragraphs, joined.
    pub(crate) doc: String,
    pub(crate) members: Vec<Member>,
}

/// A field or a variant.
#[derive(Debug, Default)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// A field's type; empty for a variant.
    pub(crate) type_: String,
    pub(crate) doc: String,
    /// The text of `#[error("…")]`, with `…` for each value.
    pub(crate) error: String,
}

/// The public items of a file, formatted by rustfmt, in their order.
pub(crate) fn items(text: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let (mut doc, mut attribute) = (Vec::new(), String::new());
    let mut open = false;
    for line in text.lines() {
        let (indent, code) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(words) = code.strip_prefix("///") {
            if indent <= 4 {
                doc.push(words.trim().to_owned());
            }
            continue;
        }
        if code.starts_with("#[") || (!attribute.is_empty() && !attribute.ends_with(']')) {
            if indent <= 8 {
                attribute.push_str(code);
            }
            continue;
        }
        let declared = ["pub struct ", "pub enum "].iter().find_map(|word| code.strip_prefix(word));
        if let (0, Some(rest)) = (indent, declared) {
            let name = rest.split([' ', '{', ';', '(']).next().unwrap().to_owned();
            items.push(Item { name, doc: paragraphs(&doc), members: Vec::new() });
            open = code.ends_with('{');
        } else if line == "}" {
            open = false;
        } else if open && indent == 4 && !code.starts_with(['}', '/']) {
            items.last_mut().unwrap().members.push(member(code, &doc, &attribute));
        }
        doc.clear();
        attribute.clear();
    }
    items
}

/// The item of this name.
pub(crate) fn item(text: &str, name: &str) -> Item {
    items(text).into_iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no `{name}`"))
}

fn member(code: &str, doc: &[String], attribute: &str) -> Member {
    let code = code.trim_start_matches("pub ").trim_end_matches([',', '{', ' ']);
    let (name, type_) = code.split_once(": ").unwrap_or((code, ""));
    let name = name.split('(').next().unwrap();
    let error = attribute.split_once("#[error(\"").or_else(|| attribute.split_once("#[error("));
    let error = error.map(|(_, rest)| blanks(rest.split('"').find(|part| part.len() > 1).unwrap_or(rest)));
    Member {
        name: name.to_owned(),
        type_: type_.to_owned(),
        doc: paragraphs(doc),
        error: error.unwrap_or_default(),
    }
}

/// `{name}` and the like become `…`.
fn blanks(format: &str) -> String {
    let mut text = String::new();
    let mut depth = 0;
    for c in format.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                text.push('…');
            }
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}

fn paragraphs(doc: &[String]) -> String {
    doc.iter().filter(|line| !line.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn reads_fields_variants_and_errors() {
    let text = "\
/// A thing.
///
/// More.
#[derive(Debug)]
pub struct Thing {
    /// Its size;
    /// in metres.
    #[serde(default)]
    pub size: Option<u32>,
}

/// A way.
pub enum Way {
    /// Up.
    #[error(
        \"went up {} of {n}\", n = 3
    )]
    Up {
        /// How far.
        far: u32,
    },
    /// Down.
    #[error(\"down\")]
    Down(u32),
}

impl Way {
    /// Not a variant.
    pub fn other(&self) {}
}
";
    let thing = item(text, "Thing");
    assert_eq!((thing.doc.as_str(), thing.members.len()), ("A thing. More.", 1));
    let size = &thing.members[0];
    assert_eq!((size.name.as_str(), size.type_.as_str()), ("size", "Option<u32>"));
    assert_eq!(size.doc, "Its size; in metres.");
    let ways: Vec<_> = item(text, "Way").members.into_iter().map(|m| (m.name, m.error, m.doc)).collect();
    let expected = [("Up", "went up … of …", "Up."), ("Down", "down", "Down.")];
    let expected: Vec<_> = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())).into();
    assert_eq!(ways, expected);
}
