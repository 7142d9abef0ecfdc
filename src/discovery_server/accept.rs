use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// What kind of answer somebody asks for.
///
/// Nodes and curl send no `Accept` or `*/*` and get what the protocol says; only somebody who names
/// another type gets that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Wanted {
    #[default]
    Protocol,
    /// A browser.
    Page,
    Json,
    /// Server-sent events.
    Events,
}

impl Wanted {
    /// Reads the `Accept` headers (RFC 9110 §12.5.1).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let named = |kind: &str| {
            let lists = headers.get_all(ACCEPT).into_iter().filter_map(|list| list.to_str().ok());
            lists.flat_map(|list| list.split(',')).any(|range| {
                let mut parts = range.split(';').map(str::trim);
                let matches = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(kind));
                matches && !parts.any(refuses)
            })
        };
        match () {
            () if named("text/html") || named("application/xhtml+xml") => Self::Page,
            () if named("text/event-stream") => Self::Events,
            () if named("application/json") => Self::Json,
            () => Self::Protocol,
        }
    }
}

/// Whether a parameter gives a type the weight 0.
fn refuses(parameter: &str) -> bool {
    let weight = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
    weight.is_some_and(|weight| weight.parse::<f32>() == Ok(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_names_a_type_gets_it() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, wanted) in [
            (None, Wanted::Protocol),
            (Some("*/*"), Wanted::Protocol),
            (Some("text/*"), Wanted::Protocol),
            (Some("text/plain"), Wanted::Protocol),
            (Some("application/json"), Wanted::Json),
            (Some("Application/JSON; q=0.5, */*"), Wanted::Json),
            (Some("application/json;q=0"), Wanted::Protocol),
            (Some("text/event-stream"), Wanted::Events),
            (Some(browser), Wanted::Page),
            (Some("text/html;q=0.0"), Wanted::Protocol),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Wanted::of(&headers), wanted, "{accept:?}");
        }
    }
}
