use super::*;
use jiff::Timestamp;
use proptest::prelude::*;

fn read(json: &str) -> QueueSettings {
    serde_json::from_str(json).unwrap()
}

fn pause() -> Pause {
    Pause {
        reason: "migration".into(),
        by: "ada".into(),
        at: Timestamp::UNIX_EPOCH,
        until: None,
        hand_back: false,
    }
}

fn rate() -> Rate {
    Rate { limit: 100, per: Duration::from_secs(60), burst: None }
}

#[test]
fn nothing_set_is_not_controlled() {
    let settings = read("{}");
    assert_eq!(settings, QueueSettings::default());
    assert!(!settings.is_controlled() && settings.check().is_ok());
    assert_eq!(serde_json::to_string(&settings).unwrap(), "{}");
    assert_eq!((settings.key_limit(), settings.fifo(), settings.weight_of("acme")), (None, None, 1));
}

#[test]
fn how_long_ends_are_kept_is_no_control() {
    let settings = read(r#"{"outcome_ttl": "1s"}"#);
    assert_eq!(settings.outcome_ttl, Some(Duration::from_secs(1)));
    assert!(!settings.is_controlled() && settings.check().is_ok());
    assert_eq!(serde_json::to_string(&settings).unwrap(), r#"{"outcome_ttl":"1s"}"#);
    for (ttl, is_valid) in [("999ms", false), ("366days", true), ("367days", false)] {
        let settings = read(&format!(r#"{{"outcome_ttl": "{ttl}"}}"#));
        let invalid = settings.check().err().map(|error| error.field);
        assert_eq!(invalid, (!is_valid).then(|| "outcome_ttl".to_owned()), "{ttl}");
    }
    assert!(serde_json::from_str::<QueueSettings>(r#"{"outcome_ttl": "soon"}"#).is_err());
}

#[test]
fn each_setting_belongs_to_its_stage() {
    let at = r#"{"reason": "r", "by": "b", "at": "2026-11-23T08:00:00Z"}"#;
    for (json, key_stage, turn_stage) in [
        (r#"{"concurrency": 1}"#, false, true),
        (r#"{"priorities": "strict"}"#, false, true),
        (r#"{"fairness": {}}"#, false, true),
        (r#"{"rate": {"limit": 1, "per": "1s"}}"#, false, true),
        (&format!(r#"{{"paused": {at}}}"#), false, true),
        (&format!(r#"{{"paused_kinds": {{"mail.send": {at}}}}}"#), false, true),
        (&format!(r#"{{"paused_keys": {{"k": {at}}}}}"#), true, false),
        (r#"{"key_concurrency": 1}"#, true, false),
        (r#"{"order": "fifo"}"#, true, false),
        (r#"{"key_rate": {"limit": 1, "per": "1s"}}"#, true, false),
        (r#"{"order": "any", "at_limit": "hold", "priorities": "ignored"}"#, false, false),
    ] {
        let settings = read(json);
        assert_eq!((settings.has_key_stage(), settings.has_turn_stage()), (key_stage, turn_stage), "{json}");
        assert_eq!(settings.is_controlled(), key_stage || turn_stage, "{json}");
        assert!(settings.check().is_ok(), "{json}");
    }
}

#[test]
fn what_they_say() {
    let settings = read(
        r#"{"order": "fifo", "on_dead": "skip", "at_limit": "cancel_oldest", "fairness": {"weights": {"acme": 4}},
            "key_rate": {"limit": 100, "per": "1h 30m", "burst": 20}}"#,
    );
    assert!(settings.check().is_ok());
    assert_eq!((settings.key_limit(), settings.fifo()), (Some(1), Some(OnDead::Skip)));
    assert_eq!((settings.weight_of("acme"), settings.weight_of("other")), (4, 1));
    let rate = settings.key_rate.unwrap();
    assert_eq!((rate.per, rate.max_points()), (Duration::from_secs(5400), 20));
    assert_eq!(Rate { burst: None, ..rate }.max_points(), 100);
    assert_eq!(read(r#"{"order": "fifo"}"#).fifo(), Some(OnDead::Block));
}

#[test]
fn what_is_of_no_known_form_is_refused() {
    for json in [
        r#"{"concurency": 1}"#,
        r#"{"concurrency": -1}"#,
        r#"{"order": "lifo"}"#,
        r#"{"rate": {"limit": 1}}"#,
        r#"{"rate": {"limit": 1, "per": 60}}"#,
        r#"{"rate": {"limit": 1, "per": "soon"}}"#,
        r#"{"rate": {"limit": 1, "per": "1s", "window": true}}"#,
        r#"{"fairness": {"weight": {}}}"#,
        r#"{"paused": true}"#,
        r#"{"paused_kinds": {"a b": {"reason": "", "by": "", "at": "2026-11-23T08:00:00Z"}}}"#,
    ] {
        assert!(serde_json::from_str::<QueueSettings>(json).is_err(), "{json}");
    }
}

/// One value at each bound, and the first one beyond it.
#[test]
fn what_cannot_be_used_is_named() {
    type Set = fn(&mut QueueSettings);
    let check = |field: &str, set: Set| {
        let mut settings = QueueSettings::default();
        set(&mut settings);
        let found = settings.check().map_err(|error| error.field);
        assert_eq!(found, if field.is_empty() { Ok(()) } else { Err(field.to_owned()) });
    };

    check("", |s| s.concurrency = Some(100_000));
    check("concurrency", |s| s.concurrency = Some(100_001));
    check("concurrency", |s| s.concurrency = Some(0));
    check("", |s| s.key_concurrency = Some(10_000));
    check("key_concurrency", |s| s.key_concurrency = Some(10_001));
    check("key_concurrency", |s| s.key_concurrency = Some(0));
    check("", |s| (s.order, s.key_concurrency) = (Order::Fifo, Some(1)));
    check("key_concurrency", |s| (s.order, s.key_concurrency) = (Order::Fifo, Some(2)));
    check("on_dead", |s| s.on_dead = Some(OnDead::Block));
    check("at_limit", |s| s.at_limit = AtLimit::Reject);
    check("at_limit", |s| (s.at_limit, s.rate) = (AtLimit::CancelNew, Some(rate())));
    check("", |s| (s.at_limit, s.key_concurrency) = (AtLimit::CancelNew, Some(1)));
    check("", |s| (s.at_limit, s.concurrency) = (AtLimit::CancelOldest, Some(1)));

    check("", |s| s.rate = Some(Rate { limit: 1_000_000, per: LONGEST_PER, burst: Some(1_000_000) }));
    check("rate.limit", |s| s.rate = Some(Rate { limit: 0, ..rate() }));
    check("key_rate.limit", |s| s.key_rate = Some(Rate { limit: 1_000_001, ..rate() }));
    check("", |s| s.rate = Some(Rate { per: SHORTEST_PER, ..rate() }));
    check("rate.per", |s| s.rate = Some(Rate { per: Duration::from_millis(999), ..rate() }));
    check("rate.per", |s| s.rate = Some(Rate { per: Duration::MAX, ..rate() }));
    check("key_rate.burst", |s| s.key_rate = Some(Rate { burst: Some(0), ..rate() }));
    check("", |s| s.rate = Some(Rate { limit: 1, per: Duration::from_secs(86_400), burst: Some(366) }));
    check("rate.burst", |s| {
        s.rate = Some(Rate { limit: 1, per: Duration::from_secs(86_400), burst: Some(367) });
    });

    check("fairness.weights.acme", |s| {
        s.fairness = Some(Fairness { weights: [("acme".into(), 0)].into() });
    });
    check("fairness.weights.acme", |s| {
        s.fairness = Some(Fairness { weights: [("acme".into(), 1001)].into() });
    });
    check("fairness.weights", |s| s.fairness = Some(Fairness { weights: [(String::new(), 1)].into() }));
    check("paused_keys", |s| s.paused_keys = [("k".repeat(257), pause())].into());
    check("", |s| s.paused_keys = [("k".repeat(256), pause())].into());
    check("paused.reason", |s| s.paused = Some(Pause { reason: "r".repeat(257), ..pause() }));
    check("paused_keys.k.by", |s| {
        s.paused_keys = [("k".into(), Pause { by: "\x1b".into(), ..pause() })].into();
    });
}

#[test]
fn entries_are_counted() {
    let check = |field: &str, max: usize, set: &dyn Fn(&mut QueueSettings, usize)| {
        let mut settings = QueueSettings::default();
        set(&mut settings, max);
        assert_eq!(settings.check(), Ok(()));
        set(&mut settings, max + 1);
        assert_eq!(settings.check().unwrap_err().field, field);
    };
    check("fairness.weights", 1000, &|s, entries| {
        s.fairness = Some(Fairness { weights: (0..entries).map(|n| (n.to_string(), 1)).collect() });
    });
    check("paused_keys", 1000, &|s, entries| {
        s.paused_keys = (0..entries).map(|n| (n.to_string(), pause())).collect();
    });
    check("paused_kinds", 100, &|s, entries| {
        s.paused_kinds = (0..entries).map(|n| (format!("k{n}").parse().unwrap(), pause())).collect();
    });
    // Each entry is as it must be, and all of them are too much for one value.
    let big = Pause { reason: "\"".repeat(256), by: "b".repeat(128), ..pause() };
    let settings = QueueSettings {
        paused_keys: (0..1000).map(|n| (format!("{n:0>256}"), big.clone())).collect(),
        ..QueueSettings::default()
    };
    assert_eq!(settings.check().unwrap_err().field, "settings");
}

#[test]
fn a_refusal_says_what_was_expected() {
    let settings = read(r#"{"rate": {"limit": 100, "per": "32days"}}"#);
    assert_eq!(settings.check().unwrap_err().to_string(), "rate.per: is 768h: expected 1s to 31 days");
    let long = QueueSettings { paused_keys: [("k".repeat(10_000), pause())].into(), ..read("{}") };
    assert!(long.check().unwrap_err().to_string().len() < 200);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(limit in 1u32..=1_000_000, nanos in 0u64..=31 * 86_400_000_000_000, burst: Option<u32>) {
        let rate = Rate { limit, per: Duration::from_nanos(nanos), burst };
        let settings = QueueSettings {
            rate: Some(rate), order: Order::Fifo, on_dead: Some(OnDead::Skip), paused: Some(pause()),
            ..QueueSettings::default()
        };
        let json = serde_json::to_string(&settings).unwrap();
        prop_assert_eq!(read(&json), settings, "{}", json);
    }
}
