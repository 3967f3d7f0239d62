//! The fleet: its processes and how it does.

use std::collections::BTreeMap;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::response::Response;

use super::super::access::Viewer;
use super::super::query::RawQuery;
use super::super::schema::{Fleet, Instance};
use super::super::{Api, fleet};
use super::frame::Frame;
use super::{shown, words};

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    fleet: Fleet,
    /// How many run each version.
    versions: BTreeMap<String, u64>,
}

pub(in crate::api) async fn page(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let asked = fleet::get(State(api), raw).await;
    let page = asked.map(|Json(fleet)| {
        let mut versions = BTreeMap::new();
        for instance in &fleet.instances {
            *versions.entry(instance.version.clone()).or_default() += 1;
        }
        FleetPage { frame: Frame::new(&viewer.0, "/fleet").every(5), fleet, versions }
    });
    shown(page, &viewer)
}

/// What the service does, where none of it is there.
fn lacks(service: &str) -> &'static str {
    match service {
        "dispatcher" => "tasks wait, and nothing is retried, cancelled or started again",
        "scheduler" => "no schedule fires",
        "worker" => "jobs wait",
        _ => "this one lacks the right to say so",
    }
}

/// For how long it lives.
fn since(at: &jiff::Timestamp, now: &jiff::Timestamp) -> String {
    words::duration(&now.duration_since(*at).as_secs_f64().max(0.0))
}

/// Bytes in one unit.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
#[allow(clippy::cast_precision_loss, reason = "for people")]
fn bytes(bytes: &u64) -> String {
    match *bytes as f64 {
        few if few < 1e3 => format!("{few:.0} B"),
        some if some < 1e6 => format!("{:.0} kB", some / 1e3),
        some if some < 1e9 => format!("{:.0} MB", some / 1e6),
        many => format!("{:.1} GB", many / 1e9),
    }
}

/// A share of a core.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
fn cores(cores: &f64) -> String {
    if *cores < 0.0005 { "0%".to_owned() } else { format!("{:.1}%", cores * 100.0) }
}

/// A metric's name in words, without what all have.
fn metric(name: &str) -> String {
    let words = [
        ("windlass_tasks_admitted_total", "tasks admitted"),
        ("windlass_tasks_rejected_total", "rejected"),
        ("windlass_commands_total", "commands"),
        ("windlass_scheduler_leader", "leads"),
        ("windlass_scheduler_fires_total", "fires"),
        ("windlass_scheduler_misfires_total", "misfires"),
        ("windlass_monitor_events_total", "events stored"),
        ("windlass_monitor_lag_messages", "messages behind"),
    ];
    let found = words.iter().find(|(known, _)| *known == name);
    found.map_or_else(|| name.to_owned(), |(_, words)| (*words).to_owned())
}

/// What an instance tells of itself besides, but what is 0.
fn told(instance: &Instance) -> Vec<(String, String)> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts")]
    let count = |value: f64| words::count(&(value.round().max(0.0) as u64));
    let told = instance.metrics.iter().filter(|(_, value)| **value > 0.0);
    told.map(|(name, value)| {
        let value = if name == "windlass_scheduler_leader" { String::new() } else { count(*value) };
        (metric(name), value)
    })
    .collect()
}

// === impl FleetPage ===

impl FleetPage {
    fn resident(&self) -> Option<u64> {
        self.fleet.instances.iter().filter_map(|instance| instance.resident_bytes).reduce(|a, b| a + b)
    }

    fn cores(&self) -> Option<f64> {
        self.fleet.instances.iter().filter_map(|instance| instance.cpu_cores).reduce(|a, b| a + b)
    }

    fn slots(&self) -> (u64, u64) {
        let sum = |of: fn(&Instance) -> Option<u32>| {
            self.fleet.instances.iter().filter_map(of).map(u64::from).sum::<u64>()
        };
        (sum(|instance| instance.running), sum(|instance| instance.slots))
    }

    fn unready(&self) -> usize {
        self.fleet.instances.iter().filter(|instance| !instance.ready).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_short() {
        for (value, expected) in
            [(7, "7 B"), (15_000, "15 kB"), (23_400_000, "23 MB"), (1_500_000_000, "1.5 GB")]
        {
            assert_eq!(bytes(&value), expected);
        }
        assert_eq!(
            (cores(&0.0).as_str(), cores(&0.034).as_str(), cores(&1.5).as_str()),
            ("0%", "3.4%", "150.0%")
        );
    }
}
