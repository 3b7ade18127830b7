//! The demo's story: who deploys what and when, what happens, and whether it ended well.
//!
//! The daemon is not started here: whoever starts it hands over what it tells, as [`Told`].

mod git_log;
mod proof;
mod scene;
mod story;
mod timeline;

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

pub use self::git_log::git_log;
pub use self::proof::Unproven;
use self::proof::prove_undone;
use self::scene::Scene;
use self::story::Step;
pub use self::story::{Beat, Chapter, Ending, Missed, Story};
pub use self::timeline::{Format, Timeline, Who};
use super::{DeveloperError, Sandbox};

/// How often the demo looks at the cluster.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One line of the daemon's journal.
#[derive(Clone, Debug)]
pub struct Told {
    /// When it happened.
    pub at: Timestamp,
    /// What it means to the story.
    pub beat: Beat,
    /// What people read.
    pub sentence: String,
}

/// Why the demo did not end well.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The story did not go on.
    #[error(transparent)]
    Missed(#[from] Missed),
    /// The daemon told of a recovery that Git or the cluster do not show.
    #[error(transparent)]
    Unproven(#[from] Unproven),
    /// A deploy could not be committed.
    #[error(transparent)]
    Commit(#[from] DeveloperError),
    /// The daemon ended.
    #[error("the daemon ended in the middle of the story; its last words are above")]
    DaemonEnded,
    /// The timeline could not be written.
    #[error("cannot write the timeline: {0}; is the pipe's reader gone?")]
    Output(#[from] io::Error),
}

/// Plays a story in a sandbox; returns when every chapter ended as it should.
pub async fn play<W: io::Write + Send>(
    sandbox: &Sandbox,
    mut story: Story,
    told: &mut mpsc::Receiver<Told>,
    timeline: &mut Timeline<W>,
) -> Result<(), DemoError> {
    let mut scene = Scene::default();
    let mut good = String::new();
    let mut deployed = String::new();
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // What the daemon says first: an answer must not look as if it came before its cause.
            heard = told.recv() => {
                let Told { at, beat, sentence } = heard.ok_or(DemoError::DaemonEnded)?;
                timeline.line(at, Who::Lastgood, &sentence)?;
                if story.hear(beat, at) {
                    match story.ending() {
                        Ending::Good => good.clone_from(&deployed),
                        Ending::Recovered => prove_undone(sandbox, &deployed, &good)?,
                    }
                }
            }
            _ = looks.tick() => {
                let now = sandbox.clock().now();
                for sentence in scene.look(sandbox.store()) {
                    timeline.line(now, Who::Cluster, &sentence)?;
                }
                match story.next(now)? {
                    Step::Wait => {}
                    Step::Begin(chapter) => {
                        deployed = begin(sandbox, chapter, timeline)?;
                    }
                    Step::End => return Ok(()),
                }
            }
        }
    }
}

/// Commits what a chapter begins with; the first one finds it in the repository already.
fn begin<W: io::Write>(
    sandbox: &Sandbox,
    chapter: &Chapter,
    timeline: &mut Timeline<W>,
) -> Result<String, DemoError> {
    let (person, _) = chapter.author.split_once(" <").unwrap_or((chapter.author, ""));
    let manifest = super::shop_manifest(chapter.tag);
    let files = [(super::DEPLOYMENT_FILE, Some(manifest.as_str()))];
    let commit = match chapter.subject {
        Some(subject) => sandbox.developer().commit(&files, &format!("{subject}\n"), chapter.author)?,
        None => sandbox.developer().tip()?,
    };
    let short = commit.get(..8).unwrap_or(&commit);
    let sentence = format!("{person} {} ({short}): {}", chapter.deed, chapter.tag);
    timeline.line(sandbox.clock().now(), Who::Developer, &sentence)?;
    Ok(commit)
}
