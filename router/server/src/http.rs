//! `/metrics`, `/healthz` and `/readyz`, for monitoring systems and load balancers.
//!
//! One short request for one connection, a bounded number of them, and a deadline over each.

use crate::admin::Source;
use crate::health::Health;
use crate::metrics;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 64;
/// From the accept to the last byte of the answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// For the request's head alone.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// The request's head; hyper's least possible value.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// After a failed accept (no file descriptors, most often).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What the pages are made from.
pub struct Pages {
    pub registry: Registry,
    pub health: Health,
    pub source: Arc<dyn Source>,
}

/// Serves until the future is dropped; connections that are open then are closed.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                let pages = pages.clone();
                connections.spawn(async move {
                    connection(stream, pages).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "could not accept an HTTP connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = pages.answer(request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(REQUEST_TIME_MAX, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "HTTP connection failed"),
        Err(_) => tracing::debug!("HTTP connection took too long"),
    }
}

impl Pages {
    /// The answer to one request. Public pages only: nothing here changes anything.
    pub fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refusal = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n");
            let methods = HeaderValue::from_static("GET, HEAD");
            refusal.headers_mut().insert(ALLOW, methods);
            return refusal;
        }
        match path {
            "/metrics" => match metrics::render(&self.registry) {
                Ok(text) => page(StatusCode::OK, OPENMETRICS, text),
                Err(_) => page(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    TEXT,
                    "metrics could not be written\n",
                ),
            },
            "/healthz" => page(StatusCode::OK, TEXT, "ok\n"),
            "/readyz" => match self.not_ready() {
                None => page(StatusCode::OK, TEXT, "ready\n"),
                Some(reason) => {
                    let text = format!("not ready: {reason}\n");
                    page(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
                }
            },
            _other => page(
                StatusCode::NOT_FOUND,
                TEXT,
                "not found; there are /metrics, /healthz, /readyz\n",
            ),
        }
    }

    /// Why clients should not be sent here.
    fn not_ready(&self) -> Option<String> {
        if !self.source.accepting() {
            return Some("no clients are accepted".to_owned());
        }
        let home = self.source.snapshot().home;
        match self.health.primary(home) {
            Some(_) => None,
            None => Some(format!(
                "the home shard has no primary: {}",
                self.health.why_no_primary(home)
            )),
        }
    }
}

fn page(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
