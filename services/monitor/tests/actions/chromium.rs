//! The pages in a real Chromium: how they look, who can use them, what they do, and that they keep up by themselves.

use serde_json::json;
use windlass_core::Transition;
use windlass_monitor::access::Role;

use crate::driver::{Chromium, Look, axe, folder};
use crate::fixture::served::{Served, token_of};
use crate::fixture::{accepted, event, job_id, started};
use crate::populated::{self, LAST_CHILD, populate};

pub(crate) const LOOKS: [Look; 5] = [
    Look { name: "desktop-light", width: 1280, height: 800, scale: 1, dark: false },
    Look { name: "desktop-dark", width: 1280, height: 800, scale: 1, dark: true },
    Look { name: "phone-light", width: 375, height: 740, scale: 2, dark: false },
    Look { name: "phone-dark", width: 375, height: 740, scale: 2, dark: true },
    // 200%, as WCAG 2.2 asks for (1.4.4, 1.4.10).
    Look { name: "desktop-zoomed", width: 640, height: 400, scale: 2, dark: false },
];

pub(crate) async fn sign_in(browser: &Chromium, server: &Served, role: Role) {
    browser.open(&format!("{}/sign-in", server.url)).await;
    browser.write("input[name=token]", &token_of(role)).await;
    browser.click("main button").await;
    assert_eq!(browser.path().await, "/");
}

pub(crate) async fn violations(browser: &Chromium, axe: &str) -> Vec<String> {
    browser.run(&format!("{axe}; return 0")).await;
    let found = browser
        .run_until_done(
            "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }) \
             .then((r) => done(r.violations.map((v) => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map((n) => n.html).join(' | '))), (e) => done([String(e)]))",
        )
        .await;
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

/// Each page, on a desktop and on a phone, by day and by night and at 200%: nothing is complained of, nothing sticks out,
/// and who hears it or has only a keyboard can use it.
#[tokio::test]
async fn every_page_is_for_everybody() {
    let Some(browser) = Chromium::start().await else { return };
    let axe = axe();
    let mut server = Served::start_with_roles().await;
    populate(&mut server).await;
    browser.look(&LOOKS[0]).await;
    browser.open(&format!("{}/sign-in", server.url)).await;
    browser.picture("sign-in-desktop-light").await;
    if let Some(axe) = &axe {
        assert_eq!(violations(&browser, axe).await, [""; 0]);
    }
    sign_in(&browser, &server, Role::Admin).await;
    let tomorrow = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().tomorrow().unwrap();
    let one = |path: &str, job| format!("{path}{}?queue=mail", job_id(job));
    let pages = [
        ("overview", "/".to_owned()),
        ("overview-day", "/?range=24h".to_owned()),
        ("queues", "/queues".to_owned()),
        ("queue", "/queues/mail".to_owned()),
        ("jobs", "/jobs".to_owned()),
        ("jobs-none", "/jobs?q=kind%3Anone.such".to_owned()),
        ("job", one("/jobs/", 1)),
        ("job-running", one("/jobs/", 2)),
        ("job-unknown", one("/jobs/", 99)),
        ("dead", "/dead".to_owned()),
        ("letters", "/dead/letters".to_owned()),
        ("letter", one("/dead/", 100)),
        ("job-child", format!("/jobs/{}?queue=thumbnails", job_id(LAST_CHILD))),
        ("job-waiting", format!("/jobs/{}?queue=reports", job_id(7))),
        ("schedules", "/schedules".to_owned()),
        ("schedules-none", "/schedules?contains=nothing".to_owned()),
        ("schedule", "/schedules/nightly-report".to_owned()),
        ("schedule-paused", "/schedules/invoices?next=25".to_owned()),
        ("schedule-unknown", "/schedules/nobody".to_owned()),
        ("calendar-week", "/calendar?zone=Europe%2FBerlin".to_owned()),
        ("calendar-month", "/calendar?view=month".to_owned()),
        ("calendar-day", format!("/calendar?view=day&from={tomorrow}")),
        ("workers", "/workers".to_owned()),
        ("fleet", "/fleet".to_owned()),
        ("alerts", "/alerts".to_owned()),
        ("report", "/reports".to_owned()),
        ("report-stored", format!("/reports/{}", server.make_report().await)),
        ("operations", "/operations".to_owned()),
        ("log", "/log".to_owned()),
    ];
    let mut wrong = Vec::new();
    for (name, path) in &pages {
        for look in &LOOKS {
            if *name == "fleet" {
                // What they said is not believed for longer than half a minute.
                populated::fleet(&server).await;
            }
            browser.look(look).await;
            browser.open(&format!("{}{path}", server.url)).await;
            let place = format!("{name}-{}", look.name);
            browser.picture(&place).await;
            let sticks_out = browser
                .run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
                .await;
            if sticks_out != json!(0) {
                let which = browser
                    .run("return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest('.scroll, header nav')).slice(0, 3).map((e) => e.outerHTML.slice(0, 120))")
                    .await;
                wrong.push(format!("{place}: sticks out by {sticks_out}: {which}"));
            }
            let complaints: Vec<_> =
                browser.complaints().await.into_iter().filter(|line| !line.contains("404")).collect();
            wrong.extend(complaints.into_iter().map(|line| format!("{place}: {line}")));
            if let Some(axe) = axe.as_deref().filter(|_| look.is_checked()) {
                wrong.extend(
                    violations(&browser, axe).await.into_iter().map(|line| format!("{place}: {line}")),
                );
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong, pictures in {}:\n{}",
        wrong.len(),
        folder().display(),
        wrong.join("\n")
    );
    // With a keyboard alone.
    browser.look(&LOOKS[0]).await;
    browser.open(&format!("{}/jobs", server.url)).await;
    browser.press("\u{e004}").await;
    assert_eq!(browser.run("return document.activeElement.textContent").await, "Skip to content");
    browser.press("\u{e007}").await;
    assert_eq!(browser.run("return location.hash").await, "#main");
    browser.press("/").await;
    assert_eq!(browser.run("return document.activeElement.name").await, "q");
}

/// It is told of changes from then on.
const LOOKS_ON: &str = "document.querySelector('#live').dataset.state === 'on'";

/// What changes is shown without a reload, and what somebody writes meanwhile stays.
#[tokio::test]
async fn pages_keep_up_by_themselves() {
    let Some(browser) = Chromium::start().await else { return };
    let mut server = Served::start_with_roles().await;
    server.database.tell(vec![accepted("mail", 1, 0)]).await;
    browser.look(&LOOKS[0]).await;
    sign_in(&browser, &server, Role::Operator).await;
    browser.open(&format!("{}/jobs", server.url)).await;
    browser.until(LOOKS_ON).await;
    browser.run("window.same = true; document.querySelector('#q').value = 'state:dead'").await;
    let changed = server.database.tell_all(vec![accepted("mail", 2, 5)]).await;
    server.teller.tell(&changed);
    browser.until(&format!("document.body.textContent.includes('{}')", job_id(2))).await;
    assert_eq!(
        browser.run("return [window.same, document.querySelector('#q').value]").await,
        json!([true, "state:dead"])
    );

    browser.open(&format!("{}/jobs/{}?queue=mail", server.url, job_id(2))).await;
    browser.run("window.same = true").await;
    browser.until(LOOKS_ON).await;
    let changed = server.database.tell_all(vec![started("mail", 2, 1, 6)]).await;
    server.teller.tell(&changed);
    browser.until("document.querySelector('h1 .state').textContent === 'running'").await;
    let changed = server.database.tell_all(vec![event("mail", 2, Transition::Succeeded, 1, 9)]).await;
    server.teller.tell(&changed);
    browser.until("document.querySelector('h1 .state').textContent === 'succeeded'").await;
    assert_eq!(browser.run("return window.same").await, json!(true));
    assert_eq!(browser.complaints().await, [""; 0]);
}

/// Each action by its buttons.
#[tokio::test]
async fn people_act_by_buttons() {
    let Some(browser) = Chromium::start().await else { return };
    let mut server = Served::start_with_roles().await;
    populate(&mut server).await;
    browser.look(&LOOKS[0]).await;
    sign_in(&browser, &server, Role::Admin).await;
    let at = |path: &str| format!("{}{path}", server.url);
    let job = |path: &str, job| format!("{path}{}?queue=mail", job_id(job));

    browser.open(&at(&job("/jobs/", 2))).await;
    browser.write("form[action*='/cancel'] input[name=reason]", "wrong region").await;
    browser.click("form[action*='/cancel'] button").await;
    browser.says("The command to cancel is stored").await;
    browser.open(&at(&format!("/jobs/{}?queue=reports", job_id(3)))).await;
    browser.click("form[action*='/release'] button").await;
    browser.says("The command to run now is stored").await;
    browser.open(&at(&job("/dead/", 100))).await;
    browser.click("form[action*='/redrive'] button").await;
    assert!(browser.path().await.ends_with("done=redrive"));
    browser.open(&at(&job("/dead/", 101))).await;
    browser.write("form[action*='/discard'] input[name=reason]", "a test").await;
    browser.click("form[action*='/discard'] button").await;
    assert_eq!(browser.path().await, "/dead?done=discard");

    browser.open(&at("/dead")).await;
    browser.click("form[action='/dead/redrive'] button").await;
    browser.picture("preview-desktop-light").await;
    browser.says("9 dead jobs would be started again").await;
    browser.write(".confirm input[name=reason]", "the mailboxes are there").await;
    browser.write(".confirm input[name=rate]", "1000").await;
    browser.click(".confirm button").await;
    browser.until("document.body.textContent.includes('9 of 9 commands are stored')").await;
    browser.picture("operation-desktop-light").await;
    browser.open(&at("/dead")).await;
    browser.click("form[action='/dead/redrive'] button").await;
    browser.write(".confirm input[name=rate]", "1").await;
    browser.click(".confirm button").await;
    browser.click("form[action$='/abort'] button").await;
    browser.says("The operation was told to stop").await;

    browser.open(&at("/jobs?q=queue%3Areports")).await;
    browser.click("form[action='/jobs/cancel'] button").await;
    browser.says("4 jobs would be cancelled").await;
    browser.click(".confirm button").await;
    browser.until("document.body.textContent.includes('4 of 4 commands are stored')").await;

    browser.open(&at("/queues/default")).await;
    browser.write("form[action$='/pause'] input[name=reason]", "a migration").await;
    browser.click("form[action$='/pause'] button").await;
    browser.says("a migration").await;
    browser.write("input[name=concurrency]", "20").await;
    browser.click("form[action$='/settings'] button").await;
    assert!(browser.path().await.ends_with("done=set"));
    browser.click("form[action$='/resume'] button").await;
    browser.says("What was paused goes on").await;

    browser.open(&at("/alerts")).await;
    browser.write("form[action='/alerts/silences'] input[name=reason]", "known").await;
    browser.click("form[action='/alerts/silences'] button").await;
    browser.says("silenced").await;
    browser.click("form[action$='/end'] button").await;
    browser.says("The silence has ended").await;

    browser.open(&at("/log")).await;
    browser.picture("log-full-desktop-light").await;
    let log = browser.text().await;
    for action in [
        "cancel",
        "release",
        "redrive",
        "discard",
        "pause queue",
        "set queue",
        "resume queue",
        "silence",
        "end silence",
        "abort operation",
    ] {
        assert!(log.contains(action), "{action}: {log}");
    }
    let verbs: Vec<String> = server.commands().await.into_iter().map(|(verb, _)| verb).collect();
    let count = |verb: &str| verbs.iter().filter(|found| *found == verb).count();
    assert_eq!((count("release"), count("discard"), count("cancel")), (1, 1, 5), "{verbs:?}");
    assert!(count("redrive") >= 10, "{verbs:?}");
    // The letters' jobs are not known here.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("404")), "{complaints:?}");

    browser.click("form[action='/sign-out'] button").await;
    browser.says("You are signed out").await;
    browser.open(&at("/log")).await;
    assert!(browser.path().await.starts_with("/sign-in?next="));
}
