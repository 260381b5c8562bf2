//! An authorization request: read, checked, and what to do next. Pure.

use keyrealm_auth::{Scope, ScopeSet};
use keyrealm_base::Timestamp;
use keyrealm_registry::specs::{ClientSpec, PkcePolicy};
use serde::{Deserialize, Serialize};

use super::client::ClientRules;
use super::pkce;

/// A checked request, as it is kept while the user logs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) state: Option<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) challenge: Option<String>,
    pub(crate) max_age: Option<i64>,
    pub(crate) prompts: Vec<Prompt>,
    pub(crate) login_hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Prompt {
    None,
    Login,
    Consent,
}

/// An error that goes back to the client's redirect URI (RFC 6749, section 4.1.2.1; OpenID Connect Core, 3.1.2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: &'static str,
    pub(crate) description: &'static str,
}

const fn refuse(code: &'static str, description: &'static str) -> Refusal {
    Refusal { code, description }
}

/// Longest `state` and `nonce`.
const MAX_OPAQUE: usize = 2048;

/// Checks everything but client and redirect URI, which the caller has checked already.
pub(crate) fn check(
    client: &ClientSpec,
    redirect_uri: &str,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Request, Refusal> {
    if get("request").is_some() {
        return Err(refuse("request_not_supported", "request objects are not supported"));
    }
    if get("request_uri").is_some() {
        return Err(refuse("request_uri_not_supported", "request_uri is not supported"));
    }
    match get("response_type").as_deref() {
        Some("code") => {}
        Some(_) => return Err(refuse("unsupported_response_type", "response_type must be code")),
        None => return Err(refuse("invalid_request", "response_type is missing")),
    }
    if !client.allows_grant("authorization_code") {
        return Err(refuse("unauthorized_client", "the client may not use authorization_code"));
    }
    if get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(refuse("invalid_request", "response_mode must be query"));
    }
    let scopes = ScopeSet::parse(&get("scope").unwrap_or_default())
        .map_err(|_| refuse("invalid_scope", "the scope is malformed"))?
        .known;
    if !scopes.is_within(client.scope_set()) {
        return Err(refuse("invalid_scope", "the client may not ask for this scope"));
    }
    let (state, nonce) = (get("state"), get("nonce"));
    if [&state, &nonce].into_iter().flatten().any(|text| text.len() > MAX_OPAQUE) {
        return Err(refuse("invalid_request", "state and nonce have at most 2048 bytes"));
    }
    let challenge = get("code_challenge");
    match (&challenge, get("code_challenge_method").as_deref()) {
        (Some(text), Some("S256")) if pkce::is_challenge(text) => {}
        (Some(_), _) => {
            return Err(refuse("invalid_request", "code_challenge must be one of S256, code_challenge_method=S256"));
        }
        (None, Some(_)) => return Err(refuse("invalid_request", "code_challenge is missing")),
        (None, None) if client.pkce == PkcePolicy::Required => {
            return Err(refuse("invalid_request", "code_challenge is missing (PKCE is required)"));
        }
        (None, None) => {}
    }
    let max_age = match get("max_age") {
        None => None,
        Some(text) => Some(
            text.parse::<i64>()
                .ok()
                .filter(|age| *age >= 0)
                .ok_or(refuse("invalid_request", "max_age must be a number of seconds"))?,
        ),
    };
    Ok(Request {
        client_id: client.client_id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        scope: scopes.to_string(),
        state,
        nonce,
        challenge,
        max_age,
        prompts: prompts(&get("prompt").unwrap_or_default())?,
        login_hint: get("login_hint").filter(|hint| hint.len() <= 100),
    })
}

fn prompts(text: &str) -> Result<Vec<Prompt>, Refusal> {
    let mut prompts = Vec::new();
    for name in text.split(' ').filter(|name| !name.is_empty()) {
        match name {
            "none" => prompts.push(Prompt::None),
            "login" => prompts.push(Prompt::Login),
            "consent" => prompts.push(Prompt::Consent),
            // There is one account a session: the log-in page is where another one is chosen.
            "select_account" => prompts.push(Prompt::Login),
            _ => return Err(refuse("invalid_request", "prompt is unknown")),
        }
    }
    if prompts.contains(&Prompt::None) && prompts.len() > 1 {
        return Err(refuse("invalid_request", "prompt none goes with no other"));
    }
    Ok(prompts)
}

/// What is known of the user's browser.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation {
    /// When the user of the session logged in.
    pub(crate) auth_time: Option<Timestamp>,
    /// Whether the user has agreed to this client and scope before.
    pub(crate) consented: bool,
    /// Whether this very request went through log-in.
    pub(crate) just_logged_in: bool,
    pub(crate) now: Timestamp,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    LogIn,
    Consent,
    Issue,
    Refuse(Refusal),
}

/// Decides the next step (OpenID Connect Core, section 3.1.2.3).
pub(crate) fn next(request: &Request, situation: &Situation) -> Next {
    let silent = request.prompts.contains(&Prompt::None);
    let fresh = situation.auth_time.is_some_and(|at| match request.max_age {
        Some(age) => situation.now.seconds() - at.seconds() <= age,
        None => true,
    });
    let again = request.prompts.contains(&Prompt::Login) && !situation.just_logged_in;
    if situation.auth_time.is_none() || again || !(fresh || situation.just_logged_in) {
        return if silent { Next::Refuse(refuse("login_required", "the user must log in")) } else { Next::LogIn };
    }
    if !situation.consented || request.prompts.contains(&Prompt::Consent) {
        return if silent { Next::Refuse(refuse("consent_required", "the user must agree")) } else { Next::Consent };
    }
    Next::Issue
}

/// Whether an id_token is asked for.
pub(crate) fn is_openid(scopes: ScopeSet) -> bool {
    scopes.contains(Scope::OpenId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyrealm_registry::specs::ClientType;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn client(pkce: PkcePolicy) -> ClientSpec {
        ClientSpec {
            client_id: "c".into(),
            display_name: String::new(),
            kind: ClientType::Confidential,
            secret_sha256: vec![String::new()],
            redirect_uris: vec![],
            post_logout_redirect_uris: vec![],
            grants: vec!["authorization_code".into()],
            scopes: "openid kms:encrypt".into(),
            pkce,
            enabled: true,
        }
    }

    fn with(policy: PkcePolicy, change: &[(&str, &str)]) -> Result<Request, &'static str> {
        let base = [
            ("response_type", "code"),
            ("scope", "openid"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let get = |name: &str| {
            let found = change.iter().chain(&base).find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            found.filter(|value| !value.is_empty())
        };
        check(&client(policy), "https://app.test/cb", get).map_err(|refusal| refusal.code)
    }

    #[test]
    fn each_violation_has_its_code() {
        let required = PkcePolicy::Required;
        assert!(with(required, &[]).is_ok() && with(required, &[("extra", "foobar")]).is_ok());
        assert!(with(PkcePolicy::IfSent, &[("code_challenge", ""), ("code_challenge_method", "")]).is_ok());
        for (change, code) in [
            (&[("response_type", "token")][..], "unsupported_response_type"),
            (&[("response_type", "")], "invalid_request"),
            (&[("scope", "kms:admin")], "invalid_scope"),
            (&[("scope", "a  b")], "invalid_scope"),
            (&[("code_challenge", ""), ("code_challenge_method", "")], "invalid_request"),
            (&[("code_challenge_method", "plain")], "invalid_request"),
            (&[("code_challenge_method", "")], "invalid_request"),
            (&[("code_challenge", "short")], "invalid_request"),
            (&[("prompt", "none login")], "invalid_request"),
            (&[("prompt", "dance")], "invalid_request"),
            (&[("max_age", "-1")], "invalid_request"),
            (&[("request", "x")], "request_not_supported"),
            (&[("request_uri", "x")], "request_uri_not_supported"),
            (&[("response_mode", "fragment")], "invalid_request"),
        ] {
            assert_eq!(with(required, change).err(), Some(code), "{change:?}");
        }
    }

    #[test]
    fn the_next_step() {
        let at = Timestamp::from_seconds;
        let step = |change: &[(&str, &str)], auth_time: Option<i64>, consented, just_logged_in| {
            let request = with(PkcePolicy::Required, change).unwrap();
            next(&request, &Situation { auth_time: auth_time.map(at), consented, just_logged_in, now: at(100) })
        };
        let refused = |next: Next| match next {
            Next::Refuse(refusal) => refusal.code,
            other => panic!("{other:?}"),
        };
        assert_eq!(step(&[], None, false, false), Next::LogIn);
        assert_eq!(step(&[], Some(50), false, false), Next::Consent);
        assert_eq!(step(&[], Some(50), true, false), Next::Issue);
        assert_eq!(step(&[("prompt", "login")], Some(50), true, false), Next::LogIn);
        assert_eq!(step(&[("prompt", "login")], Some(100), true, true), Next::Issue);
        assert_eq!(step(&[("prompt", "consent")], Some(50), true, false), Next::Consent);
        assert_eq!(step(&[("max_age", "49")], Some(50), true, false), Next::LogIn);
        assert_eq!(step(&[("max_age", "50")], Some(50), true, false), Next::Issue);
        assert_eq!(refused(step(&[("prompt", "none")], None, true, false)), "login_required");
        assert_eq!(refused(step(&[("prompt", "none")], Some(50), false, false)), "consent_required");
        assert_eq!(step(&[("prompt", "none")], Some(50), true, false), Next::Issue);
    }
}
