use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn rules(batch_max: usize) -> Rules {
    Rules {
        batch_max,
        bytes_max: 1000,
        in_flight_max: 2,
        pause: Duration::from_secs(1),
        dead_letter_after: HOUR,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn item(sequence: u64, lane: &str) -> Item<()> {
    Item { id: format!("r{sequence}"), lane: lane.to_owned(), bytes: 100, event: () }
}

/// A delivery that has read these records, named by their lane, from 1 on.
fn delivery(batch_max: usize, lanes: &str) -> Delivery<()> {
    let mut delivery = Delivery::new(rules(batch_max), Cursor::default());
    read(&mut delivery, lanes);
    delivery
}

fn read(delivery: &mut Delivery<()>, lanes: &str) {
    for (sequence, lane) in (1..).zip(lanes.chars()) {
        delivery.take(sequence, || Ok(Some(item(sequence, &lane.to_string()))));
    }
}

fn sequence(item: &Item<()>) -> u64 {
    item.id[1..].parse().unwrap()
}

fn sequences(batch: &Batch<()>) -> Vec<u64> {
    batch.items.iter().map(sequence).collect()
}

fn unavailable(retry_after: Option<u64>) -> Outcome {
    Outcome::Unavailable { why: "503".into(), retry_after: retry_after.map(Duration::from_secs) }
}

fn refused(forever: bool) -> Outcome {
    Outcome::Refused { why: "400".into(), forever }
}

/// Carries on with a script of `seconds: sent -> outcome`, with `-` where nothing may be sent.
#[track_caller]
fn check(delivery: &mut Delivery<()>, script: &[(i64, &[u64], Outcome)]) {
    for (seconds, sent, outcome) in script {
        let batch = delivery.next(at(*seconds));
        let given = batch.as_ref().map(sequences).unwrap_or_default();
        assert_eq!(given, *sent, "at {seconds}");
        if let Some(batch) = batch {
            // The lowest throw: half of the pause.
            delivery.answered(batch.ticket, outcome.clone(), at(*seconds), 0.0);
        }
    }
}

#[test]
fn records_of_an_application_wait_for_each_other_and_for_no_others() {
    let mut delivery = delivery(1, "aab");
    let first = delivery.next(at(0)).unwrap();
    let other = delivery.next(at(0)).unwrap();
    assert_eq!((sequences(&first), sequences(&other)), (vec![1], vec![3]));
    assert!(delivery.next(at(0)).is_none(), "two requests are the limit");
    delivery.answered(other.ticket, Outcome::Delivered, at(0), 0.5);
    assert!(delivery.next(at(0)).is_none(), "2 waits for 1");
    delivery.answered(first.ticket, Outcome::Delivered, at(0), 0.5);
    check(&mut delivery, &[(0, &[2], Outcome::Delivered), (0, &[], Outcome::Delivered)]);
    assert_eq!((delivery.cursor().through, delivery.cursor().open.len()), (3, 0));
}

#[test]
fn a_batch_holds_what_fits_in_order() {
    check(&mut delivery(3, "abab"), &[(0, &[1, 2, 3], Outcome::Delivered), (0, &[4], Outcome::Delivered)]);
    // A thousand bytes, a hundred each.
    let mut delivery = delivery(50, "aaaaaaaaaaaa");
    check(&mut delivery, &[(0, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], Outcome::Delivered)]);
}

#[test]
fn a_sink_that_does_not_work_is_tried_with_one_record_after_growing_pauses() {
    let mut delivery = delivery(10, "abc");
    check(
        &mut delivery,
        &[
            (0, &[1, 2, 3], unavailable(None)),
            // Half a second at least, then one by one, each time another application's.
            (0, &[], unavailable(None)),
            (1, &[1], unavailable(None)),
            (1, &[], unavailable(None)),
            (2, &[2], unavailable(None)),
            (4, &[3], unavailable(None)),
            (7, &[], unavailable(None)),
            (8, &[1], Outcome::Delivered),
            (8, &[2], Outcome::Delivered),
        ],
    );
    assert_eq!(delivery.wake_at(at(4)), Some(at(4) + jiff::SignedDuration::from_millis(500)));
}

#[test]
fn a_sink_is_left_alone_for_as_long_as_it_asks() {
    let mut delivery = delivery(1, "a");
    check(&mut delivery, &[(0, &[1], unavailable(Some(120))), (119, &[], Outcome::Delivered)]);
    assert_eq!(delivery.wake_at(at(119)), Some(at(120)));
    check(&mut delivery, &[(120, &[1], unavailable(Some(1_000_000))), (120 + 3599, &[], Outcome::Delivered)]);
    check(&mut delivery, &[(120 + 3600, &[1], Outcome::Delivered)]);
}

#[test]
fn an_answer_to_an_older_request_does_not_show_that_the_sink_works_again() {
    let mut delivery = delivery(1, "ab");
    let (first, second) = (delivery.next(at(0)).unwrap(), delivery.next(at(0)).unwrap());
    delivery.answered(first.ticket, unavailable(Some(60)), at(0), 0.0);
    delivery.answered(second.ticket, Outcome::Delivered, at(0), 0.0);
    assert!(delivery.last_error().is_some());
    check(&mut delivery, &[(59, &[], Outcome::Delivered), (60, &[1], Outcome::Delivered)]);
    assert_eq!(delivery.last_error(), None);
}

#[test]
fn of_a_request_that_is_refused_each_record_is_sent_alone() {
    let mut delivery = delivery(10, "aba");
    check(
        &mut delivery,
        &[
            (0, &[1, 2, 3], refused(false)),
            (0, &[1], Outcome::Delivered),
            (0, &[2], refused(false)),
            (0, &[3], Outcome::Delivered),
            (0, &[], Outcome::Delivered),
            (1, &[2], Outcome::Delivered),
        ],
    );
    assert_eq!(delivery.last_error(), None);
}

#[test]
fn what_stays_refused_is_set_aside_and_the_application_goes_on() {
    let mut delivery = delivery(1, "aab");
    let mut now = 0;
    let mut attempts = 0;
    check(&mut delivery, &[(0, &[1], refused(false)), (0, &[3], Outcome::Delivered)]);
    while delivery.cursor().dead.is_empty() {
        now += 1;
        if let Some(batch) = delivery.next(at(now)) {
            assert_eq!(sequences(&batch), [1]);
            attempts += 1;
            delivery.answered(batch.ticket, refused(false), at(now), 0.999);
        }
    }
    assert!((3600..3600 + 300).contains(&now), "{now}");
    assert!((15..30).contains(&attempts), "{attempts}");
    let letter = &delivery.cursor().dead[&1];
    assert_eq!((letter.id.as_str(), letter.why.as_str()), ("r1", "400"));
    check(&mut delivery, &[(now, &[2], Outcome::Delivered)]);
    assert_eq!(delivery.cursor().open.len(), 0);
}

#[test]
fn what_can_never_be_taken_is_set_aside_at_once() {
    let mut delivery = delivery(1, "aa");
    check(&mut delivery, &[(0, &[1], refused(true)), (0, &[2], Outcome::Delivered)]);
    assert_eq!(delivery.cursor().dead.keys().collect::<Vec<_>>(), [&1]);
}

/// A record that the sink chokes on must not pass for an outage for longer than a moment.
#[test]
fn a_record_that_breaks_the_sink_keeps_nobody_else_back() {
    let mut delivery = delivery(10, "abcd");
    let mut delivered = Vec::new();
    for now in 0..20 {
        while let Some(batch) = delivery.next(at(now)) {
            let sent = sequences(&batch);
            let outcome = if sent.contains(&1) { unavailable(None) } else { Outcome::Delivered };
            if outcome == Outcome::Delivered {
                delivered.extend(sent);
            }
            delivery.answered(batch.ticket, outcome, at(now), 0.0);
        }
    }
    assert_eq!(delivered, [2, 3, 4]);
}

#[test]
fn no_more_is_read_than_can_wait() {
    let mut delivery = delivery(1, &"a".repeat(WAITING_MAX));
    for sequence in 1..READ_MIN {
        assert_eq!(delivery.wants(), None);
        check(&mut delivery, &[(0, &[sequence as u64], Outcome::Delivered)]);
    }
    check(&mut delivery, &[(0, &[READ_MIN as u64], Outcome::Delivered)]);
    assert_eq!(delivery.wants(), Some((WAITING_MAX as u64, READ_MIN)));
}

#[test]
fn what_does_not_concern_the_sink_counts_as_settled() {
    let mut delivery: Delivery<()> = Delivery::new(rules(1), Cursor::default());
    delivery.take(1, || Ok(None));
    assert_eq!((delivery.wants(), delivery.wake_at(at(0))), (Some((1, WAITING_MAX)), None));
    assert!(delivery.cursor().settled(1));
}

#[test]
fn a_restart_sends_what_was_not_settled() {
    let mut before = delivery(1, "abab");
    check(&mut before, &[(0, &[1], refused(false)), (0, &[2], Outcome::Delivered)]);
    let mut after = Delivery::new(rules(10), before.cursor().clone());
    assert_eq!(after.wants(), Some((0, WAITING_MAX)));
    read(&mut after, "abab");
    check(&mut after, &[(0, &[1, 3, 4], Outcome::Delivered)]);
    assert_eq!(after.cursor().through, 4);
}

#[test]
fn what_another_daemon_sent_is_not_sent_again() {
    let mut ours = delivery(1, "abc");
    let mut theirs = delivery(1, "abcd");
    check(&mut theirs, &[(0, &[1], Outcome::Delivered), (0, &[2], Outcome::Delivered)]);
    ours.adopt(theirs.cursor());
    assert_eq!(ours.wants(), Some((3, WAITING_MAX - 1)));
    read(&mut ours, "abcd");
    check(&mut ours, &[(0, &[3], Outcome::Delivered), (0, &[4], Outcome::Delivered)]);
}

#[test]
fn a_replay_sends_all_again() {
    let mut delivery = delivery(10, "abc");
    let late = delivery.next(at(0)).unwrap();
    let asked = delivery.cursor().replayed(1, None);
    delivery.adopt(&asked);
    delivery.answered(late.ticket, Outcome::Delivered, at(0), 0.0);
    assert_eq!(delivery.wants(), Some((1, WAITING_MAX)));
    read(&mut delivery, "abc");
    check(&mut delivery, &[(0, &[2, 3], Outcome::Delivered)]);
}

/// One thing that happens in a history.
#[derive(Clone, Debug)]
enum Happens {
    Sent,
    /// The answer to the oldest request, or to the newest.
    Answered {
        oldest: bool,
        outcome: u8,
    },
    Saved,
    /// The daemon is killed, and started with what was saved.
    Killed,
    Later(u16),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Sent),
        4 => (any::<bool>(), 0_u8..10).prop_map(|(oldest, outcome)| Happens::Answered { oldest, outcome }),
        1 => Just(Happens::Saved),
        1 => Just(Happens::Killed),
        2 => (0_u16..400).prop_map(Happens::Later),
    ]
}

proptest! {
    /// Whatever happens: nothing is lost, and no record overtakes an older one of its application.
    #[test]
    fn nothing_is_lost_and_order_holds(
        lanes in "[abc]{1,30}",
        batch_max in 1_usize..6,
        history in prop::collection::vec(happens(), 0..120),
    ) {
        let mut delivery = delivery(batch_max, &lanes);
        let mut saved = Cursor::default();
        let mut now = 0_i64;
        let mut on_its_way: Vec<Batch<()>> = Vec::new();
        // What the sink has, in the order of first arrival, for each lane.
        let mut arrived: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let mut arrive = |batch: &Batch<()>| {
            for item in &batch.items {
                let of_lane = arrived.entry(item.lane.clone()).or_default();
                if !of_lane.contains(&sequence(item)) {
                    of_lane.push(sequence(item));
                }
            }
        };
        for one in history {
            match one {
                Happens::Sent => on_its_way.extend(delivery.next(at(now))),
                Happens::Answered { oldest, outcome } if !on_its_way.is_empty() => {
                    let which = if oldest { 0 } else { on_its_way.len() - 1 };
                    let batch = on_its_way.remove(which);
                    let outcome = match outcome {
                        0..=4 => { arrive(&batch); Outcome::Delivered }
                        // The sink took it, and the answer was lost.
                        5 | 6 => { arrive(&batch); unavailable(None) }
                        7 => unavailable(Some(60)),
                        _ => refused(false),
                    };
                    delivery.answered(batch.ticket, outcome, at(now), 0.5);
                }
                Happens::Answered { .. } => {}
                Happens::Saved => saved = delivery.cursor().clone(),
                Happens::Killed => {
                    on_its_way.clear();
                    delivery = Delivery::new(rules(batch_max), saved.clone());
                    read(&mut delivery, &lanes);
                }
                Happens::Later(seconds) => now += i64::from(seconds),
            }
        }
        // From here on the sink works.
        for batch in on_its_way {
            arrive(&batch);
            delivery.answered(batch.ticket, Outcome::Delivered, at(now), 0.5);
        }
        for _ in 0..200 {
            now += 400;
            while let Some(batch) = delivery.next(at(now)) {
                arrive(&batch);
                delivery.answered(batch.ticket, Outcome::Delivered, at(now), 0.5);
            }
        }
        prop_assert!(delivery.cursor().open.is_empty());
        let dead: BTreeSet<u64> = delivery.cursor().dead.keys().chain(saved.dead.keys()).copied().collect();
        for (lane, of_lane) in &arrived {
            let mut sorted = of_lane.clone();
            sorted.sort_unstable();
            // A record that was set aside may come after all, when the daemon forgot that it was.
            if dead.is_empty() {
                prop_assert_eq!(of_lane, &sorted, "{}", lane);
            }
        }
        for (sequence, lane) in (1_u64..).zip(lanes.chars()) {
            let known = arrived.get(&lane.to_string()).is_some_and(|of_lane| of_lane.contains(&sequence));
            prop_assert!(known || dead.contains(&sequence), "{} is lost", sequence);
        }
    }
}
