//! What pages do without a script: forms, their previews, and where they lead.

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde_json::json;
use windlass_monitor::access::Role;

use crate::fixture::served::{Served, token_of};
use crate::fixture::{accepted, job_id};

/// Somebody who has signed in.
pub(crate) struct Browser<'a> {
    server: &'a Served,
    client: Client,
    cookie: String,
}

// === impl Browser ===

impl<'a> Browser<'a> {
    pub(crate) async fn sign_in(server: &'a Served, role: Role) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        let token = token_of(role);
        let sent = client
            .post(format!("{}/sign-in", server.url))
            .header("content-type", FORM)
            .body(format!("token={token}"));
        let cookie = sent.send().await.unwrap().headers()["set-cookie"].to_str().unwrap().to_owned();
        Self { server, client, cookie: cookie.split(';').next().unwrap().to_owned() }
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let asked = self.client.get(format!("{}{path}", self.server.url)).header("cookie", &self.cookie);
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.text().await.unwrap()
    }

    /// Sends the form of a page that goes to this address, with its own fields and these; where that leads, or the page.
    pub(crate) async fn send(
        &self,
        page: &str,
        action: &str,
        fields: &[(&str, &str)],
    ) -> Result<String, String> {
        let form = page.split("<form ").find(|form| form.contains(&format!("action=\"{action}\"")));
        let form = form
            .unwrap_or_else(|| panic!("no form goes to {action}: {page}"))
            .split("</form>")
            .next()
            .unwrap();
        let hidden = form.split("<input type=\"hidden\" name=\"").skip(1).map(|part| {
            let (name, rest) = part.split_once("\" value=\"").unwrap();
            (name, rest.split_once('"').unwrap().0)
        });
        let pairs: Vec<String> =
            hidden.chain(fields.iter().copied()).map(|(name, value)| format!("{name}={value}")).collect();
        let path = action.replace("&amp;", "&");
        let sent = self.client.post(format!("{}{path}", self.server.url)).header("content-type", FORM);
        let answer = sent.header("cookie", &self.cookie).body(pairs.join("&")).send().await.unwrap();
        match answer.headers().get("location") {
            Some(to) => Ok(to.to_str().unwrap().to_owned()),
            None => Err(answer.text().await.unwrap()),
        }
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn many_dead_letters_are_first_shown_and_then_started_again() {
    let server = Served::start_with_roles().await;
    for job in 1..=3 {
        server.dead("mail", job, "mail.send", &format!("no user {job}"), 5).await;
    }
    server.dead("web", 4, "page.get", "the page is gone", 6).await;
    let browser = Browser::sign_in(&server, Role::Operator).await;
    let groups = browser.get("/dead").await;
    assert!(
        groups.contains("4 letters in 2 groups")
            && groups.contains("no user")
            && !groups.contains("Discard…"),
        "{groups}"
    );
    let preview = browser.send(&groups, "/dead/redrive", &[]).await.unwrap_err();
    assert!(
        preview.contains("dead jobs would be started again") && preview.contains(&job_id(3).to_string()),
        "{preview}"
    );
    assert_eq!(server.commands().await, vec![], "only shown");
    let to =
        browser.send(&preview, "/dead/redrive", &[("reason", "mended"), ("rate", "1000")]).await.unwrap();
    assert!(to.starts_with("/operations/"), "{to}");
    let page = browser.get(&to).await;
    assert!(page.contains("mended") && page.contains("commands are stored"), "{page}");
    let id = to.trim_start_matches("/operations/").parse().unwrap();
    assert_eq!(server.operations.ended(id).await.unwrap().commanded, 3);
    assert!(
        server
            .commands()
            .await
            .iter()
            .all(|(verb, command)| verb == "redrive" && command.requested_by == "olga")
    );
}

#[tokio::test]
async fn one_letter_is_removed_by_an_admin_who_says_why() {
    let server = Served::start_with_roles().await;
    server.dead("mail", 1, "mail.send", "no user", 5).await;
    let browser = Browser::sign_in(&server, Role::Admin).await;
    let page = browser.get(&format!("/dead/{}?queue=mail", job_id(1))).await;
    assert!(page.contains("<details id=\"payload\">") && page.contains("no user"), "{page}");
    let action = format!("/dead/{}/discard?queue=mail", job_id(1));
    let refused = browser.send(&page, &action, &[("reason", "")]).await.unwrap_err();
    assert!(refused.contains("reason") && refused.contains("400"), "{refused}");
    assert_eq!(
        browser.send(&page, &action, &[("reason", "a+test")]).await.as_deref(),
        Ok("/dead?done=discard")
    );
    assert!(browser.get("/dead?done=discard").await.contains("The command to discard is stored"));
    assert_eq!(server.commands().await.len(), 1);
}

#[tokio::test]
async fn jobs_are_searched_for_shown_and_cancelled() {
    let mut server = Served::start_with_roles().await;
    let later = |job| windlass_core::Event {
        due_at: Some("2100-01-01T00:00:00Z".parse().unwrap()),
        ..accepted("mail", job, 0)
    };
    server.database.tell(vec![later(1), later(2), accepted("web", 3, 0)]).await;
    let browser = Browser::sign_in(&server, Role::Operator).await;
    let found = browser.get("/jobs?q=queue%3Amail+state%3Ascheduled").await;
    assert!(found.contains(&job_id(1).to_string()) && !found.contains(&job_id(3).to_string()), "{found}");
    assert!(found.contains("value=\"queue:mail state:scheduled\""), "{found}");
    let preview = browser.send(&found, "/jobs/cancel", &[]).await.unwrap_err();
    assert!(preview.contains("<strong>2</strong> jobs would be cancelled"), "{preview}");
    let one = browser.get(&format!("/jobs/{}?queue=mail", job_id(1))).await;
    let release = format!("/jobs/{}/release?queue=mail", job_id(1));
    let to = browser.send(&one, &release, &[]).await.unwrap();
    assert_eq!(to, format!("/jobs/{}?queue=mail&done=release", job_id(1)));
    assert!(browser.get(&to).await.contains("The command to run now is stored"));
    let verbs: Vec<_> = server.commands().await.into_iter().map(|(verb, _)| verb).collect();
    assert_eq!(verbs, ["release"]);
    let wrong =
        browser.client.get(format!("{}/jobs?q=colour%3Ared", server.url)).header("cookie", &browser.cookie);
    let wrong = wrong.send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert!(wrong.text().await.unwrap().contains("no word of a search"));
    let lead =
        browser.client.get(format!("{}/jobs?q={}", server.url, job_id(1))).header("cookie", &browser.cookie);
    assert_eq!(lead.send().await.unwrap().headers()["location"], format!("/jobs/{}", job_id(1)));
}

#[tokio::test]
async fn queues_are_paused_and_alerts_silenced() {
    let mut server = Served::start_with_roles().await;
    server.database.tell(vec![accepted("default", 1, 0)]).await;
    let browser = Browser::sign_in(&server, Role::Admin).await;
    let page = browser.get("/queues/default").await;
    let to = browser.send(&page, "/queues/default/pause", &[("reason", "a+migration")]).await;
    assert_eq!(to.as_deref(), Ok("/queues/default?done=pause"));
    let page = browser.get("/queues/default").await;
    assert!(page.contains("a migration") && page.contains("adam"), "{page}");
    assert!(browser.get("/queues").await.contains("paused"));
    let to = browser.send(&page, "/queues/default/resume", &[]).await;
    assert_eq!(to.as_deref(), Ok("/queues/default?done=resume"));
    let page = browser.get("/queues/default").await;
    let limits = [("concurrency", "20"), ("rate", "600%2F1m"), ("reason", "calm")];
    let to = browser.send(&page, "/queues/default/settings", &limits).await;
    assert_eq!(to.as_deref(), Ok("/queues/default?done=set"));
    let admin = format!("Bearer {}", token_of(Role::Admin));
    let set = server.until("/api/v1/queues/default", &admin, |_| true).await;
    assert_eq!(set["set"]["settings"], json!({ "concurrency": 20, "rate": { "limit": 600, "per": "1m" } }));
    let stale = browser.send(&page, "/queues/default/settings", &limits).await.unwrap_err();
    assert!(stale.contains("409"), "{stale}");
    let refused = browser
        .send(&browser.get("/queues/default").await, "/queues/default/settings", &[("rate", "fast")])
        .await;
    assert!(refused.unwrap_err().contains("as 600/1m"));

    let alerts = browser.get("/alerts").await;
    let fields = [("rule", "oldest_age"), ("for", "2h"), ("reason", "known")];
    assert_eq!(
        browser.send(&alerts, "/alerts/silences", &fields).await.as_deref(),
        Ok("/alerts?done=silence")
    );
    let alerts = browser.get("/alerts").await;
    assert!(alerts.contains("known"), "{alerts}");
    let to = browser.send(&alerts, "/alerts/silences/1/end", &[]).await;
    assert_eq!(to.as_deref(), Ok("/alerts?done=end-silence"));
}
