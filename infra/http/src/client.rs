//! Outgoing HTTPS: the given trust only, bounded in time and size, no redirects, no proxies of the environment.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tower::Service;
use url::Url;

/// Bounds and addresses of a client.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The longest that a request may take as a whole.
    pub timeout: Duration,
    /// The largest answer, in bytes.
    pub max_answer: usize,
    /// Where `host:port` really is: URL, SNI and Host header stay as they are.
    pub addresses: HashMap<String, SocketAddr>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(10), max_answer: 1024 * 1024, addresses: HashMap::new() }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The URL is none for this client.
    #[error("{0}: only https URLs with a host are allowed")]
    Url(String),
    /// The request could not be sent or the answer not be read.
    #[error("{method} {url}: {reason}")]
    Failed {
        /// The method.
        method: Method,
        /// The URL without its query.
        url: String,
        /// The causes, the outer one first.
        reason: String,
    },
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON, null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text, empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A client with a pool of connections.
#[derive(Clone)]
pub struct HttpsClient {
    inner: Client<HttpsConnector<Mapped>, Full<Bytes>>,
    options: Arc<ClientOptions>,
}

impl HttpsClient {
    /// A client with this TLS configuration (from `keyrealm-tls`).
    #[must_use]
    pub fn new(tls: &Arc<ClientConfig>, options: ClientOptions) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(options.timeout));
        tcp.set_nodelay(true);
        let options = Arc::new(options);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(tls))
            .https_only()
            .enable_http1()
            .wrap_connector(Mapped { tcp, options: Arc::clone(&options) });
        let inner = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { inner, options }
    }

    /// GET.
    ///
    /// # Errors
    /// When there is no answer within the bounds.
    pub async fn get(&self, url: &Url) -> Result<Answer, ClientError> {
        self.send(Method::GET, url, &[], Bytes::new()).await
    }

    /// POST of a form.
    ///
    /// # Errors
    /// When there is no answer within the bounds.
    pub async fn post_form(
        &self,
        url: &Url,
        headers: &[(HeaderName, &str)],
        fields: &[(&str, &str)],
    ) -> Result<Answer, ClientError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut headers = headers.to_vec();
        headers.push((header::CONTENT_TYPE, "application/x-www-form-urlencoded"));
        self.send(Method::POST, url, &headers, body.into()).await
    }

    /// Any request.
    ///
    /// # Errors
    /// When there is no answer within the bounds.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        if url.scheme() != "https" || url.host_str().is_none() {
            return Err(ClientError::Url(url.to_string()));
        }
        let mut shown = url.clone();
        shown.set_query(None);
        let failed = |reason: String| ClientError::Failed { method: method.clone(), url: shown.to_string(), reason };
        let mut request = http::Request::builder().method(method.clone()).uri(url.as_str());
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body)).map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let response = self.inner.request(request).await.map_err(|error| failed(causes(&error)))?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, self.options.max_answer)
                .collect()
                .await
                .map_err(|error| failed(error.to_string()))?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        match tokio::time::timeout(self.options.timeout, exchange).await {
            Ok(done) => done,
            Err(_) => Err(failed(format!("no answer within {} s", self.options.timeout.as_secs_f32()))),
        }
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Connects to the mapped address of a host and port, if there is one.
#[derive(Clone)]
struct Mapped {
    tcp: HttpConnector,
    options: Arc<ClientOptions>,
}

impl Service<Uri> for Mapped {
    type Response = <HttpConnector as Service<Uri>>::Response;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = <HttpConnector as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.tcp.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let port = uri.port_u16().unwrap_or(443);
        let key = format!("{}:{port}", uri.host().unwrap_or_default());
        let mapped = self.options.addresses.get(&key).and_then(|address| {
            Uri::builder().scheme("https").authority(address.to_string()).path_and_query("/").build().ok()
        });
        self.tcp.call(mapped.unwrap_or(uri))
    }
}
