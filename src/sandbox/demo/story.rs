//! What is deployed when: a state machine that hears the daemon and is told the time.

use std::time::Duration;

use jiff::Timestamp;

use crate::sandbox::clock::{between, later};

/// How long nothing happens between two chapters, for people to read.
const PAUSE: Duration = Duration::from_secs(1);

/// What a line of the daemon's journal means to the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// A revision was judged healthy: it is the new last good.
    BecameGood,
    /// After a rollback, what had failed passes again.
    Recovered,
    /// Anything else.
    Other,
}

/// How a chapter should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The deploy is judged healthy.
    Good,
    /// The deploy is rolled back, and the application recovers.
    Recovered,
}

/// One deploy and how it should end.
#[derive(Clone, Debug)]
pub struct Chapter {
    /// Who deploys, `Name <address>`.
    pub author: &'static str,
    /// The commit's subject; none when the commit is there already.
    pub subject: Option<&'static str>,
    /// What the developer does, in the timeline.
    pub deed: &'static str,
    /// The image tag, which decides what happens.
    pub tag: &'static str,
    /// How it should end.
    pub ending: Ending,
    /// How long that may take.
    pub patience: Duration,
}

/// The story did not go on in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{tag}` was not {} within {} s; what the daemon waited for is in its last line above", .wanted, .after.as_secs())]
pub struct Missed {
    tag: &'static str,
    wanted: &'static str,
    after: Duration,
}

/// Chapters, one after the other.
#[derive(Clone, Debug)]
pub struct Story {
    chapters: Vec<Chapter>,
    current: usize,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next chapter begins at this time; none means at once.
    Pause { until: Option<Timestamp> },
    /// Its deploy is out since this time.
    Open { since: Timestamp },
    /// All chapters ended well.
    Ended,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step<'a> {
    Wait,
    Begin(&'a Chapter),
    End,
}

impl Default for Story {
    /// The story of `lastgood demo`: a first version, a good deploy, one that crashes, one that breaks its SLO.
    fn default() -> Self {
        let chapter = |author, subject, deed, tag, ending| Chapter {
            author,
            subject,
            deed,
            tag,
            ending,
            patience: Duration::from_secs(25),
        };
        Self::new(vec![
            chapter("Ada <ada@example.com>", None, "had deployed the first version", "v1", Ending::Good),
            chapter(
                "Ada <ada@example.com>",
                Some("shop: checkout on one page"),
                "deploys a good version",
                "v2",
                Ending::Good,
            ),
            chapter(
                "Ben <ben@example.com>",
                Some("shop: new payment client"),
                "deploys a version that crashes at start",
                "v3-crash",
                Ending::Recovered,
            ),
            chapter(
                "Cleo <cleo@example.com>",
                Some("shop: search while typing"),
                "deploys a version that starts well and then answers 30 % of the requests with errors",
                "v4-errors",
                Ending::Recovered,
            ),
        ])
    }
}

impl Story {
    /// A story of these chapters.
    pub fn new(chapters: Vec<Chapter>) -> Self {
        Self { chapters, current: 0, state: State::Pause { until: None } }
    }

    /// Hears the daemon; true if that ended the current chapter as it should.
    pub fn hear(&mut self, beat: Beat, now: Timestamp) -> bool {
        let State::Open { .. } = self.state else { return false };
        let ended = match self.ending() {
            Ending::Good => beat == Beat::BecameGood,
            Ending::Recovered => beat == Beat::Recovered,
        };
        if ended {
            self.state = State::Pause { until: Some(later(now, PAUSE)) };
        }
        ended
    }

    /// How the current chapter should end, or the last one ended.
    pub fn ending(&self) -> Ending {
        self.chapters.get(self.current).map_or(Ending::Good, |chapter| chapter.ending)
    }

    /// What to do at this time.
    pub(super) fn next(&mut self, now: Timestamp) -> Result<Step<'_>, Missed> {
        match self.state {
            State::Pause { until: Some(until) } if now < until => Ok(Step::Wait),
            State::Pause { until } => {
                self.current += usize::from(until.is_some());
                let Some(chapter) = self.chapters.get(self.current) else {
                    self.state = State::Ended;
                    return Ok(Step::End);
                };
                self.state = State::Open { since: now };
                Ok(Step::Begin(chapter))
            }
            State::Open { since } => {
                let late =
                    self.chapters.get(self.current).filter(|chapter| between(since, now) > chapter.patience);
                late.map_or(Ok(Step::Wait), |chapter| Err(missed(chapter)))
            }
            State::Ended => Ok(Step::End),
        }
    }
}

fn missed(chapter: &Chapter) -> Missed {
    let wanted = match chapter.ending {
        Ending::Good => "judged healthy",
        Ending::Recovered => "rolled back and recovered from",
    };
    Missed { tag: chapter.tag, wanted, after: chapter.patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn next(story: &mut Story, seconds: i64) -> String {
        match story.next(at(seconds)) {
            Ok(Step::Wait) => "wait".to_owned(),
            Ok(Step::Begin(chapter)) => chapter.tag.to_owned(),
            Ok(Step::End) => "end".to_owned(),
            Err(missed) => missed.to_string(),
        }
    }

    #[test]
    fn goes_on_when_the_daemon_says_so() {
        let mut story = Story::default();
        assert_eq!(next(&mut story, 0), "v1");
        assert!(!story.hear(Beat::Recovered, at(1)));
        assert!(story.hear(Beat::BecameGood, at(2)));
        assert_eq!((next(&mut story, 2), next(&mut story, 3)), ("wait".into(), "v2".into()));
        assert!(story.hear(Beat::BecameGood, at(4)));
        assert_eq!(next(&mut story, 5), "v3-crash");
        // A verdict that it was good is not how this chapter ends.
        assert!(!story.hear(Beat::BecameGood, at(6)) && story.hear(Beat::Recovered, at(6)));
        assert_eq!(next(&mut story, 8), "v4-errors");
        assert!(story.hear(Beat::Recovered, at(9)));
        assert_eq!(next(&mut story, 10), "end");
    }

    #[test]
    fn does_not_wait_for_ever() {
        let mut story = Story::default();
        next(&mut story, 0);
        assert_eq!(next(&mut story, 25), "wait");
        let missed =
            "`v1` was not judged healthy within 25 s; what the daemon waited for is in its last line above";
        assert_eq!(next(&mut story, 26), missed);
    }
}
