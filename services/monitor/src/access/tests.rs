use axum::http::HeaderValue;

use super::*;

const ADA: &str = "0123456789abcdef0123456789abcde~";
const BOB: &str = "fedcba9876543210fedcba9876543210";

fn file(token: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token).unwrap();
    file
}

fn access(anonymous: Option<Anonymous>, listens: &str) -> Access {
    let (ada, bob) = (file(ADA), file(BOB));
    let token = |name: &str, role, file: &tempfile::NamedTempFile| TokenOptions {
        name: name.to_owned(),
        role,
        file: file.path().to_owned(),
    };
    let options = Options {
        anonymous,
        tokens: vec![token("ada", Role::Operator, &ada), token("bob", Role::Viewer, &bob)],
        ..Options::default()
    };
    Access::new(&options, None, None, None, listens.parse().unwrap()).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<header::HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut all = HeaderMap::new();
    for (name, value) in pairs.iter().map(pair) {
        all.append(name, value);
    }
    all
}

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

#[test]
fn only_the_very_token_opens() {
    let access = access(Some(Anonymous::Nobody), "127.0.0.1:1");
    let who = |values: &[&str]| {
        let pairs: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        access.who(&headers(&pairs), now()).map(|found| found.name)
    };
    let right = format!("Bearer {ADA}");
    assert_eq!(who(&[&right]).as_deref(), Ok("ada"));
    assert_eq!(who(&[&format!("bearer  {BOB} ")]).as_deref(), Ok("bob"));
    assert_eq!(who(&[]), Err(Unknown::Nobody));
    let (longer, basic, other) =
        (format!("{right}x"), format!("Basic {ADA}"), right.replace("Bearer 0", "Bearer 1"));
    for wrong in [
        &["Bearer"][..],
        &["Bearer "],
        &[ADA],
        &[&right[..right.len() - 1]],
        &[&longer],
        &[&basic],
        &[&other],
        &[&right, &right],
    ] {
        assert_eq!(who(wrong), Err(Unknown::WrongToken), "{wrong:?}");
    }
}

#[test]
fn a_session_holds_until_it_expires_is_ended_or_is_tampered_with() {
    let access = access(Some(Anonymous::Nobody), "127.0.0.1:1");
    assert!(access.sign_in("wrong", now()).is_none());
    let (principal, cookie) = access.sign_in(ADA, now()).unwrap();
    assert_eq!((principal.who(), principal.role), ("ada", Role::Operator));
    assert!(cookie.contains("; HttpOnly; SameSite=Strict; ") && !cookie.contains("Secure"), "{cookie}");
    assert!(!cookie.contains(ADA));
    let value = cookie.split(';').next().unwrap();
    let who = |cookie: &str, at| access.who(&headers(&[("cookie", cookie)]), at).map(|found| found.name);
    assert_eq!(who(&format!("a=b; {value}"), now()).as_deref(), Ok("ada"));
    let later = |hours| now() + jiff::SignedDuration::from_hours(hours);
    assert_eq!(who(value, later(11)).as_deref(), Ok("ada"));
    for (cookie, at) in [
        (value.to_owned(), later(13)),
        (value.replace("=ada.", "=bob."), now()),
        (value.replace(".17", ".18"), now()),
        (value.trim_end_matches(|c: char| c.is_ascii_hexdigit()).to_owned(), now()),
        (format!("x{value}"), now()),
    ] {
        assert_eq!(who(&cookie, at), Err(Unknown::Nobody), "{cookie}");
    }
    let gone = access.sign_out(&access.who(&headers(&[("cookie", value)]), now()).unwrap());
    assert!(gone.starts_with("windlass=; ") && gone.contains("Max-Age=0"), "{gone}");
}

/// Of the wall clock, as ending a session goes by it.
#[test]
fn a_session_that_was_ended_does_not_come_back() {
    let access = access(Some(Anonymous::Nobody), "127.0.0.1:1");
    let (principal, cookie) = access.sign_in(ADA, Timestamp::now()).unwrap();
    let shown = headers(&[("cookie", cookie.split(';').next().unwrap())]);
    assert!(access.who(&shown, Timestamp::now()).is_ok());
    access.sign_out(&principal);
    assert_eq!(access.who(&shown, Timestamp::now()), Err(Unknown::Nobody));
}

#[test]
fn forms_have_a_token_of_their_session() {
    let access = access(None, "127.0.0.1:1");
    let (one, _) = access.sign_in(ADA, now()).unwrap();
    let (other, _) = access.sign_in(ADA, now()).unwrap();
    let session = one.session().unwrap();
    assert!(session.is_form_token(one.form_token()));
    assert!(!session.is_form_token(other.form_token()) && !session.is_form_token(""));
    assert_eq!(Principal::anonymous().form_token(), "");
}

#[test]
fn strangers_read_on_this_machine_unless_told_otherwise() {
    for (anonymous, listens, host, reads) in [
        (None, "127.0.0.1:1", "127.0.0.1:8304", true),
        (None, "127.0.0.1:1", "localhost:8304", true),
        (None, "[::1]:1", "[::1]:8304", true),
        (None, "127.0.0.1:1", "rebound.example.com:8304", false),
        (None, "0.0.0.0:1", "127.0.0.1:8304", false),
        (None, "10.0.0.1:1", "10.0.0.1:8304", false),
        (Some(Anonymous::Viewer), "0.0.0.0:1", "windlass.example.com", true),
        (Some(Anonymous::Nobody), "127.0.0.1:1", "127.0.0.1:8304", false),
    ] {
        let found = access(anonymous, listens).who(&headers(&[("host", host)]), now());
        let expected = if reads { Ok(Principal::anonymous()) } else { Err(Unknown::Nobody) };
        assert_eq!(found, expected, "{anonymous:?} {listens} {host}");
    }
}

#[test]
fn a_page_of_another_site_is_told_apart() {
    let access = access(None, "127.0.0.1:1");
    let host = ("host", "127.0.0.1:8304");
    for (pairs, same) in [
        (&[host][..], true),
        (&[host, ("origin", "http://127.0.0.1:8304"), ("sec-fetch-site", "same-origin")], true),
        (&[host, ("origin", "http://evil.example")], false),
        (&[host, ("origin", "http://127.0.0.1:9999")], false),
        (&[host, ("origin", "null")], false),
        (&[host, ("sec-fetch-site", "cross-site")], false),
        (&[host, ("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8304")], false),
    ] {
        assert_eq!(access.is_same_site(&headers(pairs)), same, "{pairs:?}");
    }
}

#[test]
fn over_tls_the_cookie_is_for_tls_alone() {
    let shared = Token::read(file(ADA).path()).unwrap();
    let url = Some("https://windlass.example.com/");
    let access =
        Access::new(&Options::default(), Some(shared), None, url, "127.0.0.1:1".parse().unwrap()).unwrap();
    let (principal, cookie) = access.sign_in(ADA, now()).unwrap();
    assert!(cookie.starts_with("__Host-windlass=operator.") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!((principal.who(), principal.role), ("dashboard", Role::Admin));
    let shown = access.who(&headers(&[("authorization", &format!("Bearer {ADA}"))]), now()).unwrap();
    assert_eq!(shown.who(), "api");
    assert!(
        access
            .is_same_site(&headers(&[("host", "10.0.0.7:8304"), ("origin", "https://windlass.example.com")]))
    );
}

#[test]
fn what_other_machines_reach_needs_a_decision() {
    use windlass_service::Problems;
    let check = |options: &Options, listens: &str, shared, expected: &[&str]| {
        let mut problems = Problems::default();
        options.validate(&mut problems);
        options.validate_listening(listens.parse().unwrap(), shared, &mut problems);
        assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), expected, "{listens}");
    };
    let open = |anonymous| Options { anonymous: Some(anonymous), ..Options::default() };
    check(&Options::default(), "127.0.0.1:1", false, &[]);
    check(&Options::default(), "[::1]:1", false, &[]);
    check(&Options::default(), "0.0.0.0:1", false, &["access"]);
    check(&Options::default(), "0.0.0.0:1", true, &[]);
    check(&open(Anonymous::Nobody), "192.168.0.1:1", false, &["access"]);
    check(&open(Anonymous::Viewer), "192.168.0.1:1", false, &[]);
    let ada = file(ADA);
    let token =
        |name: &str| TokenOptions { name: name.to_owned(), role: Role::Viewer, file: ada.path().to_owned() };
    let tokens = |tokens| Options { tokens, ..Options::default() };
    check(&tokens(vec![token("ada"), token("ada@example-com")]), "0.0.0.0:1", false, &[]);
    check(&tokens(vec![token("ada"), token("ada")]), "127.0.0.1:1", false, &["access.tokens.1.name"]);
    check(&tokens(vec![token("api")]), "127.0.0.1:1", false, &["access.tokens.0.name"]);
    check(&tokens(vec![token("a.b")]), "127.0.0.1:1", false, &["access.tokens.0.name"]);
    let missing = TokenOptions { file: "/nowhere".into(), ..token("ada") };
    check(&tokens(vec![missing]), "127.0.0.1:1", false, &["access.tokens.0.file"]);
}

/// A session of whom the provider vouches for ends by itself, when it is ended, and with what it was sealed by.
#[tokio::test]
async fn a_session_of_a_person_has_an_end() {
    use super::oidc::{Oidc, Options as OidcOptions, Person, Roles};
    use windlass_service::Secret;
    let access = |secret: &str, admin: &str| {
        let options = OidcOptions {
            issuer: "https://sso.example.com".to_owned(),
            client_id: "windlass".to_owned(),
            client_secret: Some(Secret::new(secret)),
            roles: Roles { admin: vec![admin.to_owned()], ..Roles::default() },
            ..OidcOptions::default()
        };
        let url = "https://windlass.example.com";
        let oidc = Oidc::new(&options, url).unwrap();
        let options = Options { anonymous: Some(Anonymous::Nobody), ..Options::default() };
        Access::new(&options, None, Some(oidc), Some(url), "127.0.0.1:1".parse().unwrap()).unwrap()
    };
    let (ours, now) = (access(ADA, "root"), Timestamp::now());
    let person = Person { name: "ada@example.com".to_owned(), role: Role::Admin, subject: String::new() };
    let (principal, cookie) = ours.sign_in_person(person, now).unwrap();
    assert_eq!((principal.who(), principal.role), ("ada@example.com", Role::Admin));
    assert!(cookie.starts_with("__Host-windlass=oidc~admin~") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age=43200"), "{cookie}");
    assert!(ours.attempt_cookie("x").starts_with("__Host-windlass-oidc=x; Path=/; HttpOnly; SameSite=Lax; "));
    let value = cookie.split(';').next().unwrap();
    let who = |access: &Access, cookie: &str, at| access.who(&headers(&[("cookie", cookie)]), at);
    let later = |hours| now + jiff::SignedDuration::from_hours(hours);
    assert_eq!(who(&ours, value, later(11)), Ok(principal.clone()));
    assert_eq!(who(&access(ADA, "root"), value, now), Ok(principal.clone()), "after a restart");
    for (access, cookie, at) in [
        (&ours, value.to_owned(), later(13)),
        (&ours, value.replace("~admin~", "~operator~"), now),
        (&access(BOB, "root"), value.to_owned(), now),
        (&access(ADA, "wheel"), value.to_owned(), now),
    ] {
        assert_eq!(who(access, &cookie, at), Err(Unknown::Nobody), "{cookie}");
    }
    ours.sign_out(&principal);
    assert_eq!(who(&ours, value, now), Err(Unknown::Nobody));
}
