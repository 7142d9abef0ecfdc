use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::time;

/// One JSON object per line, with the keys and the order that etcd's logger uses.
#[derive(Debug)]
pub(super) struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
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
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        write!(
            writer,
            r#"{{"level":"{}","ts":"{}","caller":{},"msg":{}"#,
            level(*metadata.level()),
            time::rfc3339(SystemTime::now()),
            Value::from(caller(metadata)),
            Value::from(fields.message),
        )?;
        writeln!(writer, "{}}}", fields.rest)
    }
}

/// etcd's name of a level.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// `discovery/token.rs:120`: the place that logged, without what all places have in common.
fn caller(metadata: &tracing::Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or_else(|| metadata.target());
    let file = file.rsplit_once("src/").map_or(file, |(_, file)| file);
    match metadata.line() {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

/// The message, and all other fields as `,"key":value` each.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: &Value) {
        // Identifiers have underscores where etcd's keys have dashes.
        let name = Value::from(field.name().replace('_', "-"));
        let _ = write!(self.rest, ",{name}:{value}"); // a String takes everything
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, &Value::from(text));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, &Value::from(value));
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::text::TextLines;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn log(json: bool) -> String {
        let lines = Lines::default();
        let writer = {
            let lines = lines.clone();
            move || lines.clone()
        };
        let layer = tracing_subscriber::fmt::layer().with_writer(writer);
        let layer: Box<dyn tracing_subscriber::Layer<_> + Send + Sync> = if json {
            Box::new(layer.event_format(JsonLines))
        } else {
            Box::new(layer.event_format(TextLines))
        };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            let error = "a \"quoted\"\nline";
            tracing::warn!(raft.term = 3_u64, found_peers = 1, ok = true, error = %error, "hello");
        });
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_has_the_shape_of_etcd() {
        let line = log(true);
        assert!(line.starts_with(r#"{"level":"warn","ts":"20"#), "{line}");
        let (head, tail) = line.split_once(r#","caller":"telemetry/json.rs:"#).unwrap();
        assert_eq!(head.len(), r#"{"level":"warn","ts":"2026-11-21T05:52:08.274080Z""#.len());
        let (_, tail) = tail.split_once(',').unwrap();
        assert_eq!(
            tail,
            "\"msg\":\"hello\",\"raft.term\":3,\"found-peers\":1,\"ok\":true,\
             \"error\":\"a \\\"quoted\\\"\\nline\"}\n"
        );
        assert!(serde_json::from_str::<Value>(&line).is_ok());
    }

    #[test]
    fn text_keeps_one_line_per_event() {
        let line = log(false);
        assert!(
            line.ends_with(
                " WARN hello raft.term=3 found-peers=1 ok=true error=\"a \\\"quoted\\\"\\nline\"\n"
            ),
            "{line}"
        );
    }
}
