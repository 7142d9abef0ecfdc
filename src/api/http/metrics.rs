use std::io::Write as _;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::api::version;
use crate::node::Handle;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// `/metrics`, whatever the method is, as in etcd.
pub(super) async fn answer(State(handle): State<Handle>, headers: HeaderMap) -> Response {
    let text = handle.metrics() + &version::cluster_metric(&handle);
    let packed = if wants_gzip(&headers) { gzip(text.as_bytes()) } else { None };
    let mut response = match packed {
        Some(packed) => ([(header::CONTENT_ENCODING, GZIP)], packed).into_response(),
        None => text.into_response(),
    };
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response
}

/// Names and labels repeat, so the least effort makes a fifteenth of it.
fn gzip(text: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail; if it did, the text would be sent as it is.
    encoder.write_all(text).ok()?;
    encoder.finish().ok()
}

/// What `promhttp` makes of `Accept-Encoding` in etcd 3.5.30, 3.6.14 and 3.7.1: gzip has to be wanted more than the
/// text as it is, which wins a tie and with it `*` alone. Nothing is ever refused.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let (mut plain, mut packed) = (-1.0_f64, 0.0_f64);
    for line in headers.get_all(header::ACCEPT_ENCODING) {
        for (coding, quality) in codings(line.to_str().unwrap_or_default()) {
            if matches!(coding, "identity" | "*") {
                plain = plain.max(quality);
            }
            if matches!(coding, "gzip" | "*") {
                packed = packed.max(quality);
            }
        }
    }
    packed > plain && packed > 0.0
}

/// The codings of one line and how much each is wanted; the rest of a line that makes no sense does not count.
fn codings(line: &str) -> impl Iterator<Item = (&str, f64)> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest.take()?.trim_start();
        let end = text.find([' ', '\t', ',', ';']).unwrap_or(text.len());
        let (coding, after) = text.split_at(end);
        let after = after.trim_start();
        let (quality, after) = match after.strip_prefix(';') {
            Some(parameter) => quality(parameter.trim_start().strip_prefix("q=")?)?,
            None => (1.0, after),
        };
        rest = after.trim_start().strip_prefix(',');
        (!coding.is_empty()).then_some((coding, quality))
    })
}

/// `0.8` and what follows it.
fn quality(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, after) = text.split_at(end);
    if !number.starts_with(['0', '1']) {
        return None;
    }
    Some((number.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(lines: &[&str]) -> bool {
        let lines = lines.iter().map(|line| line.parse().unwrap());
        wants_gzip(&lines.map(|line| (header::ACCEPT_ENCODING, line)).collect())
    }

    /// Each measured on etcd 3.5.30, 3.6.14 and 3.7.1.
    #[test]
    fn gzip_is_for_those_who_want_it_more_than_the_text() {
        for lines in [
            &["gzip"][..],
            &["identity;q=0.5, gzip"],
            &["gzip;q=0.5"],
            &["gzip;q=0.5,"],
            &["deflate, gzip"],
            &["zstd, gzip"],
            &["gzip;q=1.000"],
            &["gzip deflate"],
            &["br;q=1.0, gzip;q=0.8, *;q=0.1"],
            &["deflate", "gzip"],
            &["identity;q=0.1", "gzip"],
        ] {
            assert!(wanted(lines), "{lines:?}");
        }
        for lines in [
            &[][..],
            &[""],
            &["GZIP"],
            &["identity"],
            &["identity;q=0"],
            &["*"],
            &["*;q=0"],
            &["identity;q=0, *;q=0.3"],
            &["gzip;q=0"],
            &["gzip;q=0.0"],
            &["gzip ;q=0"],
            &["gzip; q=0"],
            &["gzip;q=0, *"],
            &["gzip, identity"],
            &["identity, gzip"],
            &["identity", "gzip"],
            &["gzip;q=0.5, identity"],
            &["gzip;q=2"],
            &["gzip;q=x"],
            &["gzip;q=.5"],
            &["gzip;q=-1, *"],
            &["gzip;Q=0"],
            &["gzip;level=3"],
            &["deflate"],
            &["x-gzip"],
            &["\"gzip\""],
        ] {
            assert!(!wanted(lines), "{lines:?}");
        }
    }
}
