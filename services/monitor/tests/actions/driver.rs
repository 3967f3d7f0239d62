//! A real Chromium, driven over WebDriver (W3C Recommendation), as far as these tests need it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// For a script that waits for something.
const WAIT: Duration = Duration::from_secs(30);
/// An element's name in JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser, until dropped.
pub(crate) struct Chromium {
    client: Client,
    session: String,
    driver: Child,
    profile: tempfile::TempDir,
}

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// In names of files.
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) scale: u32,
    pub(crate) dark: bool,
}

// === impl Look ===

impl Look {
    /// Whether it is looked at by axe-core too: other sizes have the same colours.
    pub(crate) fn is_checked(&self) -> bool {
        self.scale == 1 || (self.width < 500 && !self.dark)
    }
}

// === impl Chromium ===

impl Chromium {
    /// Starts one; none where there is none, which under `CI=true` is a failure.
    pub(crate) async fn start() -> Option<Self> {
        let profile = tempfile::tempdir().unwrap();
        let spawned = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let mut driver = match spawned {
            Ok(driver) => driver,
            Err(error) => {
                let missing =
                    format!("the pages were NOT tested in a browser: chromedriver does not start ({error})");
                assert!(
                    std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                    "{missing}: install chromium-driver"
                );
                eprintln!("{missing}");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port: u16 = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some(port) = line.split("started successfully on port ").nth(1) {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let data = format!("--user-data-dir={}", profile.path().join("chromium").display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
            "--force-color-profile=srgb",
            &data,
        ];
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "script": WAIT.as_millis(), "pageLoad": WAIT.as_millis() },
        } } });
        let client = Client::builder().no_proxy().timeout(WAIT * 2).build().unwrap();
        let url = format!("http://127.0.0.1:{port}/session");
        let made: Value = client.post(&url).json(&capabilities).send().await.unwrap().json().await.unwrap();
        let id = made["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("no Chromium: {made}"));
        Some(Self { client, session: format!("{url}/{id}"), driver, profile })
    }

    async fn call(&self, path: &str, body: &Value) -> Value {
        let answer = self.client.post(format!("{}/{path}", self.session)).json(body).send().await.unwrap();
        let (status, mut answer) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{path} {body:.300}: {answer}");
        answer["value"].take()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.call("goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// Looks at pages so.
    pub(crate) async fn look(&self, look: &Look) {
        let Look { width, height, scale, dark, .. } = *look;
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = [
            json!({ "name": "prefers-color-scheme", "value": scheme }),
            json!({ "name": "prefers-reduced-motion", "value": "reduce" }),
        ];
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    pub(crate) async fn open(&self, url: &str) {
        self.call("url", &json!({ "url": url })).await;
    }

    /// Runs a function's body in the page.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.call("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Runs one that ends by calling `done`.
    pub(crate) async fn run_until_done(&self, script: &str) -> Value {
        let script = format!("const done = arguments[arguments.length - 1]; {script}");
        self.call("execute/async", &json!({ "script": script, "args": [] })).await
    }

    /// Waits until an expression of the page is true, looking at each change of it.
    pub(crate) async fn until(&self, expression: &str) {
        self.run_until_done(&format!(
            "const look = () => {{ if ({expression}) {{ seen.disconnect(); done(true); }} }}; \
             const seen = new MutationObserver(look); \
             seen.observe(document, {{ subtree: true, childList: true, characterData: true, attributes: true }}); look();"
        ))
        .await;
    }

    async fn find(&self, css: &str) -> String {
        let found = self.call("element", &json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// Clicks on what leads to another page, and waits for that: a click is answered before the browser has left.
    pub(crate) async fn click(&self, css: &str) {
        let id = self.find(css).await;
        self.run("window.isLeft = true").await;
        self.call(&format!("element/{id}/click"), &json!({})).await;
        let deadline = tokio::time::Instant::now() + WAIT;
        while self.run("return window.isLeft || document.readyState !== 'complete'").await == true {
            assert!(tokio::time::Instant::now() < deadline, "{css} leads nowhere from {}", self.path().await);
        }
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        let id = self.find(css).await;
        self.call(&format!("element/{id}/clear"), &json!({})).await;
        self.call(&format!("element/{id}/value"), &json!({ "text": text })).await;
    }

    /// Presses a key, wherever the focus is.
    pub(crate) async fn press(&self, key: &str) {
        let actions = json!([{ "type": "key", "id": "keyboard", "actions": [
            { "type": "keyDown", "value": key }, { "type": "keyUp", "value": key },
        ] }]);
        self.call("actions", &json!({ "actions": actions })).await;
    }

    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    /// Checks that the page has this text.
    pub(crate) async fn says(&self, text: &str) {
        let found = self.text().await;
        assert!(found.contains(text), "{text} is not on {}: {found}", self.path().await);
    }

    pub(crate) async fn path(&self) -> String {
        self.run("return location.pathname + location.search").await.as_str().unwrap().to_owned()
    }

    /// What the browser complained of since it was asked last: of the policy against scripts, of what it could not load.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.call("se/log", &json!({ "type": "browser" })).await;
        let severe = log.as_array().unwrap().iter().filter(|line| line["level"] == "SEVERE");
        severe.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }

    /// Keeps a picture of the whole page, under the target folder.
    pub(crate) async fn picture(&self, name: &str) {
        let size = self
            .run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
            .await;
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": size[1].as_u64().unwrap().min(4000), "scale": 1 });
        let shot = self
            .devtools(
                "Page.captureScreenshot",
                json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }),
            )
            .await;
        let folder = folder();
        std::fs::create_dir_all(&folder).unwrap();
        let bytes = decoded(shot["data"].as_str().unwrap());
        std::fs::write(folder.join(format!("{name}.png")), bytes).unwrap();
    }
}

impl Drop for Chromium {
    /// The driver, and the browser that it has started, which would outlive it.
    fn drop(&mut self) {
        let _ = self.driver.start_kill();
        let ours = self.profile.path().display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = process.file_name();
            let is_ours = std::fs::read(process.path().join("cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&ours));
            if is_ours && id.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                let _ =
                    std::process::Command::new("kill").arg("-KILL").arg(id).stderr(Stdio::null()).status();
            }
        }
    }
}

/// The checks of axe-core, from where the CI has put it.
pub(crate) fn axe() -> Option<String> {
    let given = std::env::var_os("WINDLASS_AXE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let path =
        given.unwrap_or_else(|| home.join(".cache/windlass/tools/axe/axe_playwright_python/axe.min.js"));
    match std::fs::read_to_string(&path) {
        Ok(script) => Some(script),
        Err(error) => {
            let missing = format!(
                "the pages were NOT checked with axe-core: {} cannot be read ({error})",
                path.display()
            );
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{missing}");
            eprintln!("{missing}");
            None
        }
    }
}

/// Where the pictures are kept.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots")
}

/// Of RFC 4648, section 4.
fn decoded(text: &str) -> Vec<u8> {
    let value = |byte: u8| -> u32 {
        match byte {
            b'A'..=b'Z' => u32::from(byte - b'A'),
            b'a'..=b'z' => u32::from(byte - b'a') + 26,
            b'0'..=b'9' => u32::from(byte - b'0') + 52,
            b'+' => 62,
            _ => 63,
        }
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let four = |four: &[u8]| {
        let bits = four.iter().fold(0, |bits, digit| (bits << 6) | value(*digit)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(four).collect()
}
