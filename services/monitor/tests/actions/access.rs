//! Who may do what: every route, for each role; forms of other sites and sessions; the log of actions.

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use windlass_monitor::access::Role;
use windlass_monitor::api::{Right, rights};

use crate::fixture::served::{Served, TOKEN, token_of};
use crate::fixture::{accepted, job_id};

const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Asks as a browser does, which follows nothing here.
async fn ask(server: &Served, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let method: Method = method.parse().unwrap();
    let request = client.request(method, format!("{}{path}", server.url)).body(body.to_owned());
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

/// A browser's session: its cookie and its form token.
async fn session(server: &Served, token: &str) -> (String, String) {
    let answer = ask(server, "POST", "/sign-in", &[FORM], &format!("token={token}")).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let page = ask(server, "GET", "/alerts", &[("cookie", &cookie)], "").await.text().await.unwrap();
    let form_token = page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    (cookie, form_token.to_owned())
}

/// A path that fits a route.
fn path(right: &Right) -> String {
    let id = if right.path.contains("silences") { "7".to_owned() } else { job_id(1).to_string() };
    right.path.replace("{id}", &id).replace("{name}", "mail")
}

fn is_page(right: &Right) -> bool {
    !right.path.starts_with("/api/")
}

/// Whether an answer says that who asked may not.
fn is_refused(right: &Right, answer: &Response) -> bool {
    let to_sign_in =
        answer.headers().get("location").is_some_and(|to| to.to_str().unwrap().starts_with("/sign-in?next="));
    let status = answer.status();
    status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN || (is_page(right) && to_sign_in)
}

/// Every route of the table, for each role and for nobody: who is not named there is refused, and who is, is not.
#[tokio::test]
async fn every_route_is_held_to_the_table() {
    let server = Served::start_with_roles().await;
    let all = rights();
    assert!(
        all.iter().filter(|right| right.acts).count() > 20
            && all.iter().filter(|right| right.least.is_none()).count() == 7
    );
    for right in &all {
        assert!(right.least.is_some() || !right.acts, "{right:?}");
        assert!(
            right.method == "GET" || right.acts || right.path == "/sign-in",
            "{right:?}: what is no GET is logged"
        );
        for role in [None, Some(Role::Viewer), Some(Role::Operator), Some(Role::Admin)] {
            let bearer = role.map(|role| format!("Bearer {}", token_of(role)));
            let mut headers = vec![if is_page(right) { FORM } else { JSON }];
            headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
            // Whatever else is wrong with it shows only after the guard.
            let body = if is_page(right) { "nothing=x" } else { "{\"nothing\": true}" };
            let answer = ask(&server, right.method, &path(right), &headers, body).await;
            let may = right.least.is_none() || role >= right.least;
            if right.path == "/sign-in" && right.method == "POST" {
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "the token is wrong");
                continue;
            }
            assert_eq!(!is_refused(right, &answer), may, "{right:?} for {role:?}: {answer:?}");
        }
    }
    assert_eq!(server.commands().await, vec![], "nothing of that was done");
}

/// What a browser sends by itself is not enough: not for the API, not without the form's token, not from another site.
#[tokio::test]
async fn a_session_acts_by_its_own_forms_alone() {
    let mut server = Served::start_with_roles().await;
    server.database.tell(vec![accepted("mail", 1, 0)]).await;
    let (cookie, form_token) = session(&server, &token_of(Role::Operator)).await;
    let (_, of_another) = session(&server, &token_of(Role::Operator)).await;
    let (by, path) = (("cookie", cookie.as_str()), format!("/jobs/{}/cancel", job_id(1)));
    let host = server.url.strip_prefix("http://").unwrap().to_owned();
    let ours = ("origin", server.url.as_str());
    let good = format!("form_token={form_token}&reason=wrong+region");
    for (headers, body) in [
        (vec![by, FORM], "reason=x".to_owned()),
        (vec![by, FORM], format!("form_token={of_another}")),
        (vec![by, FORM], format!("form_token={}", &form_token[1..])),
        (vec![by, FORM, ("origin", "https://evil.example")], good.clone()),
        (vec![by, FORM, ("origin", "null")], good.clone()),
        (vec![by, FORM, ours, ("sec-fetch-site", "cross-site")], good.clone()),
        (vec![FORM], good.clone()),
        // A form of another site may send text, and a browser adds the cookie to it if it does not know SameSite.
        (vec![by, ("content-type", "text/plain")], good.clone()),
        (vec![by, JSON], "{}".to_owned()),
    ] {
        let answer = ask(&server, "POST", &path, &headers, &body).await;
        assert!(answer.status().is_client_error(), "{headers:?}: {}", answer.status());
    }
    for (method, path) in [
        ("POST", format!("/api/v1/jobs/{}/cancel", job_id(1))),
        ("DELETE", "/api/v1/alerts/silences/1".to_owned()),
    ] {
        let answer = ask(&server, method, &path, &[by, JSON, ours], "{}").await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(server.commands().await, vec![]);

    let headers = [by, FORM, ours, ("sec-fetch-site", "same-origin"), ("host", &host)];
    let answer = ask(&server, "POST", &path, &headers, &good).await;
    assert_eq!(answer.headers()["location"], format!("/jobs/{}?done=cancel", job_id(1)));
    let (verb, command) = server.commands().await.pop().unwrap();
    assert_eq!(
        (verb.as_str(), command.requested_by.as_str(), command.reason.as_str()),
        ("cancel", "olga", "wrong region")
    );

    let answer = ask(&server, "POST", "/sign-out", &[by, FORM], &format!("form_token={form_token}")).await;
    assert!(answer.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    let answer = ask(&server, "POST", &path, &headers, &good).await;
    assert_eq!(
        answer.status(),
        StatusCode::UNAUTHORIZED,
        "the session has ended, though its cookie was kept"
    );
}

/// Who, what, to what, how many, and what came of it; secrets are no part of that.
#[tokio::test]
async fn every_action_is_logged() {
    let mut server = Served::start_with_roles().await;
    server.database.tell(vec![accepted("mail", 1, 0), accepted("mail", 2, 0)]).await;
    for job in [1, 2, 3] {
        server.dead("mail", job, "mail.send", "no user", 5).await;
    }
    let (cookie, form_token) = session(&server, &token_of(Role::Operator)).await;
    let form = format!("form_token={form_token}&reason=later");
    ask(
        &server,
        "POST",
        &format!("/jobs/{}/cancel?queue=mail", job_id(1)),
        &[("cookie", &cookie), FORM],
        &form,
    )
    .await;
    let admin = format!("Bearer {}", token_of(Role::Admin));
    let by = [("authorization", admin.as_str()), JSON];
    let ended = format!("/api/v1/jobs/{}/cancel", job_id(9));
    ask(&server, "POST", &ended, &by, "{}").await;
    // Only shown: nothing was done.
    ask(&server, "POST", "/api/v1/dead/discard", &by, r#"{"queue": "mail", "dry_run": true}"#).await;
    let body = json!({ "queue": "mail", "reason": "a test", "rate": 1000 }).to_string();
    let begun: Value = ask(&server, "POST", "/api/v1/dead/discard", &by, &body).await.json().await.unwrap();
    let viewer = format!("Bearer {}", token_of(Role::Viewer));
    ask(&server, "POST", "/api/v1/dead/redrive", &[("authorization", &viewer), JSON], r#"{"all": true}"#)
        .await;

    let id = begun["id"].as_str().unwrap();
    let finished = format!("operation {id} done: 3 commanded, 0 failed");
    let list = server
        .until("/api/v1/actions", &viewer, |list| list["actions"][0]["result"] == finished.as_str())
        .await;
    let actions = list["actions"].as_array().unwrap();
    let lines: Vec<_> =
        actions.iter().map(|a| (&a["who"], &a["role"], &a["action"], &a["count"], &a["result"])).collect();
    assert_eq!(
        lines,
        [
            (&json!("adam"), &json!("admin"), &json!("discard"), &json!(3), &json!(finished)),
            (
                &json!("adam"),
                &json!("admin"),
                &json!("cancel"),
                &Value::Null,
                &json!(format!("no job {} is known", job_id(9)))
            ),
            (&json!("olga"), &json!("operator"), &json!("cancel"), &json!(1), &json!("done")),
            (&json!("olga"), &json!("operator"), &json!("sign in"), &Value::Null, &json!("done")),
        ]
    );
    assert_eq!(actions[0]["target"], json!({ "queue": "mail", "rate": "1000" }));
    assert_eq!(actions[2]["target"], json!({ "id": job_id(1).to_string(), "queue": "mail" }));
    assert_eq!((&actions[0]["reason"], &actions[2]["reason"]), (&json!("a test"), &json!("later")));
    assert!(!list.to_string().contains(&form_token) && !list.to_string().contains(TOKEN), "{list}");
    let first = server.until("/api/v1/actions?limit=3", &viewer, |_| true).await;
    let next = format!("/api/v1/actions?limit=3&cursor={}", first["next_cursor"].as_str().unwrap());
    let rest = server.until(&next, &viewer, |_| true).await;
    assert_eq!(
        (rest["actions"][0]["action"].as_str(), &rest["next_cursor"]),
        (Some("sign in"), &Value::Null)
    );
    let page = ask(&server, "GET", "/log", &[("cookie", &cookie)], "").await.text().await.unwrap();
    assert!(page.contains("adam") && page.contains(&finished), "{page}");
}

/// Where it cannot be written down, nothing is done.
#[tokio::test]
async fn what_cannot_be_logged_is_not_done() {
    let mut server = Served::start_with_roles().await;
    server.database.tell(vec![accepted("mail", 1, 0)]).await;
    server.database.break_log().await;
    let bearer = format!("Bearer {}", token_of(Role::Operator));
    let path = format!("/api/v1/jobs/{}/cancel", job_id(1));
    let answer = ask(&server, "POST", &path, &[("authorization", &bearer), JSON], "{}").await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text().await.unwrap().contains("log of actions"));
    assert_eq!(server.commands().await, vec![]);
}

#[tokio::test]
async fn strangers_are_led_to_the_sign_in_page_and_back() {
    let server = Served::start_with_roles().await;
    let answer = ask(&server, "GET", "/jobs?q=state%3Adead", &[], "").await;
    assert_eq!(answer.headers()["location"], "/sign-in?next=%2Fjobs%3Fq%3Dstate%253Adead");
    let token = token_of(Role::Viewer);
    let good = format!("token={token}&next=%2Fjobs%3Fq%3Dstate%253Adead");
    let answer = ask(&server, "POST", "/sign-in", &[FORM], &good).await;
    assert_eq!(answer.headers()["location"], "/jobs?q=state%3Adead");
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; ") && !cookie.contains(&token), "{cookie}");
    let answer =
        ask(&server, "GET", "/jobs?q=state%3Adead", &[("cookie", cookie.split(';').next().unwrap())], "")
            .await;
    assert_eq!(answer.status(), StatusCode::OK);
    let page = answer.text().await.unwrap();
    assert!(page.contains("vera") && !page.contains("Cancel all that match"), "{page}");
    let elsewhere = format!("token={token}&next=%2F%2Fevil.example");
    assert_eq!(ask(&server, "POST", "/sign-in", &[FORM], &elsewhere).await.headers()["location"], "/");
    let wrong = ask(&server, "POST", "/sign-in", &[FORM], &format!("token={TOKEN}x")).await;
    assert_eq!((wrong.status(), wrong.headers().get("set-cookie")), (StatusCode::FORBIDDEN, None));
    let from_elsewhere = [FORM, ("origin", "https://evil.example")];
    assert_eq!(
        ask(&server, "POST", "/sign-in", &from_elsewhere, &good).await.status(),
        StatusCode::FORBIDDEN
    );
}
