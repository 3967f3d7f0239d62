//! A token of the provider, checked, and whom it tells of.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::error::{Error, said};
use super::options::Options;
use super::person::Person;
use super::provider::Provider;

/// What a token says.
pub(super) type Claims = Map<String, Value>;

/// Signatures with the key of a pair; none that whoever can check could make as well.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// That clocks may differ by.
const LEEWAY_SECONDS: u64 = 30;
const MOST_BYTES: usize = 32 * 1024;
/// Of what a person is called.
const MOST_NAME: usize = 200;

/// What a token of the provider for one of these says, if its signature and its times hold.
pub(super) async fn read(provider: &Provider, token: &str, audiences: &[&str]) -> Result<Claims, Error> {
    let refused = |why: &str| Error::Token(why.to_owned());
    if token.len() > MOST_BYTES {
        return Err(refused("it is too long"));
    }
    let header = decode_header(token)
        .map_err(|_| refused("it is no JSON Web Token that is signed in a way known here"))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Error::Token(format!(
            "it is signed by {:?}, expected a key pair (RS256, ES256, …)",
            header.alg
        )));
    }
    // What a provider tells of a session's end is no token to be let in by.
    if header.typ.as_deref().is_some_and(|typ| typ.eq_ignore_ascii_case("logout+jwt")) {
        return Err(refused("it is a logout token"));
    }
    let key = provider.key(header.kid.as_deref(), header.alg).await?;
    let key = key.ok_or_else(|| refused("the provider has no key as the one that it was signed with"))?;
    let mut validation = Validation::new(header.alg);
    validation.leeway = LEEWAY_SECONDS;
    validation.validate_nbf = true;
    validation.set_issuer(&[provider.issuer()]);
    validation.set_audience(audiences);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    let read = decode::<Claims>(token, &key, &validation).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => refused("it has expired"),
        ErrorKind::ImmatureSignature => refused("it holds only later (nbf)"),
        ErrorKind::InvalidSignature => refused("its signature is wrong"),
        ErrorKind::InvalidIssuer => refused("it is of another issuer (iss)"),
        ErrorKind::InvalidAudience => refused("it is for somebody else (aud)"),
        ErrorKind::MissingRequiredClaim(claim) => Error::Token(format!("it has no `{claim}`")),
        _ => refused("it is not as expected"),
    })?;
    Ok(read.claims)
}

/// What only a token that answers a sign-in has to say (OpenID Connect Core 1.0, section 3.1.3.7).
pub(super) fn check_answer(claims: &Claims, client_id: &str, nonce: &str) -> Result<(), Error> {
    if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
        return Err(Error::Token("it answers another sign-in (nonce)".to_owned()));
    }
    let azp = claims.get("azp").and_then(Value::as_str);
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    if azp.is_some_and(|azp| azp != client_id) || (several && azp.is_none()) {
        return Err(Error::Token("it was made for another client (azp)".to_owned()));
    }
    Ok(())
}

/// Whom a token tells of, and what they may do here.
pub(super) fn person(claims: &Claims, options: &Options) -> Result<Person, Error> {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
    let subject = text("sub").ok_or_else(|| Error::Token("it has no `sub`".to_owned()))?;
    // Whoever may choose their own address could choose another's.
    let email = text("email").filter(|_| claims.get("email_verified") == Some(&Value::Bool(true)));
    let chosen = match &options.name_claim {
        Some(claim) => at(claims, claim).and_then(Value::as_str).filter(|text| !text.is_empty()),
        None => email,
    };
    let name: String = said(chosen.unwrap_or(subject)).chars().take(MOST_NAME).collect();
    // Nobody by chance, or on purpose, has the name of a token's holder.
    let name = if name.contains('@') { name } else { format!("oidc:{name}") };
    let groups = at(claims, &options.roles_claim);
    let one = groups.and_then(Value::as_str);
    let many = groups.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    match options.roles.of(one.into_iter().chain(many)) {
        Some(role) => Ok(Person { name, role, subject: said(subject) }),
        None => Err(Error::NoRole { who: name, claim: options.roles_claim.clone() }),
    }
}

/// A claim by its name, or by the names that lead to it.
fn at<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let mut words = path.split('.');
    let first = claims.get(words.next()?)?;
    words.try_fold(first, |value, word| value.get(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::options::Roles;
    use super::*;
    use crate::access::Role;

    fn claims(value: Value) -> Claims {
        let Value::Object(claims) = value else { panic!("an object") };
        claims
    }

    #[test]
    fn a_person_is_named_by_what_is_verified() {
        let of = |name_claim: Option<&str>, value| {
            let roles = Roles { viewer: vec!["staff".to_owned()], ..Roles::default() };
            let options = Options { roles, name_claim: name_claim.map(str::to_owned), ..Options::default() };
            person(&claims(value), &options).map(|person| person.name)
        };
        let ada =
            json!({ "sub": "7", "email": "ada@example.com", "email_verified": true, "groups": "staff" });
        assert_eq!(of(None, ada.clone()).as_deref(), Ok("ada@example.com"));
        for unverified in [json!(false), json!("true"), Value::Null] {
            let mut ada = ada.clone();
            ada["email_verified"] = unverified;
            assert_eq!(of(None, ada).as_deref(), Ok("oidc:7"));
        }
        let operator = json!({ "sub": "7", "preferred_username": "operator", "groups": ["x", "staff"] });
        assert_eq!(of(Some("preferred_username"), operator.clone()).as_deref(), Ok("oidc:operator"));
        assert_eq!(of(Some("upn"), operator).as_deref(), Ok("oidc:7"));
        let control = json!({ "sub": "a\nb", "groups": ["staff"] });
        assert_eq!(of(None, control).as_deref(), Ok("oidc:a b"));
        assert!(of(None, json!({ "groups": ["staff"] })).is_err());
    }

    #[test]
    fn groups_stand_under_a_name_or_deeper() {
        let of = |claim: &str, value| {
            let roles = Roles { operator: vec!["/ops".to_owned()], ..Roles::default() };
            let options = Options { roles, roles_claim: claim.to_owned(), ..Options::default() };
            person(&claims(value), &options).map(|person| person.role)
        };
        let named = "https://example.com/groups";
        for (claim, value) in [
            ("groups", json!({ "sub": "7", "groups": ["/x", "/ops"] })),
            ("realm_access.roles", json!({ "sub": "7", "realm_access": { "roles": ["/ops"] } })),
            (named, json!({ "sub": "7", named: "/ops" })),
        ] {
            assert_eq!(of(claim, value), Ok(Role::Operator), "{claim}");
        }
        for value in [
            json!({ "sub": "7" }),
            json!({ "sub": "7", "groups": [7, "ops"] }),
            json!({ "sub": "7", "groups": {} }),
        ] {
            assert_eq!(
                of("groups", value),
                Err(Error::NoRole { who: "oidc:7".to_owned(), claim: "groups".to_owned() })
            );
        }
    }

    #[test]
    fn an_answer_is_to_this_sign_in_and_for_this_client() {
        let check = |value| check_answer(&claims(value), "windlass", "n").is_ok();
        assert!(check(json!({ "nonce": "n", "aud": "windlass" })));
        assert!(check(json!({ "nonce": "n", "aud": ["windlass", "x"], "azp": "windlass" })));
        assert!(!check(json!({ "nonce": "m", "aud": "windlass" })) && !check(json!({ "aud": "windlass" })));
        assert!(!check(json!({ "nonce": "n", "aud": ["windlass", "x"] })));
        assert!(!check(json!({ "nonce": "n", "aud": "windlass", "azp": "x" })));
    }
}
