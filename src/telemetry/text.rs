use std::fmt;
use std::time::SystemTime;

use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
use super::{json, time};

/// `time LEVEL message key=value ...`; values with blanks or control characters are quoted.
#[derive(Debug)]
pub(super) struct TextLines;

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = json::level(*event.metadata().level()).to_uppercase();
        let Fields { message, rest } = Fields::of(event);
        // A message is constant and has no line breaks; one from a library may.
        let message = message.replace(['\n', '\r'], " ");
        write!(writer, "{} {level} {message}", time::rfc3339(SystemTime::now()))?;
        for (name, value) in rest {
            match value {
                Value::String(text) if !is_bare(&text) => write!(writer, " {name}={text:?}")?,
                Value::String(text) => write!(writer, " {name}={text}")?,
                value => write!(writer, " {name}={value}")?,
            }
        }
        writer.write_char('\n')
    }
}

/// Whether a value can stand without quotes.
fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"')
}
