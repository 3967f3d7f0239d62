//! Schedules in a real Chromium: each action by its buttons, the calendar with a keyboard, and pages that keep up.

use reqwest::Method;
use serde_json::json;
use windlass_monitor::access::Role;

use crate::chromium::{LOOKS, sign_in, violations};
use crate::driver::{Chromium, axe};
use crate::fixture::served::{Served, token_of};
use crate::populated::populate;

#[tokio::test]
async fn schedules_are_handled_by_buttons() {
    let Some(browser) = Chromium::start().await else { return };
    let mut server = Served::start_with_roles().await;
    populate(&mut server).await;
    browser.look(&LOOKS[0]).await;
    sign_in(&browser, &server, Role::Operator).await;
    browser.open(&format!("{}/schedules", server.url)).await;
    browser.press("/").await;
    assert_eq!(browser.run("return document.activeElement.name").await, "contains");
    browser.write("input[name=contains]", "nightly").await;
    browser.click("form.filters button").await;
    browser.click("tbody th a").await;
    assert_eq!(browser.path().await, "/schedules/nightly-report");

    browser.write("form[action$='/pause'] input[name=reason]", "the warehouse moves").await;
    browser.write("form[action$='/pause'] input[name=for]", "2h").await;
    browser.click("form[action$='/pause'] button").await;
    browser.says("The schedule is paused").await;
    browser.says("the warehouse moves").await;
    browser.click("form[action$='/resume'] button").await;
    browser.says("What was paused goes on").await;
    browser.write("form[action$='/trigger'] input[name=reason]", "to see").await;
    browser.click("form[action$='/trigger'] button").await;
    browser.says("The scheduler that leads makes the job in a moment").await;

    // How a time is typed depends on the language.
    browser
        .run(
            "document.querySelector('#backfill summary').click(); \
             document.querySelector('#backfill [name=from]').value = '2023-11-10T00:00'; \
             document.querySelector('#backfill [name=until]').value = '2023-11-14T00:00'",
        )
        .await;
    browser.click("#backfill button").await;
    browser.says("4 instants would get a job").await;
    browser.picture("schedule-backfill-desktop-light").await;
    if let Some(axe) = axe() {
        assert_eq!(violations(&browser, &axe).await, [""; 0]);
    }
    browser.write(".confirm input[name=reason]", "they were lost").await;
    browser.click(".confirm button").await;
    browser.says("The backfill is stored").await;
    browser.says("backfill of 4 instants: they were lost").await;

    browser.run("document.querySelector('#delete summary').click()").await;
    browser.write("form[action$='/delete'] input[name=reason]", "not needed any more").await;
    browser.picture("schedule-acts-desktop-light").await;
    browser.click("form[action$='/delete'] button").await;
    browser.says("The schedule is deleted").await;
    browser.open(&format!("{}/log", server.url)).await;
    let log = browser.text().await;
    for action in
        ["pause schedule", "resume schedule", "trigger schedule", "backfill schedule", "delete schedule"]
    {
        assert!(log.contains(action), "{action}: {log}");
    }
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// What somebody else does is shown, and the forms then mean what is shown.
#[tokio::test]
async fn a_schedule_keeps_up_and_its_forms_with_it() {
    let Some(browser) = Chromium::start().await else { return };
    let mut server = Served::start_with_roles().await;
    populate(&mut server).await;
    browser.look(&LOOKS[0]).await;
    sign_in(&browser, &server, Role::Operator).await;
    browser.open(&format!("{}/schedules/digest", server.url)).await;
    browser.run("window.same = true").await;
    let bearer = format!("Bearer {}", token_of(Role::Admin));
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({ "reason": "said by somebody else" }).to_string();
    let paused = server.send(Method::POST, "/api/v1/schedules/digest/pause", &headers, body).await;
    assert!(paused.status().is_success());
    browser.until("document.querySelector('main').textContent.includes('said by somebody else')").await;
    browser.until("document.querySelector(\"form[action$='/resume']\")").await;
    assert_eq!(browser.run("return window.same").await, json!(true));
    browser.click("form[action$='/resume'] button").await;
    browser.says("What was paused goes on").await;
}

#[tokio::test]
async fn the_calendar_is_used_with_a_keyboard() {
    let Some(browser) = Chromium::start().await else { return };
    let mut server = Served::start_with_roles().await;
    populate(&mut server).await;
    browser.look(&LOOKS[0]).await;
    sign_in(&browser, &server, Role::Viewer).await;
    browser.open(&format!("{}/calendar", server.url)).await;
    // From the last thing before the table on.
    browser.run("document.querySelector('.turns button').focus()").await;
    browser.press("\u{e004}").await;
    let focused = browser.run("return document.activeElement.closest('table.calendar th') !== null").await;
    assert_eq!(focused, json!(true), "the days of the head come first");
    for _ in 0..7 {
        browser.press("\u{e004}").await;
    }
    let label = browser.run("return document.activeElement.getAttribute('aria-label')").await;
    assert!(label.as_str().is_some_and(|label| label.contains("fire")), "{label}");
    browser.run("window.isLeft = true").await;
    browser.press("\u{e007}").await;
    let deadline = tokio::time::Instant::now() + windlass_testkit::PATIENCE;
    while browser.run("return window.isLeft || document.readyState !== 'complete'").await == true {
        assert!(tokio::time::Instant::now() < deadline, "Enter leads nowhere");
    }
    assert!(browser.path().await.starts_with("/calendar?view=day"), "{}", browser.path().await);
    assert!(browser.run("return document.querySelector('tr:target') !== null").await == json!(true));
}
