//! What holds for the engine whatever happens, in whatever order: the moves have no sense of what is likely.
//!
//! `PROPTEST_CASES=10000 cargo test --test properties` tries more.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::format_collect,
    clippy::panic,
    reason = "a property that does not hold ends the test"
)]

#[path = "properties/moves.rs"]
mod moves;
#[path = "properties/world.rs"]
mod world;

use jiff::Timestamp;
use lastgood::engine::action::Action;
use lastgood::engine::event::Event;
use lastgood::engine::facts::{Gap, Reading};
use lastgood::engine::judge::slo::{Case, SloJudgement, judge};
use lastgood::engine::laws;
use lastgood::engine::policy::Part;
use lastgood::engine::samples::{Labels, Lines, Sample};
use proptest::prelude::*;

use moves::any_history;
use world::World;

/// What an application's saved state may take of the store's object.
const STATE_BYTES_MAX: usize = 64 * 1024;

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_laws_hold_whatever_happens(moves in any_history(), dry_run: bool) {
        let mut world = World::new(dry_run);
        for one in &moves {
            world.play(one);
            let checked = laws::check(&world.journal, &world.policy);
            prop_assert!(checked.is_ok(), "{}\n{}", checked.unwrap_err(), world.told());
        }
    }

    #[test]
    fn what_comes_twice_changes_nothing_more(moves in any_history()) {
        let mut world = World::new(false);
        for one in &moves {
            world.pass(one);
            let Some(event) = world.event(one) else { continue };
            let first = world.step(event.clone());
            let asked = first.actions.iter().any(|action| matches!(action, Action::Revert(_)));
            world.take(first);
            // A start is not news: it asks for everything again, each time. And where the step has just asked for a
            // revert again, the same answer is the new question's.
            if matches!(event, Event::Started) || (asked && matches!(event, Event::Reverted { .. })) {
                continue;
            }
            let again = world.step(event.clone());
            prop_assert!(again.entries.is_empty(), "{event:?} again: {:?}\n{}", again.entries, world.told());
            prop_assert!(again.actions.is_empty(), "{event:?} again: {:?}\n{}", again.actions, world.told());
            prop_assert_eq!(&again.app, &world.app, "{:?} again\n{}", event, world.told());
        }
    }

    #[test]
    fn a_saved_state_is_small_and_read_back_as_it_was(moves in any_history()) {
        let mut world = World::new(false);
        for one in &moves {
            world.play(one);
            let saved = serde_json::to_string(&world.app.state).unwrap();
            let read = serde_json::from_str(&saved).unwrap();
            prop_assert_eq!(&world.app.state, &read);
            prop_assert!(saved.len() < STATE_BYTES_MAX, "{} bytes: {saved}", saved.len());
        }
    }

    #[test]
    fn nothing_asks_to_be_woken_in_the_past(moves in any_history()) {
        let mut world = World::new(false);
        for one in &moves {
            if !world.play(one) {
                continue;
            }
            let wake = world.app.state.wake_at(&world.policy);
            prop_assert!(wake.is_none_or(|at| at > world.now), "{wake:?} at {}\n{}", world.now, world.told());
        }
    }

    #[test]
    fn what_is_saved_decides_alike(moves in any_history(), restart_at in 0_usize..60) {
        // A daemon that took over with the state and sees the same goes on as if it had been the one before.
        let (mut one, mut other) = (World::new(false), World::new(false));
        for (i, next) in moves.iter().enumerate() {
            one.play(next);
            other.play(next);
            if i == restart_at {
                let saved = serde_json::to_string(&other.app.state).unwrap();
                other.app.state = serde_json::from_str(&saved).unwrap();
            }
        }
        prop_assert_eq!(one.journal, other.journal);
    }

    #[test]
    fn the_order_of_answers_does_not_matter(
        readings in prop::collection::vec(moves::any_reading(), 0..8),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let slo = world::policy(false).slos.remove(0);
        let sample = |i, reading: &Reading| Sample::new(Timestamp::from_second(i).unwrap(), reading.clone());
        let mut samples: Vec<_> = (0..).zip(&readings).map(|(i, reading)| sample(i, reading)).collect();
        let lines = |samples: &[Sample]| {
            let mut lines = Lines::default();
            for one in samples {
                lines.add(Part::Value, &Labels::new(), one.clone(), 2);
            }
            lines
        };
        let before = lines(&[sample(0, &Reading::Value(0.0))]);
        let judged = |samples: &[Sample]| judge(&Case::new(&slo, &before, &lines(samples)));
        let in_order = judged(&samples);
        if !samples.is_empty() {
            let at = shuffled.index(samples.len());
            samples.rotate_left(at);
        }
        prop_assert_eq!(in_order, judged(&samples));
    }

    #[test]
    fn silence_never_convicts_and_never_makes_good(count in 0_i64..20, gap in moves::any_gap()) {
        let slo = world::policy(false).slos.remove(0);
        let mut after = Lines::default();
        for i in 0..count {
            let sample = Sample::new(Timestamp::from_second(i).unwrap(), Reading::Gap(Gap::clone(&gap)));
            after.add(Part::Value, &Labels::new(), sample, 2);
        }
        let judged = judge(&Case::new(&slo, &after, &after));
        prop_assert!(matches!(judged, SloJudgement::Open(_)), "{judged:?}");
    }
}

/// Moves without sense could be so senseless that nothing is ever decided; then the properties above say nothing.
#[test]
fn the_moves_reach_every_phase() {
    use proptest::strategy::ValueTree as _;
    const WANTED: [&str; 10] = [
        "Healthy",
        "Degraded",
        "Inconclusive",
        "RevertPushed",
        "RevertWaits",
        "RevertLive",
        "Recovered",
        "PullRequestOpened",
        "HoldBegan",
        "HoldEnded",
    ];
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut phases, mut reasons) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for _ in 0..5000 {
        let mut world = World::new(false);
        for one in any_history().new_tree(&mut runner).unwrap().current() {
            world.play(&one);
            phases.insert(world.app.state.phase.name());
        }
        reasons.extend(world.journal.iter().map(|entry| entry.kind.reason()));
        if phases.len() == 7 && WANTED.iter().all(|wanted| reasons.contains(wanted)) {
            return;
        }
    }
    panic!("reached were only {phases:?} and {reasons:?}");
}
