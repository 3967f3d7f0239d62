//! The section `monitor.oidc` of the configuration.

use std::path::PathBuf;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use windlass_service::{Problems, Secret};

use crate::access::{Role, Token, TokenError};

/// Sign-in by OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The provider, exactly as its tokens name it: `https://sso.example.com/realms/main`.
    pub issuer: String,
    /// As the provider knows the monitor.
    pub client_id: String,
    /// What the provider has given for it; it belongs in the environment, not in a file that others read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// Or a file of one line that holds it: at least 32 visible ASCII characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// What is asked for besides `openid`.
    pub scopes: Vec<String>,
    /// The claim that tells the groups or roles of a person: a name, or names with dots between them
    /// (`realm_access.roles`).
    pub roles_claim: String,
    /// Which of them have which role here.
    pub roles: Roles,
    /// The claim that names a person in histories and the log; unless told, a verified `email`, else `sub`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name_claim: Option<String>,
    /// Whom a token that a program shows may be for (`aud`), besides `client_id`.
    pub audiences: Vec<String>,
}

/// Which groups have which role; whoever is in several has the most of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Roles {
    /// Who may read.
    pub viewer: Vec<String>,
    /// Who may act besides.
    pub operator: Vec<String>,
    /// Who may do all.
    pub admin: Vec<String>,
}

const MOST_BYTES: usize = 2048;
const MOST_NAMES: usize = 100;

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret: None,
            client_secret_file: None,
            scopes: vec!["profile".to_owned(), "email".to_owned()],
            roles_claim: "groups".to_owned(),
            roles: Roles::default(),
            name_claim: None,
            audiences: Vec::new(),
        }
    }
}

impl Options {
    /// The secret, from where it stands.
    pub(crate) fn secret(&self) -> Result<Token, TokenError> {
        match (&self.client_secret, &self.client_secret_file) {
            (Some(secret), _) => Token::of(secret).ok_or(TokenError::Value("client_secret")),
            (None, Some(file)) => Token::read(file),
            (None, None) => Err(TokenError::Value("client_secret")),
        }
    }

    pub(crate) fn validate(&self, public_url: Option<&str>, problems: &mut Problems) {
        let mut wrong = |key: &str, message: String| problems.add(&format!("oidc.{key}"), message);
        if let Err(expected) = checked(&self.issuer) {
            wrong("issuer", format!("found `{}`, expected {expected}", shortened(&self.issuer)));
        }
        if self.client_id.is_empty() || !is_word(&self.client_id) {
            wrong("client_id", "expected the name that the provider knows the monitor by".to_owned());
        }
        match (&self.client_secret, &self.client_secret_file) {
            (None, None) => wrong(
                "client_secret_file",
                "is missing: expected a file of one line, the secret that the provider has given for client_id \
                 (or the secret itself in the variable WINDLASS__MONITOR__OIDC__CLIENT_SECRET)"
                    .to_owned(),
            ),
            (Some(_), Some(_)) => {
                wrong("client_secret_file", "stands beside client_secret: expected one of them".to_owned());
            }
            (None, Some(_)) => {
                if let Err(error) = self.secret() {
                    wrong("client_secret_file", format!("{:#}", anyhow::Error::new(error)));
                }
            }
            (Some(_), None) => {
                if let Err(error) = self.secret() {
                    wrong("client_secret", error.to_string());
                }
            }
        }
        for (key, names) in [("scopes", &self.scopes), ("audiences", &self.audiences)] {
            if names.len() > MOST_NAMES || !names.iter().all(|name| is_word(name)) {
                wrong(key, format!("expected at most {MOST_NAMES} words of visible ASCII characters"));
            }
        }
        let claims = [("roles_claim", Some(&self.roles_claim)), ("name_claim", self.name_claim.as_ref())];
        for (key, claim) in claims.into_iter().filter_map(|(key, claim)| Some((key, claim?))) {
            if !is_word(claim) {
                wrong(key, "expected the name of a claim, as groups or realm_access.roles".to_owned());
            }
        }
        let mut seen = Vec::new();
        for (role, groups) in self.roles.all() {
            let key = format!("roles.{role}");
            for group in groups {
                if group.trim().is_empty() || group.len() > MOST_BYTES {
                    wrong(&key, "expected the names of groups or roles at the provider".to_owned());
                }
                if seen.contains(&group) {
                    wrong(&key, format!("`{}` stands in another role too: expected one", shortened(group)));
                }
                seen.push(group);
            }
        }
        if seen.is_empty() {
            wrong(
                "roles",
                "nobody would have a role: expected groups of the provider in viewer, operator or admin"
                    .to_owned(),
            );
        }
        if public_url.is_none() {
            problems.add(
                "public_url",
                "is missing, and monitor.oidc needs it: expected the address that browsers reach the monitor at, as \
                 https://windlass.example.com; the provider sends them back to its /sign-in/oidc/callback",
            );
        }
    }
}

// === impl Roles ===

impl Roles {
    /// With the groups of each.
    pub(super) fn all(&self) -> [(Role, &Vec<String>); 3] {
        [(Role::Viewer, &self.viewer), (Role::Operator, &self.operator), (Role::Admin, &self.admin)]
    }

    /// What whoever is in these groups may do; none: nothing.
    pub(super) fn of<'a>(&self, groups: impl Iterator<Item = &'a str>) -> Option<Role> {
        let role = |group: &str| {
            self.all().into_iter().rev().find(|(_, names)| names.iter().any(|name| name == group))
        };
        groups.filter_map(|group| role(group).map(|(role, _)| role)).max()
    }
}

/// An address that secrets may be sent to: over TLS, or within this machine.
pub(super) fn checked(address: &str) -> Result<Url, &'static str> {
    const EXPECTED: &str = "an https URL without query or fragment (http on a loopback address only), as \
         https://sso.example.com/realms/main";
    let url = Url::parse(address).map_err(|_| EXPECTED)?;
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let scheme = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    let bare = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic()) && address.len() <= MOST_BYTES;
    if scheme && bare && plain && url.password().is_none() { Ok(url) } else { Err(EXPECTED) }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "the-secret-of-a-client-of-32-characters";

    fn good() -> Options {
        Options {
            issuer: "https://sso.example.com/realms/main".to_owned(),
            client_id: "windlass".to_owned(),
            client_secret: Some(Secret::new(SECRET)),
            roles: Roles { admin: vec!["windlass-admins".to_owned()], ..Roles::default() },
            ..Options::default()
        }
    }

    fn check(options: &Options, expected: &[&str]) -> String {
        let mut problems = Problems::default();
        options.validate(Some("https://windlass.example.com"), &mut problems);
        let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, expected, "{options:?}");
        problems.iter().map(|problem| problem.message.clone()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn everything_wrong_is_named() {
        check(&good(), &[]);
        let said = check(
            &Options::default(),
            &["oidc.issuer", "oidc.client_id", "oidc.client_secret_file", "oidc.roles"],
        );
        assert!(said.contains("WINDLASS__MONITOR__OIDC__CLIENT_SECRET"), "{said}");
        for (issuer, is_good) in [
            ("http://127.0.0.1:8080/realms/main", true),
            ("http://localhost:8080", true),
            ("http://[::1]:8080", true),
            ("http://sso.example.com", false),
            ("http://127.0.0.1.example.com", false),
            ("https://sso.example.com/?x=1", false),
            ("https://me:secret@sso.example.com", false),
            ("ldap://127.0.0.1", false),
            ("sso.example.com", false),
        ] {
            let expected: &[&str] = if is_good { &[] } else { &["oidc.issuer"] };
            check(&Options { issuer: issuer.to_owned(), ..good() }, expected);
        }
        let short = Options { client_secret: Some(Secret::new("hunter2")), ..good() };
        assert!(!check(&short, &["oidc.client_secret"]).contains("hunter2"));
        let missing = Some(PathBuf::from("/nowhere/secret"));
        check(&Options { client_secret_file: missing.clone(), ..good() }, &["oidc.client_secret_file"]);
        check(
            &Options { client_secret: None, client_secret_file: missing, ..good() },
            &["oidc.client_secret_file"],
        );
        let twice =
            Roles { viewer: vec!["x".to_owned()], operator: vec!["x".to_owned()], ..Roles::default() };
        check(&Options { roles: twice, ..good() }, &["oidc.roles.operator"]);
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        check(
            &Options {
                scopes: words(&["a b"]),
                audiences: words(&[""]),
                roles_claim: String::new(),
                name_claim: Some("a b".to_owned()),
                ..good()
            },
            &["oidc.scopes", "oidc.audiences", "oidc.roles_claim", "oidc.name_claim"],
        );
        let mut problems = Problems::default();
        good().validate(None, &mut problems);
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["public_url"]);
    }

    #[test]
    fn a_role_that_is_none_and_a_secret_in_what_is_shown() {
        let unknown = serde_json::json!({ "roles": { "superuser": ["x"] } });
        let error = serde_json::from_value::<Options>(unknown).unwrap_err().to_string();
        assert!(error.contains("superuser") && error.contains("`viewer`, `operator`, `admin`"), "{error}");
        let shown = format!("{:?} {}", good(), serde_json::to_string(&good()).unwrap());
        assert!(!shown.contains(SECRET), "{shown}");
    }

    #[test]
    fn whoever_is_in_several_groups_has_the_most_of_their_roles() {
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let roles =
            Roles { viewer: words(&["staff"]), operator: words(&["ops", "sre"]), admin: words(&["root"]) };
        for (groups, expected) in [
            (&["staff"][..], Some(Role::Viewer)),
            (&["sre", "staff"], Some(Role::Operator)),
            (&["staff", "root", "ops"], Some(Role::Admin)),
            (&["Root", "root "], None),
            (&[], None),
        ] {
            assert_eq!(roles.of(groups.iter().copied()), expected, "{groups:?}");
        }
    }
}
