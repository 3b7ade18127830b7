//! Where the parts of a query stand in its text: the parser keeps no places, but the order of its tree is that of the text.

use std::collections::HashMap;
use std::ops::Range;

use promql_parser::parser::{Expr, token};

/// The place in the text of calls, aggregations, windows, divisions and comparisons.
#[derive(Default)]
pub(super) struct Marks(HashMap<*const Expr, Range<usize>>);

impl Marks {
    /// Finds the places of a query's parts in its text, which may have placeholders in strings and windows.
    ///
    /// Where tree and text do not go together nothing is found, and the query as a whole has to do.
    pub(super) fn find(expr: &Expr, text: &str) -> Self {
        let mut tokens = Tokens::read(text).into_iter();
        let mut marks = Self::default();
        let complete = marks.walk(expr, &mut tokens).is_some() && tokens.next().is_none();
        if complete { marks } else { Self::default() }
    }

    /// The place of this part.
    pub(super) fn of(&self, expr: &Expr) -> Option<Range<usize>> {
        self.0.get(&std::ptr::from_ref(expr)).cloned()
    }

    fn walk(&mut self, expr: &Expr, tokens: &mut impl Iterator<Item = Token>) -> Option<()> {
        match expr {
            Expr::Aggregate(aggregate) => {
                self.take(expr, tokens, Kind::Aggregate)?;
                if let Some(param) = &aggregate.param {
                    self.walk(param, tokens)?;
                }
                self.walk(&aggregate.expr, tokens)
            }
            Expr::Call(call) => {
                self.take(expr, tokens, Kind::Call)?;
                call.args.args.iter().try_for_each(|arg| self.walk(arg, tokens))
            }
            Expr::Binary(binary) => {
                self.walk(&binary.lhs, tokens)?;
                if binary.op.id() == token::T_DIV || binary.op.is_comparison_operator() {
                    self.take(expr, tokens, Kind::Operator)?;
                }
                self.walk(&binary.rhs, tokens)
            }
            Expr::Unary(unary) => self.walk(&unary.expr, tokens),
            Expr::Paren(paren) => self.walk(&paren.expr, tokens),
            Expr::Subquery(subquery) => {
                self.walk(&subquery.expr, tokens)?;
                self.take(expr, tokens, Kind::Window)
            }
            Expr::MatrixSelector(_) => self.take(expr, tokens, Kind::Window),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::VectorSelector(_) => Some(()),
            Expr::Extension(_) => None,
        }
    }

    fn take(&mut self, expr: &Expr, tokens: &mut impl Iterator<Item = Token>, kind: Kind) -> Option<()> {
        let token = tokens.next().filter(|token| token.kind == kind)?;
        self.0.insert(std::ptr::from_ref(expr), token.at);
        Some(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Aggregate,
    Call,
    Operator,
    Window,
}

struct Token {
    kind: Kind,
    at: Range<usize>,
}

/// Words that aggregate.
const AGGREGATORS: [&str; 14] = [
    "sum",
    "avg",
    "count",
    "min",
    "max",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "count_values",
    "quantile",
    "limitk",
    "limit_ratio",
];
/// Words that an opening bracket may follow without being called, with a list of labels between the brackets.
const LABEL_LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Other words that an opening bracket may follow.
const KEYWORDS: [&str; 9] =
    ["and", "or", "unless", "atan2", "bool", "offset", "fill", "fill_left", "fill_right"];

/// Reads the text once, from the left.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    found: Vec<Token>,
}

impl<'a> Tokens<'a> {
    fn read(text: &'a str) -> Vec<Token> {
        let mut tokens = Self { text, at: 0, found: Vec::new() };
        let mut after_at = false;
        while let Some(c) = tokens.rest().chars().next() {
            let start = tokens.at;
            match c {
                '#' => tokens.skip_while(|c| c != '\n'),
                '"' | '\'' | '`' => tokens.skip_string(c),
                '{' => tokens.skip_to('}'),
                '[' => {
                    tokens.skip_to(']');
                    tokens.push(Kind::Window, start);
                }
                '/' | '=' | '!' | '<' | '>' => {
                    tokens.skip_while(|c| matches!(c, '/' | '=' | '!' | '<' | '>'));
                    tokens.push(Kind::Operator, start);
                }
                '0'..='9' | '.' => tokens.skip_while(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_')),
                c if c.is_ascii_alphabetic() || matches!(c, '_' | ':') => tokens.word(after_at),
                c => tokens.at += c.len_utf8(),
            }
            after_at = c == '@' || (after_at && c.is_whitespace());
        }
        tokens.found
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn push(&mut self, kind: Kind, start: usize) {
        self.found.push(Token { kind, at: start..self.at });
    }

    fn skip_while(&mut self, go_on: impl Fn(char) -> bool) {
        self.at += self.rest().find(|c| !go_on(c)).unwrap_or(self.rest().len());
    }

    fn skip_string(&mut self, quote: char) {
        self.at += quote.len_utf8();
        let mut escaped = false;
        while let Some(c) = self.rest().chars().next() {
            self.at += c.len_utf8();
            match c {
                _ if escaped => escaped = false,
                '\\' if quote != '`' => escaped = true,
                c if c == quote => return,
                _ => {}
            }
        }
    }

    /// To behind the closing bracket.
    fn skip_to(&mut self, close: char) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '"' | '\'' | '`' => self.skip_string(c),
                c => self.at += c.len_utf8(),
            }
            if c == close {
                return;
            }
        }
    }

    fn word(&mut self, after_at: bool) {
        let start = self.at;
        self.skip_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':'));
        let word = self.text.get(start..self.at).unwrap_or_default().to_ascii_lowercase();
        let next = self.next_word();
        let called = next.starts_with('(');
        if LABEL_LISTS.contains(&word.as_str()) {
            if called {
                self.skip_to(')');
            }
        } else if AGGREGATORS.contains(&word.as_str()) {
            let modifier = next.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
            if called || ["by", "without"].contains(&modifier.to_ascii_lowercase().as_str()) {
                self.push(Kind::Aggregate, start);
            }
        } else if called && !after_at && !KEYWORDS.contains(&word.as_str()) {
            self.push(Kind::Call, start);
        }
    }

    /// What follows, without blanks and comments.
    fn next_word(&self) -> &'a str {
        let mut rest = self.rest().trim_start();
        while let Some(comment) = rest.strip_prefix('#') {
            rest = comment.split_once('\n').map_or("", |(_, below)| below.trim_start());
        }
        rest
    }
}
