//! What the pages need besides themselves.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

const STYLE: &str = include_str!("../../../assets/style.css");
const SCRIPT: &str = include_str!("../../../assets/script.js");
const ICON: &str = include_str!("../../../assets/icon.svg");

pub(in crate::api) async fn style() -> Response {
    file("text/css; charset=utf-8", STYLE)
}

pub(in crate::api) async fn script() -> Response {
    file("text/javascript; charset=utf-8", SCRIPT)
}

pub(in crate::api) async fn icon() -> Response {
    file("image/svg+xml", ICON)
}

fn file(content_type: &'static str, content: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        // A monitor that was upgraded has others under the same names.
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300")),
    ];
    (headers, content).into_response()
}
