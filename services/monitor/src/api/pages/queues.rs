//! Queues, and one of them.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;
use serde_json::{Map, Value};
use windlass_broker::queues::{QueueStore, Stored};
use windlass_broker::why::State as QueueState;
use windlass_core::JobState;
use windlass_core::flow::Pause;

use super::super::access::{Fields, Operator, Viewer};
use super::super::body::Body;
use super::super::query::{Parameters, RawPath, RawQuery};
use super::super::{Api, Problem, queues};
use super::chart::Chart;
use super::frame::Frame;
use super::overview::charts;
use super::span::{SPANS, Span};
use super::{shown, words};
use crate::store::QueueCounts;

#[derive(Template)]
#[template(path = "queues.html")]
struct QueuesPage {
    frame: Frame,
    queues: Vec<Row>,
    /// What is set cannot be read just now.
    is_blind: bool,
}

/// A queue in the list.
struct Row {
    counts: QueueCounts,
    paused: Option<Pause>,
    /// What is set, in words.
    limits: Vec<String>,
}

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    frame: Frame,
    name: String,
    span: Span,
    charts: Vec<Chart>,
    counts: Option<QueueCounts>,
    state: Result<QueueState, Problem>,
    fields: Vec<Field>,
}

/// A setting in the form.
pub(super) struct Field {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    value: String,
    choices: &'static [&'static str],
}

pub(in crate::api) async fn list(State(api): State<Api>, viewer: Viewer, raw: RawQuery) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/queues").noticing(raw);
    let page = async {
        super::super::query::none(raw)?;
        let set = settings(&api).await;
        let mut known: BTreeMap<String, QueueCounts> =
            api.store.queues(frame.now).await?.into_iter().map(|queue| (queue.name.clone(), queue)).collect();
        // A queue that was set may have had no job yet.
        for stored in set.iter().flatten() {
            let name = stored.queue.to_string();
            known.entry(name.clone()).or_insert_with(|| QueueCounts {
                name,
                counts: BTreeMap::new(),
                oldest_queued_age_seconds: None,
            });
        }
        let row = |counts: QueueCounts| {
            let stored = set.iter().flatten().find(|stored| stored.queue.as_str() == counts.name);
            let settings = stored.map(|stored| &stored.change.settings);
            let paused = settings.and_then(|settings| settings.paused.clone());
            let limits = settings.map(|settings| limits(&serde_json::to_value(settings).unwrap_or_default()));
            Row { counts, paused, limits: limits.unwrap_or_default() }
        };
        let is_blind = set.is_none();
        Ok(QueuesPage { frame: frame.follows(""), queues: known.into_values().map(row).collect(), is_blind })
    };
    shown(page.await, &viewer)
}

/// What is set for all queues; none where it cannot be read.
async fn settings(api: &Api) -> Option<Vec<Stored>> {
    let broker = api.operations.as_ref()?.broker();
    let listed = tokio::time::timeout(LIST_TIMEOUT, QueueStore::new(broker).list()).await;
    match listed {
        Ok(Ok(all)) => Some(all),
        Ok(Err(error)) => {
            tracing::warn!(
                error = format!("{:#}", anyhow::Error::new(error)),
                "the queues' settings cannot be read"
            );
            None
        }
        Err(_) => None,
    }
}

/// To read what is set.
const LIST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Settings as short words, but for pauses.
fn limits(settings: &Value) -> Vec<String> {
    let members = settings.as_object().into_iter().flatten();
    let others = members.filter(|(name, _)| !name.starts_with("paused"));
    others.map(|(name, value)| format!("{}: {}", name.replace('_', " "), setting(value))).collect()
}

/// A setting's value as the form takes it.
fn setting(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Object(rate) if rate.contains_key("per") => {
            let burst = rate.get("burst").map(|burst| format!("+{burst}")).unwrap_or_default();
            let per = rate.get("per").and_then(Value::as_str).unwrap_or_default();
            format!("{}/{per}{burst}", rate.get("limit").unwrap_or(&Value::Null))
        }
        Value::Object(weights) => {
            let weights = weights.get("weights").and_then(Value::as_object).into_iter().flatten();
            weights.map(|(name, weight)| format!("{name}={weight}")).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The settings that a form changes. What else stands there stays.
fn fields(settings: &Value) -> Vec<Field> {
    let value = |name: &str| settings.get(name).map(setting).unwrap_or_default();
    let field = |name, label, hint, choices| Field { name, label, hint, value: value(name), choices };
    vec![
        field("concurrency", "Jobs at a time", "over the fleet, 1 to 100000", &[]),
        field("key_concurrency", "Jobs of one key at a time", "1 to 10000", &[]),
        field("rate", "Rate", "as 600/1m, or 10/1s+20 with a burst", &[]),
        field("key_rate", "Rate of one key", "as 10/1s", &[]),
        field("order", "Order of a key's jobs", "as they come, or one after the other", &["fifo"]),
        field("priorities", "Priorities", "what they count for", &["weighted", "strict"]),
        field("outcome_ttl", "Ends are remembered", "as 5m; only where nothing else is set", &[]),
    ]
}

pub(in crate::api) async fn one(
    State(api): State<Api>,
    viewer: Viewer,
    path: RawPath,
    raw: RawQuery,
) -> Response {
    let (frame, raw) = Frame::new(&viewer.0, "/queues").noticing(raw);
    let page = async {
        let span = Span::read(raw)?;
        let name = path.as_ref().map(|path| path.0.clone()).unwrap_or_default();
        let parts = span.parts(frame.now);
        let counts = api.store.queues(frame.now).await?.into_iter().find(|queue| queue.name == name);
        let asked = queues::get(State(api.clone()), path, Ok(Query(Vec::new()))).await.map(|state| state.0);
        let state = match asked {
            // Known here, or not at all.
            Err(refused) if refused.status != 503 && counts.is_none() => return Err(refused),
            asked => asked,
        };
        let set = state.as_ref().ok().and_then(|state| state.set.as_ref());
        let settings =
            set.map(|set| serde_json::to_value(&set.settings).unwrap_or_default()).unwrap_or_default();
        let course = api.store.course_of(parts, Some(&name)).await?;
        Ok(QueuePage {
            frame: frame.follows(format!("queue={name}")),
            charts: charts(&course, parts.minutes),
            span,
            counts,
            fields: fields(&settings),
            state,
            name,
        })
    };
    shown(page.await, &viewer)
}

pub(in crate::api) async fn pause(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    fields: Fields,
) -> Response {
    let to = back(&path, "pause");
    super::done(queues::pause(State(api), operator, path, raw, Body((&fields).into())).await, &to, &viewer)
}

pub(in crate::api) async fn resume(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    fields: Fields,
) -> Response {
    let to = back(&path, "resume");
    super::done(queues::resume(State(api), operator, path, raw, Body((&fields).into())).await, &to, &viewer)
}

pub(in crate::api) async fn set(
    State(api): State<Api>,
    viewer: Viewer,
    operator: Operator,
    path: RawPath,
    raw: RawQuery,
    form: Fields,
) -> Response {
    let to = back(&path, "set");
    let outcome = match patch(&form) {
        Ok(body) => queues::set(State(api), operator, path, raw, Body(body)).await,
        Err(refused) => Err(refused),
    };
    super::done(outcome, &to, &viewer)
}

fn back(path: &RawPath, done: &str) -> String {
    let name = path.as_ref().map(|path| path.0.as_str()).unwrap_or_default();
    format!("/queues/{}?done={done}", super::super::query::encoded(name))
}

/// A form's settings as the body that the API takes: an empty field clears its setting.
fn patch(form: &Fields) -> Result<Parameters, Problem> {
    let names: Vec<_> = fields(&Value::Null).into_iter().map(|field| field.name).collect();
    let mut settings = Map::new();
    let mut others = Vec::new();
    for (name, text) in form.0.iter() {
        let text = text.trim();
        if !names.contains(&name.as_str()) {
            others.push((name.clone(), text.to_owned()));
            continue;
        }
        let value = match name.as_str() {
            _ if text.is_empty() => Value::Null,
            "rate" | "key_rate" => rate(name, text)?,
            "order" | "priorities" | "outcome_ttl" => text.into(),
            _ => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
        };
        settings.insert(name.clone(), value);
    }
    let mut body = Parameters::from(&Fields(others.into()));
    body.give("settings", Value::Object(settings));
    Ok(body)
}

/// As `600/1m` or `10/1s+20`.
fn rate(name: &str, text: &str) -> Result<Value, Problem> {
    let bad = || Problem::bad(name, format!("{name}: is no rate"), "as 600/1m, or 10/1s+20 with a burst");
    let (limit, rest) = text.split_once('/').ok_or_else(bad)?;
    let (per, burst) = rest.split_once('+').map_or((rest, None), |(per, burst)| (per, Some(burst)));
    let mut rate = Map::new();
    rate.insert("limit".to_owned(), limit.trim().parse::<u64>().map_err(|_| bad())?.into());
    rate.insert("per".to_owned(), per.trim().into());
    if let Some(burst) = burst {
        rate.insert("burst".to_owned(), burst.trim().parse::<u64>().map_err(|_| bad())?.into());
    }
    Ok(Value::Object(rate))
}

// === impl QueuePage ===

impl QueuePage {
    fn pause(&self) -> Option<&Pause> {
        self.state.as_ref().ok()?.set.as_ref()?.settings.paused.as_ref()
    }

    fn revision(&self) -> u64 {
        self.state.as_ref().map_or(0, |state| state.revision)
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "templates pass references")]
    fn count(&self, state: &JobState) -> u64 {
        self.counts.as_ref().and_then(|queue| queue.counts.get(state.as_str()).copied()).unwrap_or_default()
    }
}

// === impl Row ===

impl Row {
    fn count(&self, state: JobState) -> u64 {
        self.counts.counts.get(state.as_str()).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_short_words_and_read_back() {
        let settings = json!({
            "concurrency": 20, "rate": {"limit": 600, "per": "1m"}, "key_rate": {"limit": 10, "per": "1s", "burst": 20},
            "fairness": {"weights": {"acme": 4}}, "paused": {"reason": "x", "by": "ada", "at": "2026-11-23T08:00:00Z"},
        });
        assert_eq!(
            limits(&settings),
            ["concurrency: 20", "fairness: acme=4", "key rate: 10/1s+20", "rate: 600/1m"]
        );
        let text = |name: &str| fields(&settings).into_iter().find(|field| field.name == name).unwrap().value;
        for name in ["rate", "key_rate"] {
            assert_eq!(rate(name, &text(name)).unwrap(), settings[name]);
        }
        for bad in ["600", "x/1m", "1/1s+x"] {
            assert_eq!(rate("rate", bad).unwrap_err().field.as_deref(), Some("rate"), "{bad}");
        }
    }

    #[test]
    fn an_empty_field_clears_its_setting() {
        let pairs = [
            ("concurrency", "20"),
            ("rate", ""),
            ("order", "fifo"),
            ("reason", "calm"),
            ("expected_revision", "7"),
        ];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let mut body = patch(&Fields(Arc::new(pairs))).unwrap();
        let settings = body.object("settings").unwrap().unwrap();
        assert_eq!(Value::Object(settings), json!({"concurrency": 20, "rate": null, "order": "fifo"}));
        assert_eq!(body.number("expected_revision", 0, 9).unwrap(), Some(7));
        assert_eq!(body.reason().unwrap(), "calm");
        assert!(body.end("").is_ok());
    }
}
