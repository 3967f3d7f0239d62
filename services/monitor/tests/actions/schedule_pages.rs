//! The pages of schedules, without a script: what they show, and what their forms do and refuse.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use windlass_core::JobId;
use windlass_core::schedule::{Cause, Cursor, Past, What};
use windlass_monitor::access::Role;

use crate::fixture::served::{Served, token_of};
use crate::fixture::{event, second};
use crate::pages::Browser;
use crate::populated::{apply, come};

fn schedule(id: &str, cron: &str) -> Value {
    json!({ "id": id, "kind": "report.build", "queue": "mail", "cron": cron, "zone": "Europe/Berlin", "overlap": "skip" })
}

async fn shown(server: &Served, id: &str) -> Value {
    let bearer = format!("Bearer {}", token_of(Role::Viewer));
    server.until(&format!("/api/v1/schedules/{id}"), &bearer, |_| true).await
}

#[tokio::test]
async fn the_list_teaches_is_searched_and_turned() {
    let server = Served::start_with_roles().await;
    let browser = Browser::sign_in(&server, Role::Viewer).await;
    let empty = browser.get("/schedules").await;
    assert!(
        empty.contains("There is no schedule yet") && empty.contains("windlass schedule apply"),
        "{empty}"
    );
    let many: Vec<Value> = (0..130).map(|n| schedule(&format!("many-{n:03}"), "30 2 * * *")).collect();
    apply(&server, json!(many)).await;
    apply(&server, json!([schedule("other", "0 9 * * MON-FRI")])).await;
    let admin = server.nats.connect("admin").await.unwrap();
    admin.bucket(admin.names().schedules_bucket()).put("bad", "\u{ff}".into(), None).await.unwrap();
    let first = browser.get("/schedules").await;
    assert!(first.contains("many-000") && !first.contains("many-115"), "{first}");
    assert!(first.contains("every day at 02:30") && first.contains("Europe/Berlin"), "{first}");
    let next = first.split("href=\"/schedules?cursor=").nth(1).unwrap().split('"').next().unwrap();
    let second = browser.get(&format!("/schedules?cursor={next}")).await;
    assert!(
        second.contains("many-115") && !second.contains("many-000") && second.contains("First page"),
        "{second}"
    );
    assert!(second.contains("What stands under <code>bad</code> is no valid schedule"), "{second}");
    let found = browser.get("/schedules?contains=y-12&queue=&kind=&paused=").await;
    assert_eq!(found.matches("<th scope=\"row\"").count(), 10, "{found}");
    let none = browser.get("/schedules?contains=nothing").await;
    assert!(none.contains("No schedule matches"), "{none}");
    let paused = browser.get("/schedules?paused=true").await;
    assert!(paused.contains("No schedule matches"), "{paused}");
    let words = browser.get("/schedules?contains=other").await;
    assert!(words.contains("Monday to Friday at 09:00"), "{words}");
}

#[tokio::test]
async fn one_is_shown_with_its_instants_in_its_zone_and_the_jobs_of_its_past() {
    let mut server = Served::start_with_roles().await;
    let pretty = json!({ "region": "<eu>" });
    let mut nightly = schedule("nightly", "30 2 * * *");
    nightly["payload"] = pretty;
    apply(&server, json!([nightly])).await;
    let fired =
        |at, cause| Past { instant: second(at), at: second(at + 2), what: What::Fired(cause), count: 1 };
    let missed = Past { instant: second(-9000), at: second(-4000), what: What::Missed, count: 3 };
    let recent = vec![missed, fired(0, Cause::Rule), fired(86_400, Cause::Rule)];
    come(&server, "nightly", &Cursor { fires: 2, misfires: 3, recent, ..Cursor::at(second(86_400)) }).await;
    let id = "nightly".parse().unwrap();
    let (dead, unknown) = (JobId::of_fire(&id, second(0)), JobId::of_fire(&id, second(86_400)));
    let mut end = event("mail", 0, windlass_core::Transition::Dead, 1, 9);
    end.job_id = dead;
    server.database.tell(vec![end]).await;
    let browser = Browser::sign_in(&server, Role::Viewer).await;
    let page = browser.get("/schedules/nightly").await;
    for part in [
        "every day at 02:30",
        "&#60;eu&#62;",
        "3 in a row",
        &format!("/jobs/{dead}?queue=mail"),
        &format!("/jobs/{unknown}?queue=mail"),
        "not known here",
        "02:30:00 CE",
        "created: as agreed",
        "olga",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<form method=\"post\" action=\"/schedules/"), "a viewer does nothing: {page}");
    assert_eq!(page.matches("data-label=\"From now\"").count(), 10, "{page}");
    let more = browser.get("/schedules/nightly?next=25").await;
    assert_eq!(more.matches("data-label=\"From now\"").count(), 25);
    let list = browser.get("/schedules").await;
    assert!(list.contains("1 did not succeed, 1 made a job that is not known, 1 missed"), "{list}");
}

#[tokio::test]
async fn one_is_paused_resumed_triggered_made_up_for_and_deleted_by_its_forms() {
    let server = Served::start_with_roles().await;
    apply(&server, json!([schedule("nightly", "30 2 * * *")])).await;
    let browser = Browser::sign_in(&server, Role::Operator).await;
    let first = browser.get("/schedules/nightly").await;
    let fields = [("reason", "moving"), ("for", "2h"), ("until", "")];
    let to = browser.send(&first, "/schedules/nightly/pause", &fields).await;
    assert_eq!(to.as_deref(), Ok("/schedules/nightly?done=pause-schedule"));
    let paused = browser.get(&to.unwrap()).await;
    assert!(paused.contains("moving") && paused.contains("The schedule is paused"), "{paused}");
    // What was shown has been changed since: nothing is done.
    for (form, fields) in [
        ("pause", &[("reason", "again")][..]),
        ("trigger", &[]),
        ("backfill", &[("from", "2023-11-10T00%3A00")]),
        ("delete", &[("reason", "x")]),
    ] {
        let refused = browser.send(&first, &format!("/schedules/nightly/{form}"), fields).await.unwrap_err();
        assert!(refused.contains("409") && refused.contains("revision"), "{form}: {refused}");
    }
    let to = browser.send(&paused, "/schedules/nightly/resume", &[]).await;
    assert_eq!(to.as_deref(), Ok("/schedules/nightly?done=resume"));
    let page = browser.get("/schedules/nightly").await;
    let until = [("until", "2099-01-01T00%3A30")];
    assert!(browser.send(&page, "/schedules/nightly/pause", &until).await.is_ok());
    assert_eq!(shown(&server, "nightly").await["paused_until"], "2099-01-01T00:30:00Z");
    let page = browser.get("/schedules/nightly").await;
    assert_eq!(
        browser.send(&page, "/schedules/nightly/trigger", &[("reason", "to+see")]).await.as_deref(),
        Ok("/schedules/nightly?done=trigger")
    );
    let page = browser.get("/schedules/nightly").await;
    let range = [
        ("from", "2023-11-10T00%3A00"),
        ("until", "2023-11-12T12%3A00"),
        ("which", "missing"),
        ("concurrency", "2"),
    ];
    let preview = browser.send(&page, "/schedules/nightly/backfill", &range).await.unwrap_err();
    assert!(preview.contains("<strong>3</strong> instants would get a job"), "{preview}");
    assert!(preview.contains("2023-11-12 01:30:00 UTC"), "{preview}");
    assert_eq!(shown(&server, "nightly").await["edits"].as_array().unwrap().len(), 5, "only shown");
    let to = browser.send(&preview, "/schedules/nightly/backfill", &[("reason", "lost")]).await;
    assert_eq!(to.as_deref(), Ok("/schedules/nightly?done=backfill"));
    let edits = shown(&server, "nightly").await["edits"].clone();
    let what: Vec<_> = edits.as_array().unwrap().iter().map(|edit| edit["what"].as_str().unwrap()).collect();
    assert_eq!(what[what.len() - 2..], ["triggered: to see", "backfill of 3 instants: lost"]);
    let page = browser.get("/schedules/nightly").await;
    let wrong = browser.send(&page, "/schedules/nightly/backfill", &[("from", "noon")]).await.unwrap_err();
    assert!(wrong.contains("from") && wrong.contains("400"), "{wrong}");
    let to = browser.send(&page, "/schedules/nightly/delete", &[("reason", "over")]).await;
    assert_eq!(to.as_deref(), Ok("/schedules?done=delete-schedule"));
    assert!(browser.get("/schedules").await.contains("There is no schedule yet"));
    let log = browser.get("/log").await;
    for action in
        ["pause schedule", "resume schedule", "trigger schedule", "backfill schedule", "delete schedule"]
    {
        assert!(log.contains(action), "{action}: {log}");
    }
    assert!(log.contains("olga") && log.contains("has the revision"), "{log}");
}

#[tokio::test]
async fn the_calendar_tells_what_fires_and_what_fires_together() {
    let server = Served::start_with_roles().await;
    let all = json!([
        schedule("a", "0 9 * * *"),
        schedule("b", "0 9 * * *"),
        { "id": "often", "kind": "k", "every": "1m" },
    ]);
    apply(&server, all).await;
    let bearer = format!("Bearer {}", token_of(Role::Viewer));
    let document = server.until("/api/v1/openapi.json", &bearer, |_| true).await;
    let tomorrow = Timestamp::now().to_zoned(TimeZone::UTC).date().tomorrow().unwrap();
    let path = format!("/api/v1/calendar?from={tomorrow}&days=3&zone=Europe%2FBerlin");
    let found = server.until(&path, &bearer, |_| true).await;
    let schema = &document["paths"]["/api/v1/calendar"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    crate::conform(&document, schema, &found, "answer");
    assert_eq!(found["days"][0]["hours"], json!([{ "hour": 9, "fires": 2, "at_once": 2 }]));
    assert_eq!(
        (&found["collisions_count"], &found["collisions"][0]["schedules"]),
        (&json!(3), &json!(["a", "b"]))
    );
    assert_eq!(found["frequent"], json!([{ "id": "often", "shortest_seconds": 60 }]));
    for (query, field) in
        [("zone=Mars", "zone"), ("days=0", "days"), ("days=43", "days"), ("from=soon", "from")]
    {
        let path = format!("/api/v1/calendar?{query}");
        let answer = server.send(reqwest::Method::GET, &path, &[("authorization", &bearer)], "").await;
        assert_eq!(answer.status().as_u16(), 400, "{query}");
        assert_eq!(answer.json::<Value>().await.unwrap()["field"], field, "{query}");
    }
    let browser = Browser::sign_in(&server, Role::Viewer).await;
    let week = browser.get("/calendar?zone=Europe%2FBerlin").await;
    assert!(week.contains("2 fires, 2 at one instant") && week.contains("every 1 min"), "{week}");
    let day = browser.get(&format!("/calendar?view=day&from={tomorrow}&zone=Europe%2FBerlin")).await;
    assert!(day.contains("id=\"h09\"") && day.contains("09:00:00") && day.contains("/schedules/b"), "{day}");
    let month = browser.get(&format!("/calendar?view=month&from={tomorrow}")).await;
    assert!(month.contains("Fires by the day, UTC") && month.contains("2 at once"), "{month}");
    assert_eq!(month.matches("class=\"date\"").count(), 35);
}
