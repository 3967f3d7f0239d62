use std::time::Duration;

use super::*;
use crate::flow::QueueSettings;
use proptest::prelude::*;

const SECOND: i128 = 1_000_000_000;
/// An instant that is no round one.
const START: i128 = 1_764_000_000_123_456_789;

fn at(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(START + nanos).unwrap()
}

fn seconds(seconds: i128) -> Timestamp {
    at(seconds * SECOND)
}

fn rate(limit: u32, per_seconds: u64, burst: Option<u32>) -> Rate {
    Rate { limit, per: Duration::from_secs(per_seconds), burst }
}

/// Through JSON, as it is kept.
fn restart(meter: &Meter, rate: &Rate, now: Timestamp) -> Meter {
    let json = serde_json::to_string(&meter.state()).unwrap();
    Meter::restore(rate, &serde_json::from_str(&json).unwrap(), now)
}

#[test]
fn a_bucket_lets_its_burst_go_and_then_fills_evenly() {
    let mut meter = Meter::new(&rate(10, 60, Some(3)), seconds(0));
    for _ in 0..3 {
        assert_eq!(meter.at(1, seconds(0)), None);
        meter.take(1, seconds(0));
    }
    assert_eq!(meter.at(1, seconds(0)), Some(seconds(6)));
    assert_eq!(meter.at(3, seconds(0)), Some(seconds(18)));
    assert_eq!(meter.at(1, at(6 * SECOND - 1)), Some(seconds(6)));
    assert_eq!(meter.at(1, seconds(6)), None);
    // It never holds more than its burst.
    meter.take(3, seconds(1000));
    assert_eq!(meter.at(1, seconds(1000)), Some(seconds(1006)));
}

#[test]
fn a_window_slides() {
    let mut meter = Meter::new(&rate(3, 60, None), seconds(0));
    for second in [0, 50, 59] {
        assert_eq!(meter.at(1, seconds(second)), None);
        meter.take(1, seconds(second));
    }
    // A window aligned to the minute would let three more go now.
    assert_eq!(meter.at(1, at(60 * SECOND - 1)), Some(seconds(60)));
    assert_eq!(meter.at(1, seconds(60)), None);
    assert_eq!(meter.at(2, seconds(60)), Some(seconds(110)));
    assert_eq!(meter.at(3, seconds(60)), Some(seconds(119)));
}

#[test]
fn a_hold_counts_until_its_instant() {
    let mut meter = Meter::new(&rate(1, 60, None), seconds(0));
    meter.hold_until(seconds(90));
    meter.hold_until(seconds(10));
    assert_eq!(meter.at(1, seconds(0)), Some(seconds(90)));
    assert_eq!(meter.at(0, seconds(0)), Some(seconds(90)));
    assert_eq!(restart(&meter, &rate(1, 60, None), seconds(1)).at(1, seconds(1)), Some(seconds(90)));
    assert!(!meter.is_idle(seconds(89)) && meter.is_idle(seconds(90)));
    meter.take(1, seconds(80));
    assert_eq!(meter.at(1, seconds(89)), Some(seconds(140)));
}

#[test]
fn more_points_than_can_ever_go_are_refused_or_count_as_many_as_can() {
    for rate in [rate(5, 60, None), rate(10, 60, Some(5))] {
        assert!(rate.check_points(5).is_ok());
        assert_eq!(
            rate.check_points(6).unwrap_err().to_string(),
            "costs 6 points: expected at most 5, as many as its rate lets go at once"
        );
        let mut meter = Meter::new(&rate, seconds(0));
        assert_eq!(meter.at(u32::MAX, seconds(0)), None);
        meter.take(u32::MAX, seconds(0));
        let full = meter.at(5, seconds(0)).unwrap();
        assert_eq!(meter.at(u32::MAX, seconds(0)), Some(full));
        assert!(full <= seconds(60));
        // By force: the wait keeps its bound.
        meter.take(5, seconds(0));
        assert_eq!(meter.at(5, seconds(0)), Some(full));
    }
}

#[test]
fn a_meter_that_knows_nothing_can_begin_as_spent() {
    let window = Meter::spent(&rate(5, 60, None), seconds(0));
    assert_eq!(window.at(1, seconds(0)), Some(seconds(60)));
    let bucket = Meter::spent(&rate(10, 60, Some(5)), seconds(0));
    assert_eq!(bucket.at(1, seconds(0)), Some(seconds(6)));
}

#[test]
fn an_idle_meter_can_be_forgotten() {
    for (rate, idle_after) in [(rate(5, 60, None), 60), (rate(10, 60, Some(5)), 12)] {
        let mut meter = Meter::new(&rate, seconds(0));
        assert!(meter.is_idle(seconds(0)));
        meter.take(2, seconds(0));
        assert!(!meter.is_idle(seconds(idle_after - 1)) && meter.is_idle(seconds(60)), "{rate:?}");
        assert_eq!(meter.is_idle(seconds(12)), idle_after == 12);
    }
}

#[test]
fn time_stands_still_where_the_clock_is_a_little_behind() {
    for rate in [rate(1, 10, None), rate(1, 10, Some(1))] {
        let mut meter = Meter::new(&rate, seconds(0));
        meter.take(1, seconds(100));
        for behind in [0, 1, 60] {
            meter.sync(seconds(100 - behind));
            assert_eq!(meter.at(1, seconds(100 - behind)), Some(seconds(110)));
        }
        assert_eq!(meter.at(1, seconds(110)), None);
    }
}

#[test]
fn a_clock_that_was_set_back_is_believed() {
    let year = 366 * 86_400;
    for rate in [rate(1, 10, None), rate(1, 10, Some(1))] {
        let mut meter = Meter::new(&rate, seconds(year));
        meter.take(1, seconds(year));
        meter.sync(seconds(year + 4));
        let restored = restart(&meter, &rate, seconds(0));
        meter.sync(seconds(0));
        assert_eq!(meter.at(1, seconds(0)), Some(seconds(6)));
        let late = restored.at(1, seconds(0)).unwrap().as_nanosecond() - seconds(6).as_nanosecond();
        assert!((0..MILLI_NANOS).contains(&late), "{late}");
    }
}

#[test]
fn what_was_taken_counts_under_another_rate() {
    let minute = rate(10, 60, None);
    let mut meter = Meter::new(&minute, seconds(0));
    meter.take(10, seconds(0));
    for (rate, earliest) in [
        (rate(10, 30, None), Some(30)),
        (rate(20, 60, None), None),
        (rate(5, 60, None), Some(60)),
        (rate(10, 60, Some(10)), Some(6)),
        // Empty is the worst that a bucket can be.
        (rate(1, 10, Some(2)), Some(10)),
    ] {
        let found = restart(&meter, &rate, seconds(0)).at(1, seconds(0));
        let late = found.map(|found| found.duration_since(seconds(earliest.unwrap_or_default())).as_millis());
        assert_eq!(late, earliest.map(|_| 0), "{rate:?}");
    }
    let mut month = Meter::new(&rate(1, 31 * 86_400, Some(1)), seconds(0));
    month.take(1, seconds(0));
    assert!(restart(&month, &rate(10, 1, Some(5)), seconds(0)).at(1, seconds(0)) < Some(seconds(1)));
    let window = restart(&month, &minute, seconds(0));
    assert_eq!((window.at(9, seconds(0)), window.at(10, seconds(0)).is_some()), (None, true));
}

#[test]
fn the_form_that_is_kept_does_not_change() {
    let mut meter = Meter::new(&rate(10, 60, None), seconds(0));
    let empty = r#"{"last":"2025-11-24T16:00:00.123456789Z"}"#;
    assert_eq!(serde_json::to_string(&meter.state()).unwrap(), empty);
    meter.take(4, seconds(1));
    meter.hold_until(seconds(2));
    assert_eq!(
        serde_json::to_string(&meter.state()).unwrap(),
        r#"{"last":"2025-11-24T16:00:01.123456789Z","taken":[[1764000001124,1764000001124,4]],"held_until":"2025-11-24T16:00:02.123456789Z"}"#
    );
}

#[test]
fn no_numbers_make_it_panic() {
    let odd = r#"{"last":"9999-12-30T22:00:00.999999999Z","taken":[[9223372036854775807,-9223372036854775808,18446744073709551615],[0,0,18446744073709551615]]}"#;
    let state: MeterState = serde_json::from_str(odd).unwrap();
    for burst in [None, Some(0), Some(u32::MAX)] {
        for limit in [0, u32::MAX] {
            for per in [Duration::ZERO, Duration::MAX] {
                let rate = Rate { limit, per, burst };
                for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
                    let mut meter = Meter::restore(&rate, &state, now);
                    meter.take(u32::MAX, Timestamp::MIN);
                    meter.take(u32::MAX, Timestamp::MAX);
                    let _ = (meter.at(u32::MAX, now), meter.is_idle(now), meter.state());
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Time passes, in parts of `per`.
    Pass(f64),
    /// The clock goes back by so many nanoseconds.
    Back(i64),
    /// Takes this part of what can go at once, if it may.
    Take(f64),
    /// Waits until that may go, and takes it.
    Wait(f64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0.0..0.05).prop_map(Step::Pass),
        1 => (0.0..1.5).prop_map(Step::Pass),
        1 => (0i64..200_000_000_000).prop_map(Step::Back),
        8 => (0.0..0.1).prop_map(Step::Take),
        2 => (0.0..=1.0).prop_map(Step::Take),
        4 => (0.0..0.3).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..300)
}

fn rates() -> impl Strategy<Value = Rate> {
    let per = prop_oneof![1_000u64..100_000, 1_000u64..=31 * 86_400_000];
    let points = || prop_oneof![1u32..20, 1u32..=1_000_000];
    let rate = (points(), per, prop::option::of(points())).prop_map(|(limit, per, burst)| Rate {
        limit,
        per: Duration::from_millis(per),
        burst,
    });
    rate.prop_filter("can be used", |rate| {
        QueueSettings { rate: Some(*rate), ..QueueSettings::default() }.check().is_ok()
    })
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a part"
)]
fn part(of: i128, part: f64) -> i128 {
    (of as f64 * part) as i128
}

proptest! {
    /// Whatever the times, restarts and clocks, no interval has more than the rate.
    #[test]
    fn never_more_than_the_rate(rate in rates(), steps in steps()) {
        let per = i128::try_from(rate.per.as_nanos()).unwrap();
        let mut meter = Meter::new(&rate, at(0));
        // What the clock says, the latest that it said, and the time that has passed at least since the beginning.
        let (mut now, mut latest, mut passed) = (0, 0, 0);
        let mut taken: Vec<(i128, i128)> = Vec::new();
        for step in steps {
            let wanted = match &step {
                Step::Take(of) | Step::Wait(of) => 1.max(u32::try_from(part(rate.max_points().into(), *of)).unwrap()),
                _ => 0,
            };
            let mut tick = |now: i128, meter: &mut Meter| {
                meter.sync(at(now));
                if latest - now > MAX_SKEW_NANOS {
                    latest = now;
                }
                passed += (now - latest).max(0);
                latest = latest.max(now);
            };
            match step {
                Step::Pass(of) => now += part(per, of),
                Step::Back(nanos) => now -= i128::from(nanos),
                Step::Restart => meter = restart(&meter, &rate, at(now)),
                Step::Take(_) => {}
                Step::Wait(_) => {
                    tick(now, &mut meter);
                    if let Some(earliest) = meter.at(wanted, at(now)) {
                        now = earliest.as_nanosecond() - START;
                        prop_assert_eq!(meter.at(wanted, earliest), None);
                    }
                }
            }
            tick(now, &mut meter);
            if wanted > 0 && meter.at(wanted, at(now)).is_none() {
                meter.take(wanted, at(now));
                taken.push((passed, wanted.into()));
            }
        }
        for (index, (from, _)) in taken.iter().enumerate() {
            let mut points = 0;
            for (until, more) in &taken[index..] {
                points += more;
                if let Some(burst) = rate.burst {
                    prop_assert!((points - i128::from(burst)) * per <= i128::from(rate.limit) * (until - from));
                } else {
                    prop_assert!(until - from >= per || points <= rate.limit.into());
                }
            }
        }
    }

    /// A restart makes nothing sooner, and nothing later by more than a millisecond.
    #[test]
    fn a_restart_changes_nothing(rate in rates(), takes in prop::collection::vec((0.0..0.1, 0u32..10), 0..200), points in 1u32..20) {
        let per = i128::try_from(rate.per.as_nanos()).unwrap();
        let (mut meter, mut now) = (Meter::new(&rate, at(0)), 0);
        for (of, points) in takes {
            now += part(per, of);
            if meter.at(points, at(now)).is_none() {
                meter.take(points, at(now));
            }
        }
        let restored = restart(&meter, &rate, at(now));
        let earliest = |meter: &Meter| meter.at(points, at(now)).unwrap_or(at(now)).as_nanosecond();
        let late = earliest(&restored) - earliest(&meter);
        prop_assert!((0..MILLI_NANOS).contains(&late), "{late}");
        prop_assert!(meter.state().taken.len() <= window::MAX_SLICES);
    }

    /// However much is taken, a window is never early, late by no more than it says, and exact while it has few jobs to
    /// remember.
    #[test]
    fn a_window_is_late_by_little(
        takes in prop::collection::vec((0.0..0.02, 1u32..4), 0..400), limit in 4u32..500,
    ) {
        let rate = rate(limit, 10, None);
        let per = 10 * SECOND;
        let (mut meter, mut now) = (Meter::new(&rate, at(0)), 0);
        let (mut log, mut longest): (Vec<(i128, u32)>, usize) = Default::default();
        for (of, points) in takes {
            now += part(per, of);
            if meter.at(points, at(now)).is_none() {
                meter.take(points, at(now));
                log.push((now, points));
            }
            log.retain(|(taken, _)| taken + per > now);
            let mut sum = log.iter().map(|(_, points)| points).sum::<u32>();
            let mut exact = now;
            for (taken, of_it) in &log {
                if sum + points > limit {
                    sum -= of_it;
                    exact = taken + per;
                }
            }
            let earliest = meter.at(points, at(now)).map_or(now, |at| at.as_nanosecond() - START);
            longest = longest.max(log.len());
            let most = if longest <= window::MAX_SLICES { 0 } else { per / 31 };
            prop_assert!((0..=most).contains(&(earliest - exact)), "{earliest} {exact}");
        }
    }
}
