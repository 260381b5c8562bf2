//! Calls of the servers: each exchange is noted, without secrets, whoever makes it.

use anyhow::{Error, Result, anyhow};
use http::{HeaderName, Method, header};
use keyrealm_http::client::{Answer, ClientError, HttpsClient};
use url::Url;

use crate::endpoints::Notes;

/// Parameters of URLs whose values are no secrets; all others are masked.
const SHOWN: [&str; 14] = [
    "client_id",
    "code_challenge_method",
    "error",
    "error_description",
    "iss",
    "name[]",
    "page",
    "post_logout_redirect_uri",
    "prompt",
    "redirect_uri",
    "response_type",
    "scope",
    "size",
    "sort",
];

/// A client that notes what it sends and gets.
#[derive(Clone)]
pub(crate) struct Caller {
    client: HttpsClient,
    exchanges: Notes,
}

impl Caller {
    pub(crate) fn new(client: HttpsClient, exchanges: &Notes) -> Self {
        Self { client, exchanges: exchanges.clone() }
    }

    pub(crate) async fn get(&self, url: &Url) -> Result<Answer> {
        self.send(Method::GET, url, &[], String::new()).await
    }

    pub(crate) async fn post_form(
        &self,
        url: &Url,
        headers: &[(HeaderName, &str)],
        fields: &[(&str, &str)],
    ) -> Result<Answer> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = (header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(Method::POST, url, &[headers, &[form]].concat(), body).await
    }

    /// Any request.
    ///
    /// # Errors
    /// When there is no answer, with one cause below the other.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: String,
    ) -> Result<Answer> {
        match self.client.send(method.clone(), url, headers, body.into()).await {
            Ok(answer) => {
                self.exchanges.say(exchange(&method, url, &answer));
                Ok(answer)
            }
            Err(error) => {
                self.exchanges.say(format!("{method} {} -> no answer", masked(url)));
                Err(nested(error))
            }
        }
    }
}

fn exchange(method: &Method, url: &Url, answer: &Answer) -> String {
    let to = match url.join(answer.header(&header::LOCATION)) {
        Ok(to) if answer.headers.contains_key(header::LOCATION) => {
            let other = if to.origin() == url.origin() { String::new() } else { to.origin().ascii_serialization() };
            format!(" to {other}{}", masked(&to))
        }
        _ => String::new(),
    };
    format!("{method} {} -> {}{to} ({} bytes)", masked(url), answer.status, answer.body.len())
}

/// Path and query; of the query only what is known to be no secret.
fn masked(url: &Url) -> String {
    let pairs = url.query_pairs().map(|(name, value)| {
        let value = if SHOWN.contains(&name.as_ref()) { value } else { "***".into() };
        format!("{name}={value}")
    });
    let query: Vec<String> = pairs.collect();
    if query.is_empty() { url.path().to_owned() } else { format!("{}?{}", url.path(), query.join("&")) }
}

/// The client tells its causes in one line, the outer one first; here each is below the one that it brought about.
fn nested(error: ClientError) -> Error {
    match error {
        ClientError::Failed { method, url, reason } => {
            let mut causes = reason.rsplit(": ").map(str::to_owned);
            let inner = causes.next().unwrap_or_default();
            causes.fold(anyhow!(inner), Error::context).context(format!("no answer to {method} {url}"))
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    #[test]
    fn what_might_be_a_secret_is_masked() {
        let url: Url =
            "https://id/oauth2/v1/authorize?client_id=c&state=s1&new=s2&scope=openid%20email".parse().unwrap();
        let mut answer = Answer { status: StatusCode::SEE_OTHER, headers: HeaderMap::new(), body: "12".into() };
        let noted = exchange(&Method::GET, &url, &answer);
        assert_eq!(
            noted,
            "GET /oauth2/v1/authorize?client_id=c&state=***&new=***&scope=openid email -> 303 See Other (2 bytes)"
        );
        let mut to = |text: &'static str| {
            answer.headers.insert(header::LOCATION, text.parse().unwrap());
            exchange(&Method::POST, &"https://id/login".parse().unwrap(), &answer)
        };
        let noted = to("http://localhost:3000/callback?code=s3&iss=i");
        assert_eq!(noted, "POST /login -> 303 See Other to http://localhost:3000/callback?code=***&iss=i (2 bytes)");
        assert_eq!(to("/consent?request=s4"), "POST /login -> 303 See Other to /consent?request=*** (2 bytes)");
    }

    #[test]
    fn causes_are_one_below_the_other() {
        let reason = "client error (Connect): tcp connect error: Connection refused (os error 111)".to_owned();
        let error = nested(ClientError::Failed { method: Method::GET, url: "https://k/".to_owned(), reason });
        let chain: Vec<String> = error.chain().map(ToString::to_string).collect();
        assert_eq!(
            chain,
            [
                "no answer to GET https://k/",
                "client error (Connect)",
                "tcp connect error",
                "Connection refused (os error 111)"
            ]
        );
    }
}
