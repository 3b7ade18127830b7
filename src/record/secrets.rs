//! Takes what could be a secret out of a text that is kept or sent away.
//!
//! Nothing that holds a secret is meant to come here: those who read one keep it to themselves. But people write passwords
//! into URLs, and servers repeat what they were sent.

/// What stands in the place of a secret.
pub const HIDDEN: &str = "***";

/// What the tokens of forges and clouds begin with.
const TOKENS: [&str; 12] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "gldt-",
    "glrt-",
    "xoxb-",
    "xoxp-",
    "hvs.",
];

/// What the names of parameters that hold a secret hold.
const SECRET_NAMES: [&str; 9] =
    ["token", "secret", "passw", "apikey", "api_key", "api-key", "signature", "credential", "auth"];

/// Members of an object whose text is a secret, in small letters and without `-` and `_`.
const SECRET_MEMBERS: [&str; 11] = [
    "password",
    "passwd",
    "token",
    "accesstoken",
    "bearertoken",
    "authorization",
    "proxyauthorization",
    "apikey",
    "clientsecret",
    "privatekey",
    "cookie",
];

/// Schemes of an `Authorization` header.
const SCHEMES: [&str; 2] = ["bearer ", "basic "];

const KEY_BEGINS: &str = "-----BEGIN ";

/// The text without passwords in URLs, tokens of known forms, `Authorization` values and private keys.
pub fn hidden(text: &str) -> String {
    let text = keys(text);
    let text = urls(&text);
    let text = schemes(&text);
    tokens(&text)
}

/// The same in each text of a JSON value, and the whole of what is called a password or a token.
pub fn hide(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => *text = hidden(text),
        serde_json::Value::Array(values) => values.iter_mut().for_each(hide),
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                match member {
                    serde_json::Value::String(text) if !text.is_empty() && is_secret_member(name) => {
                        HIDDEN.clone_into(text);
                    }
                    member => hide(member),
                }
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// A policy's text without the values of these headers; nothing if one cannot be told from the rest.
pub fn without_headers<'a>(
    text: &str,
    headers: impl Iterator<Item = (&'a String, &'a String)>,
) -> Option<String> {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for (name, value) in headers {
        let mut found = false;
        for line in lines.iter_mut().filter(|line| line.contains(name.as_str())) {
            if line.contains(value.as_str()) {
                *line = line.replace(value.as_str(), HIDDEN);
                found = true;
            }
        }
        if !found {
            return None;
        }
    }
    Some(lines.join("\n"))
}

/// Whether a member of an object is called so that its text must be a secret. `secret` is the name of one, in a policy.
fn is_secret_member(name: &str) -> bool {
    let plain = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase());
    SECRET_MEMBERS.contains(&plain.collect::<String>().as_str())
}

fn keys(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, key)) = rest.split_once(KEY_BEGINS) {
        let Some((label, after)) =
            key.split_once("-----").filter(|(label, _)| label.ends_with("PRIVATE KEY"))
        else {
            out.push_str(before);
            out.push_str(KEY_BEGINS);
            rest = key;
            continue;
        };
        out.push_str(before);
        out.push_str(HIDDEN);
        // One that is cut off hides the rest.
        let end = format!("-----END {label}-----");
        rest = after.split_once(end.as_str()).map_or("", |(_, after)| after);
    }
    out.push_str(rest);
    out
}

fn urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        out.push_str(before);
        out.push_str("://");
        let http = before.ends_with("http") || before.ends_with("https");
        let end = after.find(|c: char| c.is_whitespace() || "\"'`<>|\\".contains(c)).unwrap_or(after.len());
        let (url, left) = after.split_at(end);
        out.push_str(&url_parts(url, http));
        rest = left;
    }
    out.push_str(rest);
    out
}

fn url_parts(url: &str, http: bool) -> String {
    let end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let (authority, path) = url.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((userinfo, host)) => match userinfo.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}@{host}"),
            // A token may stand where the user's name is.
            None if http => format!("{HIDDEN}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let Some((path, query)) = path.split_once('?') else { return authority + path };
    let parameter = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    };
    let query: Vec<_> = query.split('&').map(parameter).collect();
    format!("{authority}{path}?{}", query.join("&"))
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "key" || name == "sig" || SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// `Authorization` values: a scheme and a word of some length.
fn schemes(text: &str) -> String {
    // Same length and boundaries: only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    loop {
        let next =
            |scheme: &str| lower.get(at..).and_then(|rest| rest.find(scheme)).map(|i| at + i + scheme.len());
        let Some(begins) = SCHEMES.iter().filter_map(|scheme| next(scheme)).min() else { break };
        out.push_str(text.get(at..begins).unwrap_or_default());
        let word = text.get(begins..).unwrap_or_default();
        let length =
            word.find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/=".contains(c))).unwrap_or(word.len());
        let word = word.get(..length).unwrap_or_default();
        // A word of prose is shorter, or has no digit.
        let secret = length >= 8 && word.bytes().any(|b| b.is_ascii_digit() || b == b'=');
        out.push_str(if secret { HIDDEN } else { word });
        at = begins + length;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn tokens(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begins) = rest.find(is_part) {
        let (before, word) = rest.split_at(begins);
        let (word, after) = word.split_at(word.find(|c| !is_part(c)).unwrap_or(word.len()));
        out.push_str(before);
        out.push_str(if is_token(word) { HIDDEN } else { word });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn is_token(word: &str) -> bool {
    let known = TOKENS.iter().any(|begins| word.strip_prefix(begins).is_some_and(|rest| rest.len() >= 8));
    // A JSON Web Token: what it begins with is `{"` in its encoding.
    let jwt = word.starts_with("eyJ") && word.matches('.').count() == 2 && word.len() >= 40;
    known || jwt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_hidden_and_the_rest_stays() {
        for (text, expected) in [
            ("https://ann:s3cret@git.example.com/shop.git", "https://ann:***@git.example.com/shop.git"),
            (
                "cannot fetch `https://t0ken@git.example.com/a`: no",
                "cannot fetch `https://***@git.example.com/a`: no",
            ),
            ("ssh://git@git.example.com/a.git", "ssh://git@git.example.com/a.git"),
            ("git@git.example.com:a.git", "git@git.example.com:a.git"),
            ("https://a:p@ss@h/x https://b:q@i", "https://a:***@h/x https://b:***@i"),
            ("http://prom/api?access_token=abc&step=15", "http://prom/api?access_token=***&step=15"),
            ("http://prom/x?X-Amz-Signature=abc#f", "http://prom/x?X-Amz-Signature=***"),
            ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer ***"),
            ("basic dXNlcjpwYXNzd29yZA==, no", "basic ***, no"),
            ("a basic requirement, bearer of news", "a basic requirement, bearer of news"),
            ("é bearer abcdef0123456789 é", "é bearer *** é"),
            ("token ghp_abcdefgh12345678 was refused", "token *** was refused"),
            ("glpat-abcdefgh-12345", "***"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkw.abcdefgh", "***"),
            ("x\n-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----\ny", "x\n***\ny"),
            ("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"),
            ("-----BEGIN PRIVATE KEY-----\ncut off", "***"),
            (
                r#"sum(rate(x{app="shop",token="a"}[5m])) / 2"#,
                r#"sum(rate(x{app="shop",token="a"}[5m])) / 2"#,
            ),
            ("", ""),
        ] {
            assert_eq!(hidden(text), expected, "{text}");
            assert_eq!(hidden(expected), expected, "hidden twice");
        }
    }

    #[test]
    fn a_member_that_is_called_a_secret_holds_none_afterwards() {
        let mut value =
            serde_json::json!({ "a": [{ "API-Key": "x", "token": "", "n": 1 }], "secret": "name" });
        hide(&mut value);
        let expected =
            serde_json::json!({ "a": [{ "API-Key": "***", "token": "", "n": 1 }], "secret": "name" });
        assert_eq!(value, expected);
    }

    #[test]
    fn the_values_of_headers_are_hidden_in_a_policy() {
        let headers =
            |value: &str| std::collections::BTreeMap::from([("X-Key".to_owned(), value.to_owned())]);
        let text = "max: 1\nheaders: { X-Key: \"1\", Other: 2 }\n";
        let hidden = without_headers(text, headers("1").iter());
        assert_eq!(hidden.as_deref(), Some("max: 1\nheaders: { X-Key: \"***\", Other: 2 }\n"));
        // Written in another way than it is read.
        assert_eq!(without_headers("headers:\n  X-Key: \"\\x61bc\"", headers("abc").iter()), None);
        assert_eq!(without_headers("headers:\n  X-Key:\n    abc\n", headers("abc").iter()), None);
    }
}
