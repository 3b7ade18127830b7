//! What the engine did, told with the scenario's own names and times.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use lastgood::engine::action::{Action, Delivery, SloQuery, When};
use lastgood::engine::analysis::AppState;
use lastgood::engine::entry::Entry;
use lastgood::engine::facts::{Revision, Revisions};
use lastgood::engine::policy::{Part, Policy};

/// Gives revisions that look like Git's to names like `r1`, and back.
#[derive(Default)]
pub struct Names(BTreeMap<String, Revision>);

impl Names {
    /// The revision of a name; a chart's version (`1.2.0`) is what it is.
    pub fn revision(&mut self, name: &str) -> Revision {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return Revision::new(name);
        }
        let next = Revision::new(format!("{:08x}{}", 0x0c00_0001 + self.0.len(), "0".repeat(32)));
        self.0.entry(name.to_owned()).or_insert(next).clone()
    }

    /// The revisions of several sources: `r1+1.2.0`.
    pub fn revisions(&mut self, names: &str) -> Revisions {
        Revisions::new(names.split('+').map(|name| self.revision(name)).collect()).unwrap()
    }

    /// The name of a revision.
    pub fn name(&self, revision: &Revision) -> String {
        self.in_words(revision.as_str())
    }

    /// Puts names where revisions stand, at any of the lengths that the engine shows.
    fn in_words(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, revision) in &self.0 {
            for length in [40, 12, 8] {
                text = text.replace(&revision.as_str()[..length], name);
            }
        }
        text
    }
}

/// One line of the story; repeated actions share one.
struct Told {
    at: Timestamp,
    text: String,
    /// How often, and when last; none for the journal.
    again: Option<(u32, Timestamp)>,
}

/// The journal and the actions.
pub struct Story {
    start: Timestamp,
    lines: Vec<Told>,
}

/// What a query asks for, in one word: the SLO, or the events that its burn rate counts.
pub fn asked(query: &SloQuery) -> String {
    match query.part {
        Part::Value | Part::Ratio(_) => query.slo.clone(),
        Part::Events(_) => format!("{}-events", query.slo),
    }
}

impl Story {
    pub fn new(start: Timestamp) -> Self {
        Self { start, lines: Vec::new() }
    }

    pub fn entry(&mut self, entry: &Entry, names: &Names) {
        let text = format!("{}: {}", entry.kind.reason(), entry.kind);
        self.lines.push(Told { at: entry.at, text: self.without_epoch(&names.in_words(&text)), again: None });
    }

    pub fn action(&mut self, at: Timestamp, action: &Action, names: &Names) {
        let text = format!("-> {}", self.describe(action, names));
        let since_journal = self.lines.iter_mut().rev().map_while(|l| l.again.as_mut().map(|a| (&l.text, a)));
        for (told, again) in since_journal {
            if *told == text {
                *again = (again.0 + 1, at);
                return;
            }
        }
        self.lines.push(Told { at, text, again: Some((1, at)) });
    }

    pub fn end(&mut self, at: Timestamp, state: &AppState, policy: &Policy, names: &Names) {
        let revision = state.phase.current().map_or("nothing".to_owned(), Revisions::short);
        let good = state.last_good.as_ref().map_or("unknown".to_owned(), |good| good.revisions.short());
        let hold = if state.hold.is_some() { "on hold" } else { "not on hold" };
        let wake =
            state.wake_at(policy).map_or("no wake-up".to_owned(), |at| format!("wakes at {}", self.time(at)));
        let text = format!("finally {} {revision}, last good {good}, {hold}, {wake}", state.phase.name());
        self.lines.push(Told { at, text: names.in_words(&text), again: None });
    }

    fn describe(&self, action: &Action, names: &Names) -> String {
        match action {
            Action::Measure(order) => {
                let slos = order.queries.iter().map(asked).collect::<Vec<_>>().join(", ");
                match order.when {
                    When::Now => format!("measure {slos}"),
                    When::Range { from, to, .. } if from == to => {
                        format!("measure {slos} of {}", self.time(to))
                    }
                    When::Range { from, to, .. } => {
                        format!("measure {slos} of {} to {}", self.time(from), self.time(to))
                    }
                }
            }
            Action::Revert(order) => {
                let dry = match order.mode {
                    Delivery::Push => "",
                    Delivery::PullRequest { complete: false } => " in a pull request",
                    Delivery::PullRequest { complete: true } => " in the pull request",
                    Delivery::DryRun => ", a dry run",
                };
                let bad: Vec<_> = order.parts.iter().map(|part| names.name(&part.bad)).collect();
                let good: Vec<_> = order.parts.iter().map(|part| names.name(&part.good)).collect();
                format!("revert {} to {}{dry}", bad.join("+"), good.join("+"))
            }
            Action::Relate(order) => {
                format!(
                    "does {} descend from {}?",
                    names.name(&order.descendant),
                    names.name(&order.ancestor)
                )
            }
            Action::Withdraw(order) => {
                let urls: Vec<_> = order.parts.iter().map(|part| part.pull_request.url.as_str()).collect();
                format!("withdraw {}: {}", urls.join(", "), names.in_words(&order.why))
            }
            Action::Refresh { app } if app.name == "shop" => "refresh".to_owned(),
            Action::Refresh { app } => format!("refresh {app}"),
            Action::Terminate { started_at } => format!("end the sync of {}", self.time(*started_at)),
        }
    }

    /// Seconds since the beginning.
    fn time(&self, at: Timestamp) -> String {
        let millis = at.duration_since(self.start).as_millis();
        if millis % 1000 == 0 {
            format!("{}s", millis / 1000)
        } else {
            format!("{:.1}s", millis as f64 / 1000.0)
        }
    }

    /// A hold's name ends with the time in seconds; here with that of the scenario.
    fn without_epoch(&self, text: &str) -> String {
        let epoch = self.start.as_second().to_string();
        let Some(at) = text.find(&format!("-{}", &epoch[..5])) else { return text.to_owned() };
        let (before, rest) = text.split_at(at);
        let (digits, after) = rest.split_at(epoch.len() + 1);
        let second: i64 = digits[1..].parse().unwrap();
        format!("{before}@{}s{}", second - self.start.as_second(), self.without_epoch(after))
    }

    /// Only what is recorded.
    pub fn journal(&self) -> String {
        self.lines
            .iter()
            .filter(|l| l.again.is_none())
            .map(|l| format!("{} {}\n", self.time(l.at), l.text))
            .collect()
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            write!(f, "{:<7} {}", self.time(line.at), line.text)?;
            match line.again {
                Some((times, last)) if times > 1 => {
                    writeln!(f, " ({times} times, last at {})", self.time(last))?;
                }
                _ => writeln!(f)?,
            }
        }
        Ok(())
    }
}
