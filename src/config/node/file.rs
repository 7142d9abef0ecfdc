use std::io;

use serde_json::Value as Json;

use super::{Flag, Given, Kind, Note, Problem, Source, Treatment, table};

/// A configuration has a few kilobytes; what is larger is some other file.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the settings of a YAML (or JSON) file, and the keys that nobody reads.
///
/// Scalars are taken as text and read like flags, so `5s`, `"1"` and `1` work where etcd insists on
/// one spelling. A bare number is nanoseconds where a duration is asked for, as in etcd.
pub(super) fn read(path: &str) -> Result<(Vec<Given>, Vec<Note>), Problem> {
    let failed = |error: &io::Error| {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::InvalidData => "the file is no text".to_owned(),
            _ => error.to_string(),
        };
        Problem::setting(format!("open {path}: {reason}"))
    };
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > MAX_BYTES {
        return Err(Problem::setting(format!("open {path}: {size} bytes are no configuration")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    parse(path, &text)
}

/// Reads the text of the file at `path`.
pub fn parse(path: &str, text: &str) -> Result<(Vec<Given>, Vec<Note>), Problem> {
    let mut given = Vec::new();
    let mut notes = Vec::new();
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Ok((given, notes));
    }
    let wrong = |error: &serde_saphyr::Error| {
        let reason = error.render_with_options(serde_saphyr::render_options! {
            formatter: &serde_saphyr::UserMessageFormatter,
            snippets: serde_saphyr::SnippetMode::Off,
        });
        reason.lines().map(str::trim).collect::<Vec<_>>().join(" ")
    };
    let document: Json = match serde_saphyr::from_str(text) {
        Ok(document) => document,
        // As in etcd, of a key that stands twice the last one counts.
        Err(error) => {
            let policy = serde_saphyr::DuplicateKeyPolicy::LastWins;
            let options = serde_saphyr::options! { duplicate_keys: policy };
            let document = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let reason = wrong(&error);
                Problem::setting(format!("error converting YAML to JSON: yaml: {path}: {reason}"))
            })?;
            let line = error.location().map_or(0, |at| at.line());
            notes.push(Note::RepeatedKey { file: path.to_owned(), line });
            document
        }
    };
    if !document.is_object() {
        return Err(Problem::setting(format!("{path}: a mapping of settings is expected")));
    }
    let mut leaves = Vec::new();
    flatten(String::new(), &document, &mut leaves);
    for (key, value) in leaves {
        if value.is_object() {
            return Err(Problem::setting(format!("{path}: `{key}` takes a value, not a mapping")));
        }
        let flag = setting(&key);
        // `config-file` and `version` make no sense in a file.
        match flag.filter(|flag| !matches!(flag.name, "config-file" | "version")) {
            Some(flag) => {
                // It would be read as two names, of which neither was meant.
                let has_comma = |item: &Json| item.as_str().is_some_and(|text| text.contains(','));
                let is_secured =
                    matches!(flag.treatment, Treatment::ClientTls | Treatment::PeerTls);
                if is_secured && value.as_array().is_some_and(|items| items.iter().any(has_comma)) {
                    let text = format!("{path}: an item of `{key}` must not contain a comma");
                    return Err(Problem::setting(text));
                }
                let text = scalar(value, flag.kind);
                given.extend(text.map(|text| Given { flag, text, source: Source::File, at: 0 }));
            }
            None => notes.push(Note::UnknownKey { file: path.to_owned(), key }),
        }
    }
    Ok((given, notes))
}

/// The flag that a key stands for.
fn setting(key: &str) -> Option<&'static Flag> {
    table::all().find(|flag| flag.key() == key && flag.kind != Kind::Nothing)
}

/// The values of nested mappings by dotted key; a mapping where a value belongs is left as it is.
fn flatten<'a>(prefix: String, value: &'a Json, leaves: &mut Vec<(String, &'a Json)>) {
    match value {
        Json::Object(mapping) if setting(&prefix).is_none() => {
            for (key, value) in mapping {
                let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(key, value, leaves);
            }
        }
        _ => leaves.push((prefix, value)),
    }
}

/// A value as one would write it after a flag; `None` for null.
fn scalar(value: &Json, kind: Kind) -> Option<String> {
    match value {
        Json::Null => None,
        Json::String(text) => Some(text.clone()),
        Json::Number(number) if kind == Kind::Duration => Some(format!("{number}ns")),
        Json::Array(items) if items.is_empty() => None,
        Json::Array(items) => {
            let items: Vec<String> = items.iter().filter_map(|item| scalar(item, kind)).collect();
            Some(items.join(","))
        }
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(yaml: &str) -> String {
        match parse("x.yaml", yaml) {
            Ok((given, notes)) => {
                let given = given.iter().map(|given| format!("{}={}", given.flag.name, given.text));
                let notes = notes.iter().map(|note| match note {
                    Note::UnknownKey { key, .. } => format!("unknown {key}"),
                    Note::RepeatedKey { line, .. } => format!("repeated in line {line}"),
                    other => format!("{other:?}"),
                });
                given.chain(notes).collect::<Vec<_>>().join("; ")
            }
            Err(problem) => format!("error: {problem}"),
        }
    }

    #[test]
    fn yaml_values_are_read_like_flags() {
        let cases = [
            ("name: infra1", "name=infra1"),
            ("# only a comment\n\n", ""),
            ("heartbeat-interval: 200\npre-vote: false", "heartbeat-interval=200; pre-vote=false"),
            (
                "watch-progress-notify-interval: 5000000000",
                "watch-progress-notify-interval=5000000000ns",
            ),
            ("watch-progress-notify-interval: 5s", "watch-progress-notify-interval=5s"),
            ("log-outputs: [stderr, /tmp/x.log]", "log-outputs=stderr,/tmp/x.log"),
            ("auto-compaction-retention: \"1\"", "auto-compaction-retention=1"),
            ("wal-dir:\ndata-dir: d", "data-dir=d"),
            (
                "client-transport-security:\n  cert-file: a\n  zzz: b",
                "cert-file=a; unknown client-transport-security.zzz",
            ),
            (
                "client-transport-security:\n  allowed-cn: [a, b c]\n  allowed-hostname: [h]",
                "client-cert-allowed-cn=a,b c; client-cert-allowed-hostname=h",
            ),
            (
                "peer-transport-security:\n  allowed-cn: a\n  allowed-hostname: []",
                "peer-cert-allowed-cn=a",
            ),
            (
                "client-transport-security:\n  allowed-cn: ['Doe, J']",
                "error: x.yaml: an item of `client-transport-security.allowed-cn` must not contain a comma",
            ),
            ("dataDir: x", "unknown dataDir"),
            ("name: a\nname: b", "name=b; repeated in line 2"),
            (
                "{\"name\": \"j\", \"listen-peer-urls\": \"http://127.0.0.1:1\"}",
                "listen-peer-urls=http://127.0.0.1:1; name=j",
            ),
            ("- a\n- b", "error: x.yaml: a mapping of settings is expected"),
            ("name: 5", "name=5"),
            (
                "listen-client-urls: {a: b}",
                "error: x.yaml: `listen-client-urls` takes a value, not a mapping",
            ),
        ];
        for (yaml, read) in cases {
            let mut parts: Vec<String> = check(yaml).split("; ").map(str::to_owned).collect();
            let mut wanted: Vec<String> = read.split("; ").map(str::to_owned).collect();
            parts.sort();
            wanted.sort();
            assert_eq!(parts, wanted, "{yaml}");
        }
        let tab = check("name: a\n\tdata-dir: b");
        assert!(tab.contains("line 1") && !tab.contains('\n'), "{tab}");
        assert!(check("name: [").starts_with("error: error converting YAML to JSON: yaml: x.yaml"));
    }

    #[test]
    fn a_missing_file_is_named() {
        let problem = read("/nonexistent/etcd.yaml").unwrap_err();
        assert_eq!(problem.to_string(), "open /nonexistent/etcd.yaml: no such file or directory");
    }
}
