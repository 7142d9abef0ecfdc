use std::fmt;
use std::time::SystemTime;

use serde_json::Value;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields::Fields;
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
        let fields = Fields::of(event);
        write!(
            writer,
            r#"{{"level":"{}","ts":"{}","caller":{},"msg":{}"#,
            level(*metadata.level()),
            time::rfc3339(SystemTime::now()),
            Value::from(caller(metadata)),
            Value::from(fields.message),
        )?;
        for (name, value) in fields.rest {
            write!(writer, ",{}:{value}", Value::from(name))?;
        }
        writer.write_str("}\n")
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::text::TextLines;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
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
        let bytes = lines.0.lock().clone();
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
