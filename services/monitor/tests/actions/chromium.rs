//! The pages in a real Chromium: how they look, who can use them, what they do, and that they keep up by themselves.

use prost::Message as _;
use serde_json::json;
use windlass_core::told::{LogLevel, LogLine, Progress};
use windlass_core::{Event, Transition};
use windlass_monitor::access::Role;
use windlass_monitor::store::Message;
use windlass_proto::v1;

use crate::driver::{Chromium, Look, axe, folder};
use crate::fixture::served::{Served, token_of};
use crate::fixture::{accepted, error, event, job_id, started};

const LOOKS: [Look; 5] = [
    Look { name: "desktop-light", width: 1280, height: 800, scale: 1, dark: false },
    Look { name: "desktop-dark", width: 1280, height: 800, scale: 1, dark: true },
    Look { name: "phone-light", width: 375, height: 740, scale: 2, dark: false },
    Look { name: "phone-dark", width: 375, height: 740, scale: 2, dark: true },
    // 200%, as WCAG 2.2 asks for (1.4.4, 1.4.10).
    Look { name: "desktop-zoomed", width: 640, height: 400, scale: 2, dark: false },
];

/// What happened in the last hour: jobs in every state.
fn histories(now: i64) -> Vec<Event> {
    let mut events = Vec::new();
    for job in 1000..1240u64 {
        let n = i64::try_from(job - 1000).unwrap();
        let at = now - 3500 + n * 14;
        let queue = ["mail", "reports", "thumbnails"][usize::try_from(n % 3).unwrap()];
        let run = 1 + (n * 7) % 9;
        events.push(accepted(queue, job, at));
        events.push(started(queue, job, 1, at + 1 + n % 3));
        let end = at + 1 + n % 3 + run;
        let failed = Event {
            error: Some(error("connection to 10.0.0.7:5432 refused")),
            ..event(queue, job, Transition::Retried, 1, end)
        };
        match n % 20 {
            7 => {
                events.push(Event { due_at: Some(crate::fixture::second(end + 5)), ..failed });
                events.push(started(queue, job, 2, end + 6));
                events.push(event(queue, job, Transition::Succeeded, 2, end + 8));
            }
            13 => {
                let dead = event(queue, job, Transition::Dead, 1, end);
                events.push(Event { error: Some(error(&format!("no mailbox for user {job}"))), ..dead });
            }
            17 => events.push(event(queue, job, Transition::Cancelled, 1, end)),
            _ => events.push(event(queue, job, Transition::Succeeded, 1, end)),
        }
    }
    // One with a history worth looking at, one that runs, some that wait.
    events.push(accepted("mail", 1, now - 90));
    for (attempt, at) in [(1, now - 88), (2, now - 60), (3, now - 20)] {
        events.push(started("mail", 1, attempt, at));
        let failed = Event {
            error: Some(error("connection to 10.0.0.7:5432 refused\n  caused by: no route to host")),
            due_at: Some(crate::fixture::second(at + 24)),
            ..event("mail", 1, Transition::Retried, attempt, at + 4 * i64::from(attempt))
        };
        events.push(if attempt < 3 {
            failed
        } else {
            Event { due_at: None, ..event("mail", 1, Transition::Succeeded, 3, at + 9) }
        });
    }
    let last = events.last_mut().unwrap();
    last.result = Some(br#"{"sent": 3, "to": ["ada@example.com", "bob@example.com"]}"#.to_vec());
    events.extend([accepted("mail", 2, now - 40), started("mail", 2, 1, now - 38)]);
    let later = |job, seconds| Event {
        due_at: Some(crate::fixture::second(now + seconds)),
        ..accepted("reports", job, now - 30)
    };
    events.extend([
        later(3, 3600),
        later(4, 7200),
        accepted("thumbnails", 5, now - 25),
        accepted("thumbnails", 6, now - 12),
    ]);
    events
}

/// A fleet's history of the last hour: jobs in every state, letters, an alert, workers.
async fn populate(server: &mut Served) {
    let now = jiff::Timestamp::now().as_second() - 1_700_000_000;
    let events = histories(now);
    let line = |sequence, level, message: &str, at| LogLine {
        job_id: job_id(1),
        queue: "mail".parse().unwrap(),
        attempt: 3,
        sequence,
        at: crate::fixture::second(at),
        level,
        message: message.to_owned(),
    };
    let message = Message {
        sequence: 1,
        events,
        progress: vec![Progress {
            job_id: job_id(2),
            queue: "mail".parse().unwrap(),
            attempt: 1,
            fraction: Some(0.6),
            note: "6 of 10 pages".to_owned(),
            at: crate::fixture::second(now - 5),
        }],
        lines: vec![
            line(1, LogLevel::Info, "connecting to smtp.example.com", now - 19),
            line(2, LogLevel::Warn, "the server asks to slow down", now - 18),
            line(3, LogLevel::Info, "sent 3 messages", now - 12),
        ],
    };
    server.database.store.apply(vec![message]).await.unwrap();
    for job in 0..9 {
        server.dead("mail", 100 + job, "mail.send", &format!("no mailbox for user {job}"), now - 600).await;
    }
    for job in 0..3 {
        server
            .dead("reports", 200 + job, "report.build", "connection to 10.0.0.7:5432 refused", now - 300)
            .await;
    }
    server.database.fire("oldest_age", "thumbnails").await;
    let worker = server.nats.connect("worker").await.unwrap();
    let bucket = worker.bucket(worker.names().workers_bucket());
    for (id, running, draining, stuck) in
        [("worker-one-4711-9f3c2a10", 7, false, 0), ("worker-two-4712-1b2c3d4e", 2, true, 0)]
    {
        let info = v1::WorkerInfo {
            id: id.to_owned(),
            pool: "default".to_owned(),
            queues: vec!["mail".to_owned(), "reports".to_owned()],
            kinds: vec!["mail.send".to_owned(), "report.build".to_owned(), "http.request".to_owned()],
            slots: 8,
            running,
            version: "0.1.0".to_owned(),
            host: "host-a".to_owned(),
            draining,
            stuck,
            ..v1::WorkerInfo::default()
        };
        bucket
            .put(
                &worker.names().worker_key(&windlass_core::PoolName::default(), id),
                info.encode_to_vec().into(),
                None,
            )
            .await
            .unwrap();
    }
}

async fn sign_in(browser: &Chromium, server: &Served, role: Role) {
    browser.open(&format!("{}/sign-in", server.url)).await;
    browser.write("input[name=token]", &token_of(role)).await;
    browser.click("main button").await;
    assert_eq!(browser.path().await, "/");
}

async fn violations(browser: &Chromium, axe: &str) -> Vec<String> {
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
        ("workers", "/workers".to_owned()),
        ("alerts", "/alerts".to_owned()),
        ("report", "/reports".to_owned()),
        ("report-stored", format!("/reports/{}", server.make_report().await)),
        ("operations", "/operations".to_owned()),
        ("log", "/log".to_owned()),
    ];
    let mut wrong = Vec::new();
    for (name, path) in &pages {
        for look in &LOOKS {
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
    browser.says("2 jobs would be cancelled").await;
    browser.click(".confirm button").await;
    browser.until("document.body.textContent.includes('2 of 2 commands are stored')").await;

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
    assert_eq!((count("release"), count("discard"), count("cancel")), (1, 1, 3), "{verbs:?}");
    assert!(count("redrive") >= 10, "{verbs:?}");
    // The letters' jobs are not known here.
    let complaints = browser.complaints().await;
    assert!(complaints.iter().all(|line| line.contains("404")), "{complaints:?}");

    browser.click("form[action='/sign-out'] button").await;
    browser.says("You are signed out").await;
    browser.open(&at("/log")).await;
    assert!(browser.path().await.starts_with("/sign-in?next="));
}
