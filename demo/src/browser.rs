//! A browser as far as log-in pages need one: cookies, forms, and redirects that are looked at and not followed.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use http::{Method, StatusCode, header};
use keyrealm_http::client::Answer;
use url::Url;

use crate::calls::Caller;

/// Cookies and the client that carries them.
pub(crate) struct Browser {
    client: Caller,
    cookies: BTreeMap<String, String>,
}

/// A form of a page.
pub(crate) struct HtmlForm {
    pub(crate) action: String,
    pub(crate) fields: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(client: Caller) -> Self {
        Self { client, cookies: BTreeMap::new() }
    }

    pub(crate) async fn get(&mut self, url: &Url) -> Result<Answer> {
        self.send(Method::GET, url, None).await
    }

    pub(crate) async fn submit(&mut self, page: &Url, form: &HtmlForm) -> Result<Answer> {
        let url = page.join(&form.action)?;
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&form.fields).finish();
        self.send(Method::POST, &url, Some(body)).await
    }

    async fn send(&mut self, method: Method, url: &Url, form: Option<String>) -> Result<Answer> {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let mut headers = Vec::new();
        if !cookies.is_empty() {
            headers.push((header::COOKIE, cookies.as_str()));
        }
        if form.is_some() {
            headers.push((header::CONTENT_TYPE, "application/x-www-form-urlencoded"));
        }
        let answer = self.client.send(method, url, &headers, form.unwrap_or_default()).await?;
        for set in answer.headers.get_all(header::SET_COOKIE) {
            let text = set.to_str().context("a cookie is no text")?;
            let (pair, attributes) = text.split_once(';').context("a cookie without attributes")?;
            for needed in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
                ensure!(attributes.contains(needed), "the cookie lacks {needed}");
            }
            let (name, value) = pair.split_once('=').context("a cookie without value")?;
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    /// Where a redirect leads.
    pub(crate) fn location(page: &Url, answer: &Answer) -> Result<Url> {
        ensure!(
            answer.status == StatusCode::SEE_OTHER,
            "expected 303, got {}: {}",
            answer.status,
            title(&answer.text())
        );
        Ok(page.join(answer.header(&header::LOCATION))?)
    }
}

/// The first form of a page.
pub(crate) fn form(html: &str) -> Result<HtmlForm> {
    let begin = html.find("<form").context("the page has no form")?;
    let (_, rest) = html.split_at(begin);
    let end = rest.find("</form>").context("the form does not end")?;
    let (text, _) = rest.split_at(end);
    let action = attribute(text, "action").context("the form has no action")?;
    let mut fields = BTreeMap::new();
    for input in text.split("<input").skip(1) {
        let Some(tag) = input.split('>').next() else { bail!("an input does not end") };
        if let Some(name) = attribute(tag, "name") {
            fields.insert(name, attribute(tag, "value").unwrap_or_default());
        }
    }
    Ok(HtmlForm { action, fields })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// The heading of a page, for messages.
pub(crate) fn title(html: &str) -> String {
    let heading = html.split_once("<h1>").and_then(|(_, rest)| rest.split_once("</h1>")).map_or("", |(text, _)| text);
    heading.to_owned()
}
