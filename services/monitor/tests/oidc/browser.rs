//! A browser, as far as signing in needs one: it keeps cookies by host, and is led by hand.

use std::collections::BTreeMap;

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};

pub(crate) struct Browser {
    client: Client,
    /// Where the monitor is.
    url: String,
    pub(crate) cookies: BTreeMap<String, String>,
}

// === impl Browser ===

impl Browser {
    pub(crate) fn new(url: &str) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { client, url: url.to_owned(), cookies: BTreeMap::new() }
    }

    /// Asks the monitor, with its cookies.
    pub(crate) async fn get(&mut self, path: &str) -> Response {
        self.send(Method::GET, path, "").await
    }

    /// Sends a form to the monitor.
    pub(crate) async fn post(&mut self, path: &str, form: &str) -> Response {
        self.send(Method::POST, path, form).await
    }

    async fn send(&mut self, method: Method, path: &str, form: &str) -> Response {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method, format!("{}{path}", self.url)).body(form.to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let response = request.header("cookie", cookies.join("; ")).send().await.unwrap();
        for set in response.headers().get_all("set-cookie") {
            let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        response
    }

    /// Begins to sign in; returns where the provider is.
    pub(crate) async fn begin(&mut self, next: &str) -> String {
        let response = self.get(&format!("/sign-in/oidc?next={next}")).await;
        location(&response)
    }

    /// Goes to the provider, which leads back; returns the monitor's path that it leads to.
    pub(crate) async fn at_provider(&self, address: &str) -> String {
        let back = location(&self.client.get(address).send().await.unwrap());
        back.strip_prefix(&self.url).expect("the provider leads back").to_owned()
    }

    /// Signs in; returns the monitor's last answer.
    pub(crate) async fn sign_in(&mut self, next: &str) -> Response {
        let address = self.begin(next).await;
        let back = self.at_provider(&address).await;
        self.get(&back).await
    }

    /// The token that forms of its session have to show.
    pub(crate) async fn form_token(&mut self) -> String {
        let page = self.get("/alerts").await.text().await.unwrap();
        page.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }
}

pub(crate) fn location(response: &Response) -> String {
    let found = response.headers().get("location");
    found.unwrap_or_else(|| panic!("leads nowhere: {response:?}")).to_str().unwrap().to_owned()
}
