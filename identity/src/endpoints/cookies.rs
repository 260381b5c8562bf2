//! Cookies: `__Host-`, so that no other host or path can set or see them.

use http::{HeaderMap, HeaderValue, header};
use keyrealm_base::{Random, TenantId};
use keyrealm_crypto::{ct_eq, sha256};
use keyrealm_jose::b64;

use crate::handle::Handle;

/// The log-in sessions, one a tenant: the log-in at one tenant does not end that at another.
const SESSION: &str = "__Host-keyrealm-session-";
/// Ties a browser to the forms that it was shown.
const BROWSER: &str = "__Host-keyrealm-browser";

fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split("; ")).filter_map(|pair| pair.split_once('='))
}

fn session_name(tenant: TenantId) -> String {
    format!("{SESSION}{}", tenant.to_string().replace('-', ""))
}

/// The session that this browser says it has at a tenant.
pub(crate) fn session(headers: &HeaderMap, tenant: TenantId) -> Option<Handle> {
    sessions(headers).find(|handle| handle.tenant() == tenant)
}

/// The sessions that this browser says it has, at most one a tenant.
pub(crate) fn sessions(headers: &HeaderMap) -> impl Iterator<Item = Handle> {
    all(headers).filter(|(name, _)| name.starts_with(SESSION)).filter_map(|(name, value)| {
        // A handle under another tenant's name was put there by somebody.
        Handle::parse(value).filter(|handle| name == session_name(handle.tenant()))
    })
}

/// Sets the session's cookie for as long as the browser runs.
pub(crate) fn set_session(headers: &mut HeaderMap, session: &Handle) {
    add(headers, format!("{}={}; {ATTRIBUTES}", session_name(session.tenant()), session.text()));
}

/// Takes the session's cookie away.
pub(crate) fn clear_session(headers: &mut HeaderMap, tenant: TenantId) {
    add(headers, format!("{}=; {ATTRIBUTES}; Max-Age=0", session_name(tenant)));
}

/// What ties a browser to its forms.
pub(crate) struct Browser {
    secret: String,
    fresh: bool,
}

impl Browser {
    /// That of this browser, or a new one.
    pub(crate) fn of(headers: &HeaderMap, random: &dyn Random) -> Self {
        match all(headers).find(|(name, _)| *name == BROWSER) {
            Some((_, secret)) => Self { secret: secret.to_owned(), fresh: false },
            None => Self { secret: b64::encode(random.bytes::<32>()), fresh: true },
        }
    }

    /// The token of a form: only who has the browser's cookie could be shown it.
    pub(crate) fn form_token(&self, form: &str) -> String {
        form_token(&self.secret, form)
    }

    /// Sets the cookie, if it is a new one.
    pub(crate) fn keep(&self, headers: &mut HeaderMap) {
        if self.fresh {
            add(headers, format!("{BROWSER}={}; {ATTRIBUTES}", self.secret));
        }
    }
}

const ATTRIBUTES: &str = "Path=/; Secure; HttpOnly; SameSite=Lax";

fn add(headers: &mut HeaderMap, text: String) {
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

fn form_token(browser: &str, form: &str) -> String {
    b64::encode(sha256(format!("form {browser} {form}").as_bytes()))
}

/// Whether a form comes from the browser that it was shown to.
pub(crate) fn is_own_form(headers: &HeaderMap, form: &str, given: &str) -> bool {
    let browser = all(headers).find(|(name, _)| *name == BROWSER);
    browser.is_some_and(|(_, secret)| ct_eq(form_token(secret, form).as_bytes(), given.as_bytes()))
}
