//! The few pieces of HTML that the page is made of. Whatever text goes in is escaped here.

/// Plain, for a screen or a printer; a reader who prefers dark gets that.
const STYLE: &str = "\
:root{color-scheme:light dark}
body{font:14px/1.45 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1rem;font-size:13px}
th,td{border:1px solid #8884;padding:.3rem .5rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{background:#8881}
code,pre{font:12px ui-monospace,monospace}pre{white-space:pre-wrap;border:1px solid #8884;padding:.5rem}
code{overflow-wrap:anywhere}img{width:100%;max-width:900px}
section{border-top:2px solid #8886;margin-top:2rem}
@media print{body{margin:0;max-width:none;font-size:11px}table{font-size:10px}
tr,img,pre{break-inside:avoid}thead{display:table-header-group}section{break-before:page}}
";

/// A cell of a table.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Words.
    Text(String),
    /// An id, a hash, a query.
    Code(String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn code(text: impl Into<String>) -> Self {
        Self::Code(text.into())
    }

    fn html(&self) -> String {
        match self {
            Self::Text(text) => escape(text),
            Self::Code(text) if text.is_empty() => String::new(),
            Self::Code(text) => format!("<code>{}</code>", escape(text)),
        }
    }
}

/// A whole page; `body` is HTML.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
        escape(title)
    )
}

/// A section with a heading; `body` is HTML.
pub(super) fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h3>{}</h3>\n{body}</section>\n", escape(title))
}

/// A table.
pub(super) fn table(columns: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut out = String::from("<table>\n<thead><tr>");
    for column in columns {
        out.extend(["<th>", &escape(column), "</th>"]);
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for cell in row {
            out.extend(["<td>", &cell.html(), "</td>"]);
        }
        out += "</tr>\n";
    }
    out += "</tbody>\n</table>\n";
    out
}

/// A picture in the page itself, which its own style cannot leave.
pub(super) fn picture(svg: &str, alt: &str) -> String {
    let mut url = String::from("data:image/svg+xml,");
    for byte in svg.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            url.push(byte.into());
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    format!("<img alt=\"{}\" src=\"{url}\">\n", escape(alt))
}

/// Text for HTML, in an element or an attribute in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
