//! Cookies: `__Host-`, so that no other host or path can set or see them.

use http::{HeaderMap, HeaderValue, header};
use keyrealm_crypto::{ct_eq, sha256};
use keyrealm_jose::b64;

/// The log-in session.
pub(crate) const SESSION: &str = "__Host-keyrealm-session";
/// Ties a browser to the forms that it was shown.
pub(crate) const BROWSER: &str = "__Host-keyrealm-browser";

/// A cookie's value.
pub(crate) fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split("; "))
        .find_map(|pair| pair.split_once('=').filter(|(own, _)| *own == name).map(|(_, value)| value))
}

/// Sets a cookie for as long as the browser runs.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    add(headers, format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax"));
}

/// Takes a cookie away.
pub(crate) fn clear(headers: &mut HeaderMap, name: &str) {
    add(headers, format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"));
}

fn add(headers: &mut HeaderMap, text: String) {
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

/// The token of a form: only who has the browser's cookie could be shown it.
pub(crate) fn form_token(browser: &str, interaction: &str) -> String {
    b64::encode(sha256(format!("form {browser} {interaction}").as_bytes()))
}

/// Whether a form comes from the browser that it was shown to.
pub(crate) fn is_own_form(headers: &HeaderMap, interaction: &str, given: &str) -> bool {
    get(headers, BROWSER).is_some_and(|browser| ct_eq(form_token(browser, interaction).as_bytes(), given.as_bytes()))
}
