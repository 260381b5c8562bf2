//! The body of a request on its way to the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use kube::client::Body;
use tower::BoxError;

/// Is asked whether a request may go, in the moment in which it does: an extension of the request. Between the last line of code
/// that could ask and that moment a process may stand still for long. Of a request whose body does not come a server does
/// nothing.
#[derive(Clone)]
pub struct BeforeSending(pub Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>);

/// A body that asks.
pub struct Sent {
    body: Body,
    before: Option<BeforeSending>,
}

impl Sent {
    pub(crate) fn of(mut request: Request<Body>) -> Request<Self> {
        let before = request.extensions_mut().remove::<BeforeSending>();
        request.map(|body| Self { body, before })
    }
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(Err(error)) = self.before.as_ref().map(|before| (before.0)()) {
            return Poll::Ready(Some(Err(error)));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn what_may_no_longer_go_does_not() {
        let may = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&may);
        let before = BeforeSending(Arc::new(move || {
            if asked.load(Ordering::Relaxed) { Ok(()) } else { Err("this process does not lead".into()) }
        }));
        let request = || {
            let mut request = Request::new(Body::from(b"{}".to_vec()));
            request.extensions_mut().insert(before.clone());
            Sent::of(request).into_body()
        };
        let (goes, stays) = (request(), request());
        assert_eq!(http_body::Body::size_hint(&goes).exact(), Some(2));
        assert_eq!(goes.collect().await.unwrap().to_bytes(), "{}");
        may.store(false, Ordering::Relaxed);
        assert_eq!(stays.collect().await.unwrap_err().to_string(), "this process does not lead");
    }
}
