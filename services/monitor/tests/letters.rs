//! Dead letters over HTTP, as a real broker has them.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "shared with the tests of the projection")]
mod fixture;

use fixture::conform::conform;
use fixture::served::Served;
use fixture::{job_id, second};
use serde_json::{Value, json};
use windlass_core::fingerprint::fingerprint;
use windlass_proto::v1;

fn ids(list: &Value) -> Vec<String> {
    list["letters"].as_array().unwrap().iter().map(|l| l["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn letters_are_filtered_paged_and_grouped() {
    let server = Served::start().await;
    // More than one batch of reads.
    for job in 0..300 {
        let (queue, kind) = if job % 3 == 0 { ("mail", "mail.send") } else { ("web", "page.get") };
        let reason =
            if job % 50 == 0 { "the disk is full".to_owned() } else { format!("no user {job} in 'eu'") };
        server.dead(queue, job, kind, &reason, i64::try_from(job).unwrap()).await;
    }
    // Later letters replace earlier ones, and stand at the end.
    server.dead("web", 1, "page.get", "no user 1 in 'us'", 1000).await;
    let (user, disk) =
        (fingerprint("handler", "no user 5 in 'x'"), fingerprint("handler", "the disk is full"));

    let count = async |query: &str| ids(&server.json(&format!("/api/v1/dead?limit=500&{query}")).await).len();
    assert_eq!(count("").await, 300);
    assert_eq!(count("queue=mail").await, 100);
    assert_eq!(count("kind=page.get").await, 200);
    assert_eq!(count("code=handler&contains=DISK").await, 6);
    assert_eq!(count("code=panic").await, 0);
    assert_eq!(count("code=card_declined").await, 0);
    assert_eq!(count(&format!("fingerprint={disk}")).await, 6);
    assert_eq!(count(&format!("since={}&until={}", second(290), second(295))).await, 5);

    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.json(&format!("/api/v1/dead?queue=web&limit=70{cursor}")).await;
        seen.extend(ids(&page));
        // What is stored between two pages comes at the end.
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 200);
    assert_eq!(seen.first(), Some(&job_id(2).to_string()));
    assert_eq!(seen.last(), Some(&job_id(1).to_string()));

    let groups = server.json("/api/v1/dead/groups").await;
    let found: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|g| &g["count"]).collect();
    assert_eq!((found, &groups["next_cursor"]), (vec![&json!(294), &json!(6)], &Value::Null));
    let largest = &groups["groups"][0];
    assert_eq!(largest["fingerprint"], user);
    assert_eq!(largest["first_dead_at"], second(2).to_string());
    assert_eq!(largest["last_dead_at"], second(1000).to_string());
    assert_eq!(largest["sample"]["id"], job_id(1).to_string());
}

#[tokio::test]
async fn one_letter_has_all_that_is_known_as_the_document_says() {
    let server = Served::start().await;
    server.dead("mail", 1, "mail.send", "no user 7", 5).await;
    server.dead("mail", 2, "mail.send", "no user 8", 6).await;
    server.dead("web", 2, "page.get", "no page", 7).await;
    let document = server.json("/api/v1/openapi.json").await;
    let (one, two, none) = (job_id(1), job_id(2), job_id(3));
    for (route, path, status) in [
        ("/api/v1/dead", "/api/v1/dead".to_owned(), 200),
        ("/api/v1/dead", "/api/v1/dead?fingerprint=7".to_owned(), 400),
        ("/api/v1/dead/groups", "/api/v1/dead/groups".to_owned(), 200),
        ("/api/v1/dead/{id}", format!("/api/v1/dead/{one}"), 200),
        ("/api/v1/dead/{id}", format!("/api/v1/dead/{two}?queue=web"), 200),
        ("/api/v1/dead/{id}", format!("/api/v1/dead/{two}"), 409),
        ("/api/v1/dead/{id}", format!("/api/v1/dead/{none}"), 404),
        ("/api/v1/dead/{id}", "/api/v1/dead/7".to_owned(), 400),
    ] {
        let (found, value) = server.get(&path).await;
        assert_eq!(found, status, "{path}: {value}");
        let content = &document["paths"][route]["get"]["responses"][status.to_string()]["content"];
        let (place, content_type) = if status == 200 {
            ("answer", "application/json")
        } else {
            ("problem", "application/problem+json")
        };
        conform(&document, &content[content_type]["schema"], &value, place);
    }
    let letter = server.json(&format!("/api/v1/dead/{one}")).await;
    assert_eq!(letter["payload"], json!({"n": 7}));
    assert_eq!(letter["redrivable"], true);
    assert_eq!(letter["fingerprint"], fingerprint("handler", "no user 1"));
    assert_eq!(letter["attempts"][0]["error"]["fingerprint"], letter["fingerprint"]);
}

/// A terminal failure's letter says so; it is found by what its handler said as well.
#[tokio::test]
async fn a_letter_is_found_by_the_code_of_its_last_error() {
    let server = Served::start().await;
    let error =
        |code: &str| v1::JobError { code: code.to_owned(), terminal: true, ..v1::JobError::default() };
    let attempt = |number, code| v1::Attempt {
        number,
        ended_at: Some(windlass_proto::instant(second(5))),
        outcome: v1::Outcome::Failed.into(),
        error: Some(error(code)),
        ..v1::Attempt::default()
    };
    let letter = v1::DeadLetter {
        code: "terminal_error".to_owned(),
        attempts: vec![attempt(1, "network"), attempt(2, "card_declined")],
        claimed_id: job_id(8).to_string(),
        ..v1::DeadLetter::default()
    };
    server.letter("mail", 1, letter).await;
    server.dead("mail", 2, "mail.send", "no user 8", 6).await;
    let expected = vec![job_id(1).to_string()];
    for (query, found) in [
        ("code=card_declined", true),
        ("code=terminal_error", true),
        ("code=network", false),
        (&*format!("contains={}", job_id(8)), true),
    ] {
        let list = server.json(&format!("/api/v1/dead?{query}")).await;
        assert_eq!(ids(&list), if found { expected.clone() } else { Vec::new() }, "{query}");
        if found {
            let row = &list["letters"][0];
            assert_eq!(
                (&row["code"], &row["error_code"]),
                (&json!("terminal_error"), &json!("card_declined"))
            );
            assert_eq!(row["claimed_id"], job_id(8).to_string());
        }
    }
}
