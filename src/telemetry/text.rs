use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Fields { message, rest } = fields;
        writeln!(writer, "{} {level} {message}{rest}", time::rfc3339(SystemTime::now()))
    }
}

/// The message, and all other fields as ` key=value` each.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            // A message is constant and has no line breaks; one from a library may.
            self.message = value.replace(['\n', '\r'], " ");
            return;
        }
        let name = field.name().replace('_', "-");
        let bare = !value.is_empty()
            && value.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != '"');
        // A String takes everything.
        let _ = if bare {
            write!(self.rest, " {name}={value}")
        } else {
            write!(self.rest, " {name}={value:?}")
        };
    }
}
