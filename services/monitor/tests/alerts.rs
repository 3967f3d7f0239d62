//! Silences over HTTP.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the API")]
mod fixture;

use fixture::conform::conform;
use fixture::served::Served;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn an_alert_is_silenced_for_a_while_and_the_silence_ended() {
    let server = Served::start().await;
    server.database.fire("oldest_age", "mail").await;
    server.database.fire("oldest_age", "sms").await;
    let document = server.json("/api/v1/openapi.json").await;
    let silenced = async || -> Vec<(String, bool)> {
        let list = server.json("/api/v1/alerts").await;
        conform(&document, &json!({ "$ref": "#/components/schemas/AlertList" }), &list, "alerts");
        let firing = list["firing"].as_array().unwrap().iter();
        let mut all: Vec<_> = firing
            .map(|alert| (alert["subject"].as_str().unwrap().to_owned(), alert["silenced"] == true))
            .collect();
        all.sort();
        all
    };
    let both = |mail| vec![("mail".to_owned(), mail), ("sms".to_owned(), false)];
    assert_eq!(silenced().await, both(false));
    let body = json!({ "rule": "oldest_age", "subject": "mail", "for": "2h", "reason": "a backfill" });
    let answer = server.act(Method::POST, "/api/v1/alerts/silences", &body).await;
    assert_eq!(answer.status(), 201);
    let made: Value = answer.json().await.unwrap();
    conform(&document, &json!({ "$ref": "#/components/schemas/SilenceRow" }), &made, "silence");
    assert_eq!(silenced().await, both(true));
    let path = format!("/api/v1/alerts/silences/{}", made["id"]);
    assert_eq!(server.act(Method::DELETE, &path, &json!({})).await.status(), 204);
    assert_eq!(silenced().await, both(false));
    assert_eq!(server.act(Method::DELETE, &path, &json!({})).await.status(), 404);
    for (body, field) in [
        (json!({ "reason": "x" }), "for"),
        (json!({ "for": "0s", "reason": "x" }), "for"),
        (json!({ "for": "31days", "reason": "x" }), "for"),
        (json!({ "for": "soon", "reason": "x" }), "for"),
        (json!({ "for": "1h" }), "reason"),
        (json!({ "for": "1h", "reason": "x", "colour": "red" }), "colour"),
    ] {
        let refused = server.act(Method::POST, "/api/v1/alerts/silences", &body).await;
        assert_eq!(refused.status(), 400, "{body}");
        assert_eq!(refused.json::<Value>().await.unwrap()["field"], field, "{body}");
    }
}
