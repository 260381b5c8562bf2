//! How long a connection may keep silent: a head must come whole within its time, between requests there is more of it,
//! and while a request is under way other limits hold. hyper has one timer for the first two, and none before HTTP/2.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::Limits;

/// The pace of one connection.
#[derive(Clone)]
pub(crate) struct Pace {
    state: Arc<Mutex<State>>,
    head: Duration,
    idle: Duration,
    /// Bytes between two requests begin a head (HTTP/1); on HTTP/2 they may be pings.
    by_bytes: bool,
}

struct State {
    /// Requests whose answers are not written yet.
    under_way: usize,
    wait: Wait,
}

#[derive(Clone, Copy)]
enum Wait {
    /// For the rest of a head, since.
    Head(Instant),
    /// For the next request, since.
    Idle(Instant),
}

/// What the silence was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// A head did not come.
    Head,
    /// No further request came.
    Idle,
}

impl Pace {
    /// From now on the first head is waited for.
    pub(crate) fn start(limits: &Limits, by_bytes: bool) -> Self {
        let state = State { under_way: 0, wait: Wait::Head(Instant::now()) };
        Self { state: Arc::new(Mutex::new(state)), head: limits.headers, idle: limits.idle, by_bytes }
    }

    /// Ends when the connection was silent for too long.
    pub(crate) async fn broken(&self) -> Silence {
        loop {
            let now = Instant::now();
            let (due, what) = match self.state.lock() {
                Ok(state) if state.under_way > 0 => (now + self.head, None),
                Ok(state) => match state.wait {
                    Wait::Head(since) => (since + self.head, Some(Silence::Head)),
                    Wait::Idle(since) => (since + self.idle, Some(Silence::Idle)),
                },
                Err(_) => (now, Some(Silence::Head)),
            };
            if let Some(what) = what.filter(|_| due <= now) {
                return what;
            }
            // A head that begins meanwhile is not due before this either.
            tokio::time::sleep_until(due.min(now + self.head)).await;
        }
    }

    /// A request has come.
    pub(crate) fn begin(&self) -> UnderWay {
        if let Ok(mut state) = self.state.lock() {
            state.under_way += 1;
        }
        UnderWay(self.clone())
    }

    fn bytes_came(&self) {
        if !self.by_bytes {
            return;
        }
        if let Ok(mut state) = self.state.lock()
            && state.under_way == 0
            && matches!(state.wait, Wait::Idle(_))
        {
            state.wait = Wait::Head(Instant::now());
        }
    }
}

/// A request is under way as long as this is there.
pub(crate) struct UnderWay(Pace);

impl UnderWay {
    /// Until the answer is written.
    pub(crate) fn with(self, body: Body) -> Answer {
        Answer { body, _under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.under_way = state.under_way.saturating_sub(1);
            state.wait = Wait::Idle(Instant::now());
        }
    }
}

/// The body of an answer.
pub(crate) struct Answer {
    body: Body,
    _under_way: UnderWay,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that tells its pace of the bytes that come.
pub(crate) struct Paced<S> {
    stream: S,
    pace: Pace,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_came();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Duration = Duration::from_millis(200);
    const IDLE: Duration = Duration::from_millis(1_000);

    fn pace(by_bytes: bool) -> Pace {
        Pace::start(&Limits { headers: HEAD, idle: IDLE, ..Limits::default() }, by_bytes)
    }

    /// It ends for this reason, and not before the time.
    async fn ends_after(pace: &Pace, silence: Silence, time: Duration) {
        let began = Instant::now();
        assert_eq!(pace.broken().await, silence);
        assert!(began.elapsed() >= time, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_first_head_has_its_time_and_the_next_request_more_of_it() {
        ends_after(&pace(true), Silence::Head, HEAD).await;
        let pace = pace(true);
        drop(pace.begin());
        ends_after(&pace, Silence::Idle, IDLE).await;
    }

    #[tokio::test]
    async fn a_head_that_has_begun_must_end_soon_and_single_bytes_buy_no_time() {
        let pace = pace(true);
        drop(pace.begin());
        let bytes = pace.clone();
        let sending = tokio::spawn(async move {
            loop {
                tokio::time::sleep(HEAD / 4).await;
                bytes.bytes_came();
            }
        });
        ends_after(&pace, Silence::Head, HEAD).await;
        sending.abort();
    }

    #[tokio::test]
    async fn while_a_request_is_under_way_silence_is_allowed() {
        let pace = pace(false);
        let request = pace.begin();
        tokio::spawn(async move {
            tokio::time::sleep(2 * IDLE).await;
            drop(request);
        });
        ends_after(&pace, Silence::Idle, 3 * IDLE).await;
    }

    /// Pings of HTTP/2 are no head.
    #[tokio::test]
    async fn on_http2_bytes_begin_no_head() {
        let pace = pace(false);
        drop(pace.begin());
        pace.bytes_came();
        ends_after(&pace, Silence::Idle, IDLE).await;
    }
}
