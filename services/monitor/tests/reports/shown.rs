//! Reports that were made by themselves, as the API and the pages show them.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use windlass_core::{Event, Transition};
use windlass_monitor::api::Api;
use windlass_monitor::reports::{Options, Reporter};

use crate::fixture::conform::conform;
use crate::fixture::served::Served;
use crate::fixture::{accepted, error, event};

/// What jobs bring stays text, in every form.
const EVIL: &str = "<script>alert(1)</script>";

#[tokio::test]
async fn the_review_of_schedules_is_one_of_them() {
    let mut server = Served::start().await;
    server.database.tell(vec![accepted("mail", 1, 0)]).await;
    let options = Options { schedules: Some("0 6 * * 1".to_owned()), ..Options::default() };
    let api = Api {
        progress: watch::channel(crate::all_read()).1,
        broker: Some(server.nats.connect("monitor").await.unwrap()),
        ..Api::of_database(server.database.store.clone())
    };
    let now: Timestamp = "2023-11-15T06:01:00Z".parse().unwrap();
    let id = "schedules-20231113T060000Z";
    assert_eq!(Reporter::new(api, options, None).round(now).await, [id]);
    let document = server.json("/api/v1/openapi.json").await;
    let bundle = server.json(&format!("/api/v1/reports/stored/{id}")).await;
    conform(&document, &json!({ "$ref": "#/components/schemas/Bundle" }), &bundle, "answer");
    assert_eq!((&bundle["count"], &bundle["collisions"]), (&json!(0), &json!([])));
    let page = reqwest::get(format!("{}/reports/{id}", server.url)).await.unwrap().text().await.unwrap();
    for words in ["Schedules that fire at the same instants", "There is none."] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test]
async fn they_are_listed_read_and_kept_as_files() {
    let mut server = Served::start().await;
    let dead = Event { error: Some(error(EVIL)), ..event("mail", 1, Transition::Dead, 1, 9) };
    server.database.tell(vec![accepted("mail", 1, 0), dead, accepted("mail", 2, 0)]).await;
    let every = || Some("0 6 * * *".to_owned());
    let options = Options { daily: every(), handoff: every(), ..Options::default() };
    let now: Timestamp = "2023-11-15T06:01:00Z".parse().unwrap();
    // Of how things stand nothing can be told without the broker: that report is tried again.
    let alone = Api {
        progress: watch::channel(crate::all_read()).1,
        ..Api::of_database(server.database.store.clone())
    };
    assert_eq!(
        Reporter::new(alone.clone(), options.clone(), None).round(now).await,
        ["daily-20231115T060000Z"]
    );
    let api = Api { broker: Some(server.nats.connect("monitor").await.unwrap()), ..alone };
    assert_eq!(Reporter::new(api, options, None).round(now).await, ["handoff-20231115T060000Z"]);

    let document = server.json("/api/v1/openapi.json").await;
    let schema = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let list = server.json("/api/v1/reports/stored").await;
    conform(&document, &schema("StoredReportList"), &list, "answer");
    let of = |list: &Value| {
        let reports = list["reports"].as_array().unwrap().iter();
        reports.map(|report| report["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&list), ["daily-20231115T060000Z", "handoff-20231115T060000Z"]);
    assert_eq!(of(&server.json("/api/v1/reports/stored?what=handoff").await), ["handoff-20231115T060000Z"]);
    assert_eq!(of(&server.json("/api/v1/reports/stored?limit=1").await).len(), 1);
    for id in of(&list) {
        let path = format!("/api/v1/reports/stored/{id}");
        let bundle = server.json(&path).await;
        conform(&document, &schema("Bundle"), &bundle, "answer");
        assert_eq!(bundle["report"]["failures"][0]["message"], EVIL);
        for (format, media, words) in [
            ("markdown", "text/markdown; charset=utf-8", "What jobs died of"),
            ("html", "text/html; charset=utf-8", "&lt;script&gt;"),
        ] {
            let response = reqwest::get(format!("{}{path}?format={format}", server.url)).await.unwrap();
            assert_eq!(response.headers()["content-type"], media);
            let attached = response.headers()["content-disposition"].to_str().unwrap().to_owned();
            assert!(attached.starts_with(&format!("attachment; filename=\"{id}.")), "{attached}");
            let text = response.text().await.unwrap();
            assert!(text.contains(words) && !text.contains(EVIL), "{text}");
        }
        let page = reqwest::get(format!("{}/reports/{id}", server.url)).await.unwrap().text().await.unwrap();
        assert!(page.contains("What jobs died of") && page.contains("&lt;script&gt;"), "{page}");
        assert!(!page.contains(EVIL), "{page}");
        // What processes take is told where the broker is there; nobody lives in this test.
        let resources = if id.starts_with("handoff") { json!([]) } else { Value::Null };
        assert_eq!(bundle["resources"], resources, "{id}");
        for heading in ["Known issues", "Schedules", "Kinds, and the workers that serve them"] {
            let told = page.contains(&format!("<h2>{heading}</h2>"));
            assert_eq!(told, id.starts_with("handoff"), "{heading}: {page}");
        }
    }
    let reports = reqwest::get(format!("{}/reports", server.url)).await.unwrap().text().await.unwrap();
    assert!(reports.contains("href=\"/reports/daily-20231115T060000Z\""), "{reports}");
    for (path, status, field) in [
        ("/api/v1/reports/stored?what=monthly", 400, Some("what")),
        ("/api/v1/reports/stored?limit=0", 400, Some("limit")),
        ("/api/v1/reports/stored/daily-20231115T060000Z?format=pdf", 400, Some("format")),
        ("/api/v1/reports/stored/daily-20231116T060000Z", 404, None),
        ("/api/v1/reports/stored/%2E%2E%2Fx", 404, None),
    ] {
        let (found, problem) = server.get(path).await;
        assert_eq!((found, problem["field"].as_str()), (status, field), "{path}: {problem}");
    }
}
