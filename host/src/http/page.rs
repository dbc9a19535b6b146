//! The mirror's files, and the headers that every answer carries.

use std::path::PathBuf;

use axum::body::Body;
use axum::response::{Html, IntoResponse, Response};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use super::problem::Problem;

/// What the page may do: load its own files and talk to the daemon that served it, nothing else. Styles may be set on elements, because charts
/// place themselves that way.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'";

/// The page needs nothing of the machine that shows it.
const PERMISSIONS_POLICY: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), magnetometer=(), \
     microphone=(), midi=(), payment=(), serial=(), usb=()";

/// Headers of every answer.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY),
];

/// The mirror's folder.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: Option<PathBuf>,
}

impl Files {
    pub(super) fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// A file of the mirror. Looked for at each request, so that a mirror that is built later is there without a restart.
    pub(super) async fn get(&self, request: Request<Body>) -> Response {
        let path = request.uri().path().to_owned();
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let allow = "GET, HEAD".to_owned();
            return Problem::MethodNotAllowed { path, allow }.into_response();
        }
        let Some(folder) = &self.folder else {
            return missing(&path, None);
        };
        let served = ServeDir::new(folder).oneshot(request).await;
        let mut response = match served {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        if response.status() == StatusCode::NOT_FOUND {
            return missing(&path, Some(folder));
        }
        // Vite names what lies in assets/ after its content; everything else may be another file tomorrow.
        let caching = match path.starts_with("/assets/") && response.status().is_success() {
            true => "public, max-age=31536000, immutable",
            false => "no-cache",
        };
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        response
    }
}

/// Adds the headers that every answer carries.
pub(super) fn protect(response: &mut Response) {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// The page itself is explained to a person; any other file is simply not there.
fn missing(path: &str, folder: Option<&PathBuf>) -> Response {
    if !matches!(path, "/" | "/index.html") {
        return Problem::NotFound(path.to_owned()).into_response();
    }
    let why = match folder {
        None => "The configuration names no <code>web-dir</code>.".to_owned(),
        Some(folder) => format!(
            "There is no page in <code>{}</code>.",
            escape(&folder.display().to_string())
        ),
    };
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>autobench</title>\
         <h1>The daemon runs, but its page is not built</h1><p>{why} <code>cargo demo --build-only</code> builds it.</p>\
         <p>Everything else works: <a href=\"/api/v1/state\">the state</a>, <a href=\"/api/v1/logs\">the log</a>, \
         and the socket at <code>/ws</code>.</p></html>\n"
    );
    (StatusCode::NOT_FOUND, Html(page)).into_response()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
