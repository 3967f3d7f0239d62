//! Sign-in by OpenID Connect, with a real provider and the monitor's own HTTP interface.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "oidc/browser.rs"]
mod browser;
#[allow(dead_code, reason = "shared with the tests of the API")]
mod fixture;
#[path = "oidc/provider.rs"]
mod provider;

use browser::{Browser, location};
use fixture::served::{Served, TOKEN, token_in_file};
use fixture::{accepted, job_id};
use provider::{CLIENT, Fault, Provider, SECRET};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use windlass_monitor::access::oidc::{Oidc, Options, Roles};
use windlass_monitor::access::{self, Access, Anonymous};
use windlass_service::Secret;

/// A monitor where the provider's groups `staff`, `ops` and `root` have roles, and one token is known too.
async fn monitor(provider: &Provider) -> Served {
    let words = |word: &str| vec![word.to_owned()];
    let options = Options {
        issuer: provider.url.clone(),
        client_id: CLIENT.to_owned(),
        client_secret: Some(Secret::new(SECRET)),
        roles: Roles { viewer: words("staff"), operator: words("ops"), admin: words("root") },
        audiences: words("windlass-api"),
        ..Options::default()
    };
    Served::start_as(|url| {
        let access = access::Options { anonymous: Some(Anonymous::Nobody), ..access::Options::default() };
        let oidc = Oidc::new(&options, url).unwrap();
        let token = Some(token_in_file(TOKEN));
        Access::new(&access, token, Some(oidc), Some(url), "127.0.0.1:0".parse().unwrap()).unwrap()
    })
    .await
}

/// What a page says, if it is this status.
async fn page(response: Response, status: StatusCode) -> String {
    let found = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    text
}

/// Asks the API with a token.
async fn ask(server: &Served, method: Method, path: &str, token: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let response = server.send(method, path, &headers, "{}").await;
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_person_signs_in_acts_under_their_name_and_signs_out() {
    let provider = Provider::start().await;
    provider.person("olga@example.com", &["everybody", "ops"]);
    let mut server = monitor(&provider).await;
    server.database.tell(vec![accepted("mail", 1, 0)]).await;
    let mut browser = Browser::new(&server.url);
    // Whoever is not known is led to the page that leads to the provider, and back to what was wanted.
    let wanted = browser.get("/jobs?q=queue%3Amail").await;
    let offered = page(browser.get(&location(&wanted)).await, StatusCode::OK).await;
    let link = offered.split("href=\"").find(|part| part.starts_with("/sign-in/oidc?")).unwrap();
    let begun = browser.get(link.split('"').next().unwrap()).await;
    let attempt = begun.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        attempt.starts_with("windlass-oidc=") && attempt.contains("HttpOnly; SameSite=Lax; Max-Age=600"),
        "{attempt}"
    );
    assert!(!location(&begun).contains(SECRET) && !attempt.contains(SECRET));
    let back = browser.at_provider(&location(&begun)).await;
    let answer = browser.get(&back).await;
    assert_eq!(location(&answer), "/jobs?q=queue%3Amail");
    let cookies: Vec<_> =
        answer.headers().get_all("set-cookie").iter().map(|set| set.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("windlass-oidc=; ") && cookies[0].contains("Max-Age=0"), "{cookies:?}");
    assert!(cookies[1].starts_with("windlass=oidc~operator~"), "{cookies:?}");
    assert!(cookies[1].contains("; HttpOnly; SameSite=Lax; Max-Age=43200"), "{cookies:?}");
    let shown = page(browser.get("/jobs").await, StatusCode::OK).await;
    assert!(shown.contains("olga@example.com") && shown.contains("operator"), "{shown}");

    let (path, form_token) = (format!("/jobs/{}/cancel", job_id(1)), browser.form_token().await);
    page(browser.post(&path, "reason=x").await, StatusCode::FORBIDDEN).await;
    let done = browser.post(&path, &format!("form_token={form_token}&reason=wrong")).await;
    assert_eq!(done.status(), StatusCode::SEE_OTHER);
    let (verb, command) = server.commands().await.pop().unwrap();
    assert_eq!((verb.as_str(), command.requested_by.as_str()), ("cancel", "olga@example.com"));
    let (_, log) = ask(&server, Method::GET, "/api/v1/actions", TOKEN).await;
    let actions = log["actions"].as_array().unwrap();
    let lines: Vec<_> = actions.iter().map(|line| (&line["who"], &line["role"], &line["action"])).collect();
    let (who, role) = (json!("olga@example.com"), json!("operator"));
    assert_eq!(lines, [(&who, &role, &json!("cancel")), (&who, &role, &json!("sign in"))]);
    assert_eq!(actions[1]["target"]["subject"], "subject-of-olga@example.com");

    let kept = browser.cookies.clone();
    let over = browser.post("/sign-out", &format!("form_token={form_token}")).await;
    let farewell = page(browser.get(&location(&over)).await, StatusCode::OK).await;
    assert!(
        farewell.contains("signed out") && farewell.contains("/realms/main/logout?client_id=windlass"),
        "{farewell}"
    );
    browser.cookies = kept;
    assert!(
        location(&browser.get("/jobs").await).starts_with("/sign-in?"),
        "the session is over though its cookie was kept"
    );
}

#[tokio::test]
async fn whoever_has_no_role_here_is_told_so() {
    let provider = Provider::start().await;
    provider.person("eve@example.com", &["everybody", "ops<script>"]);
    let server = monitor(&provider).await;
    let mut browser = Browser::new(&server.url);
    let refused = page(browser.sign_in("/").await, StatusCode::FORBIDDEN).await;
    for words in ["eve@example.com", "groups", "monitor.oidc.roles"] {
        assert!(refused.contains(words), "{refused}");
    }
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    let (status, problem) = ask(&server, Method::GET, "/api/v1/queues", &provider.token(json!({}))).await;
    assert_eq!(status, 403, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("eve@example.com"), "{problem}");
    for (group, acts) in [("staff", StatusCode::FORBIDDEN), ("root", StatusCode::SEE_OTHER)] {
        provider.person("adam@example.com", &[group]);
        let mut browser = Browser::new(&server.url);
        assert_eq!(browser.sign_in("/").await.status(), StatusCode::SEE_OTHER, "{group}");
        let form = format!("form_token={}&concurrency=3&reason=x", browser.form_token().await);
        let set = browser.post("/queues/mail/settings", &form).await;
        assert_eq!(set.status(), acts, "{group}: {}", set.text().await.unwrap());
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_lets_nobody_in() {
    let provider = Provider::start().await;
    provider.person("ada@example.com", &["root"]);
    let server = monitor(&provider).await;
    for (fault, words) in [
        (Fault::Signature, "signature is wrong"),
        (Fault::Audience, "for somebody else (aud)"),
        (Fault::Nonce, "answers another sign-in (nonce)"),
        (Fault::Issuer, "of another issuer (iss)"),
        (Fault::Expired, "has expired"),
        (Fault::Unsigned, "no JSON Web Token that is signed in a way known here"),
        (Fault::Symmetric, "signed by HS256"),
        (Fault::OtherClient, "made for another client (azp)"),
    ] {
        provider.fail_by(fault);
        let mut browser = Browser::new(&server.url);
        let refused = page(browser.sign_in("/").await, StatusCode::FORBIDDEN).await;
        assert!(refused.contains(words), "{fault:?}: {refused}");
        assert!(browser.cookies.is_empty(), "{fault:?}: {:?}", browser.cookies);
        if matches!(fault, Fault::Nonce | Fault::OtherClient) {
            continue;
        }
        let (status, problem) = ask(&server, Method::GET, "/api/v1/queues", &provider.token(json!({}))).await;
        assert_eq!(status, 401, "{fault:?}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{fault:?}: {problem}");
    }
    provider.fail_by(Fault::None);
    assert_eq!(Browser::new(&server.url).sign_in("/").await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn an_answer_belongs_to_one_sign_in_of_one_browser() {
    let provider = Provider::start().await;
    provider.person("ada@example.com", &["root"]);
    let server = monitor(&provider).await;
    let stray = async |browser: &mut Browser, path: &str| {
        let text = page(browser.get(path).await, StatusCode::BAD_REQUEST).await;
        assert!(text.contains("not begun in this browser"), "{text}");
        assert!(!browser.cookies.contains_key("windlass"));
    };
    // Another's answer, in a browser that has begun nothing, or something else (CSRF on the callback).
    let mut evil = Browser::new(&server.url);
    let address = evil.begin("/").await;
    let back = evil.at_provider(&address).await;
    let mut victim = Browser::new(&server.url);
    stray(&mut victim, &back).await;
    victim.begin("/").await;
    stray(&mut victim, &back).await;
    stray(&mut victim, "/sign-in/oidc/callback").await;
    // Used once, though its cookie was kept and the code is a new one.
    let kept = evil.cookies.clone();
    assert_eq!(evil.get(&back).await.status(), StatusCode::SEE_OTHER);
    let again = evil.at_provider(&address).await;
    evil.cookies.clone_from(&kept);
    stray(&mut evil, &again).await;
    // The answer of another provider (RFC 9207).
    let mut browser = Browser::new(&server.url);
    let address = browser.begin("/").await;
    let back = browser.at_provider(&address).await;
    let mixed = format!("{}&iss=https%3A%2F%2Fanother.example.com", back.split("&iss=").next().unwrap());
    stray(&mut browser, &mixed).await;
    // Without PKCE's verifier a code is worth nothing: here it is another sign-in's.
    let mut browser = Browser::new(&server.url);
    let (address, other) = (browser.begin("/").await, Browser::new(&server.url).begin("/").await);
    let challenge = |address: &str| {
        let part = address.split('&').find(|part| part.starts_with("code_challenge=")).unwrap();
        part.to_owned()
    };
    let back = browser.at_provider(&address.replace(&challenge(&address), &challenge(&other))).await;
    let refused = page(browser.get(&back).await, StatusCode::FORBIDDEN).await;
    assert!(refused.contains("invalid_grant wrong code_verifier"), "{refused}");
    // What the provider says is shown as words.
    provider.fail_by(Fault::Denied);
    let refused = page(Browser::new(&server.url).sign_in("/").await, StatusCode::FORBIDDEN).await;
    assert!(refused.contains("access_denied") && refused.contains("you may not"), "{refused}");
    assert!(!refused.contains("<b>"), "{refused}");
}

#[tokio::test]
async fn a_sign_in_goes_on_that_was_begun_in_another_tab() {
    let provider = Provider::start().await;
    provider.person("ada@example.com", &["root"]);
    let server = monitor(&provider).await;
    let mut browser = Browser::new(&server.url);
    let older = browser.begin("/").await;
    let newer = browser.begin("/").await;
    let back = browser.at_provider(&older).await;
    assert_eq!(browser.get(&back).await.status(), StatusCode::BAD_REQUEST);
    let back = browser.at_provider(&newer).await;
    assert_eq!(browser.get(&back).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn who_has_no_role_is_led_out_of_the_provider_to_be_another() {
    let provider = Provider::start().await;
    provider.person("nadia@example.com", &["others"]);
    let server = monitor(&provider).await;
    let refused = page(Browser::new(&server.url).sign_in("/").await, StatusCode::FORBIDDEN).await;
    assert!(refused.contains("sign out there too"), "{refused}");
    // A monitor that has not asked the provider yet, as after a restart, does so for who has signed out.
    let later = monitor(&provider).await;
    let left = page(Browser::new(&later.url).get("/sign-in?done=sign-out").await, StatusCode::OK).await;
    assert!(left.contains("sign out there too"), "{left}");
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let provider = Provider::start().await;
    provider.person("ada@example.com", &["staff"]);
    let server = monitor(&provider).await;
    for (next, leads) in [
        ("%2Fdead%3Fqueue%3Dmail", "/dead?queue=mail"),
        ("https%3A%2F%2Fevil.example", "/"),
        ("%2F%2Fevil.example", "/"),
        ("%2F%5Cevil.example", "/"),
        ("%2Fx%0D%0ALocation%3A%20https%3A%2F%2Fevil.example", "/"),
        ("%2Fsign-in%2Foidc", "/"),
        ("", "/"),
    ] {
        let mut browser = Browser::new(&server.url);
        assert_eq!(location(&browser.sign_in(next).await), leads, "{next}");
    }
}

#[tokio::test]
async fn the_provider_changes_its_keys() {
    let provider = Provider::start().await;
    provider.person("ada@example.com", &["staff"]);
    let server = monitor(&provider).await;
    let before = provider.token(json!({}));
    assert_eq!(ask(&server, Method::GET, "/api/v1/queues", &before).await.0, 200);
    provider.change_key();
    assert_eq!(Browser::new(&server.url).sign_in("/").await.status(), StatusCode::SEE_OTHER);
    assert_eq!(ask(&server, Method::GET, "/api/v1/queues", &provider.token(json!({}))).await.0, 200);
    let (status, problem) = ask(&server, Method::GET, "/api/v1/queues", &before).await;
    assert_eq!(status, 401, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("no key"), "{problem}");
}

/// That the keys of before are good keeps nobody from asking for another, once the provider is back.
#[tokio::test]
async fn the_provider_changes_its_keys_while_it_is_away() {
    let mut provider = Provider::start().await;
    provider.person("ada@example.com", &["staff"]);
    let server = monitor(&provider).await;
    assert_eq!(ask(&server, Method::GET, "/api/v1/queues", &provider.token(json!({}))).await.0, 200);
    provider.stop().await;
    provider.change_key();
    let token = provider.token(json!({}));
    let (status, problem) = ask(&server, Method::GET, "/api/v1/queues", &token).await;
    assert_eq!(status, 503, "the provider may have it: {problem}");
    provider.start_again().await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while ask(&server, Method::GET, "/api/v1/queues", &token).await.0 != 200 {
        assert!(tokio::time::Instant::now() < deadline, "it is not asked");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn programs_show_tokens_of_the_provider() {
    let provider = Provider::start().await;
    provider.person("robot@example.com", &["ops"]);
    let mut server = monitor(&provider).await;
    server.database.tell(vec![accepted("mail", 1, 0)]).await;
    let path = format!("/api/v1/jobs/{}/cancel", job_id(1));
    let api = provider.token(json!({ "aud": ["account", "windlass-api"] }));
    assert_eq!(ask(&server, Method::POST, &path, &api).await.0, 202);
    let (verb, command) = server.commands().await.pop().unwrap();
    assert_eq!((verb.as_str(), command.requested_by.as_str()), ("cancel", "robot@example.com"));
    // A name that is not verified is not shown, and a role that is not enough is refused.
    let mut weak = json!({ "email_verified": false, "groups": "staff", "sub": "operator" });
    let (status, problem) = ask(&server, Method::POST, &path, &provider.token(weak.take())).await;
    assert_eq!(status, 403, "{problem}");
    assert!(problem["detail"].as_str().unwrap().starts_with("oidc:operator is viewer"), "{problem}");
    for (token, words) in [
        (provider.token(json!({ "aud": "account" })), "(aud)"),
        (provider.token(json!({ "exp": 1_700_000_000 })), "expired"),
        (provider.token(json!({ "nbf": 9_700_000_000_u64 })), "(nbf)"),
        (provider.token(json!({ "sub": null })), "no `sub`"),
        (format!("{}AAAAAAAA", &api[..api.len() - 8]), "signature"),
        ("a.b.c".to_owned(), "JSON Web Token"),
        ("no-token-at-all".to_owned(), "monitor.oidc"),
    ] {
        let (status, problem) = ask(&server, Method::GET, "/api/v1/queues", &token).await;
        assert_eq!(status, 401, "{words}: {problem}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(words) && !detail.contains(&token), "{words}: {detail}");
    }
    assert_eq!(server.commands().await.len(), 1);
}

#[tokio::test]
async fn a_provider_that_is_away_hurts_nobody_who_does_not_need_it() {
    let mut provider = Provider::start().await;
    provider.person("olga@example.com", &["ops"]);
    let server = monitor(&provider).await;
    let mut known = Browser::new(&server.url);
    assert_eq!(known.sign_in("/").await.status(), StatusCode::SEE_OTHER);
    provider.stop().await;
    // Another monitor, which starts while the provider is away.
    let later = monitor(&provider).await;
    for server in [&server, &later] {
        assert_eq!(ask(server, Method::GET, "/api/v1/queues", TOKEN).await.0, 200);
    }
    assert_eq!(known.get("/jobs").await.status(), StatusCode::OK, "the session holds");
    // What the first has learnt holds on.
    assert_eq!(ask(&server, Method::GET, "/api/v1/queues", &provider.token(json!({}))).await.0, 200);
    let (status, problem) = ask(&later, Method::GET, "/api/v1/queues", &provider.token(json!({}))).await;
    assert_eq!(status, 503, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("cannot be asked just now"), "{problem}");
    let mut browser = Browser::new(&later.url);
    let refused = page(browser.get("/sign-in/oidc?next=%2Fjobs").await, StatusCode::BAD_GATEWAY).await;
    assert!(refused.contains("cannot be asked just now") && refused.contains("name=\"token\""), "{refused}");
    provider.start_again().await;
    let deadline = tokio::time::Instant::now() + windlass_testkit::PATIENCE;
    loop {
        let begun = browser.get("/sign-in/oidc?next=%2Fjobs").await;
        if begun.status() == StatusCode::SEE_OTHER {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{begun:?}");
    }
    assert_eq!(location(&browser.sign_in("%2Fjobs").await), "/jobs");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_or_is_another_is_told_in_words() {
    let mut provider = Provider::start().await;
    provider.fail_by(Fault::Discovery);
    let server = monitor(&provider).await;
    let refused = page(Browser::new(&server.url).get("/sign-in/oidc").await, StatusCode::BAD_GATEWAY).await;
    assert!(
        refused.contains("https://another.example.com") && refused.contains("monitor.oidc.issuer"),
        "{refused}"
    );
    // It takes connections, and says nothing.
    provider.stop().await;
    let silent = tokio::net::TcpListener::bind(provider.address).await.unwrap();
    let server = monitor(&provider).await;
    let mut browser = Browser::new(&server.url);
    let (waiting, meanwhile) =
        tokio::join!(browser.get("/sign-in/oidc"), ask(&server, Method::GET, "/api/v1/queues", TOKEN));
    assert_eq!(meanwhile.0, 200);
    let refused = page(waiting, StatusCode::BAD_GATEWAY).await;
    assert!(refused.contains("no answer within 5 s"), "{refused}");
    drop(silent);
}
