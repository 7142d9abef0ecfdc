use super::{Flag, flag};
use crate::config::node::flag::Treatment::{Alias, Honoured, Legacy, Refuse, Silent, Warn};
use crate::config::node::value::Kind::{Bool, ClientUrls, Duration, Nothing, Text, Uint, Word};

const TRACING: &str = "no traces are sent";

#[rustfmt::skip] // a table reads by its lines
pub(super) const LOGGING: &[Flag] = &[
    flag("enable-pprof", Bool, "false", Warn("there is no Go profiler to serve"), "Serve the Go profiler."),
    flag("metrics", Word(&["basic", "extensive"]), "basic", Honoured, "Detail of the metrics; 'extensive' adds the time that calls take."),
    flag("listen-metrics-urls", ClientUrls, "", Honoured, "Comma-separated URLs to serve /metrics and /health on as well."),
    flag("logger", Text, "zap", Honoured, "'zap' is the log format of --log-format, 'capnslog' means text."),
    flag("log-outputs", Text, "default", Honoured, "Comma-separated outputs: stderr, stdout, file names; 'default' is stderr."),
    flag("log-output", Text, "default", Alias("log-outputs"), "Older name of --log-outputs."),
    flag("log-level", Word(&["debug", "info", "warn", "error", "dpanic", "panic", "fatal"]), "info", Honoured, "Lowest level that is logged: debug, info, warn or error."),
    flag("log-format", Word(&["json", "text", "console"]), "json", Honoured, "'json' as etcd writes it, or 'text'; 'console' is text."),
    flag("debug", Bool, "false", Honoured, "Older way to say --log-level debug."),
    flag("log-package-levels", Text, "", Warn("levels of single packages are not supported; use --log-level"), "Levels of single packages."),
    flag("enable-log-rotation", Bool, "false", Honoured, "Put the one log file of --log-outputs aside when it is full."),
    flag("log-rotation-config-json", Text, r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#, Honoured, "When: maxsize in megabytes; maxage in days and maxbackups, 0 for any, of those that are kept."),
    flag("warning-unary-request-duration", Duration, "300ms", Honoured, "Calls that take longer are logged; 0 for none."),
    flag("enable-distributed-tracing", Bool, "false", Warn(TRACING), "Send OpenTelemetry traces."),
    flag("distributed-tracing-address", Text, "localhost:4317", Silent, "Where traces go."),
    flag("distributed-tracing-service-name", Text, "etcd", Silent, "Service name in traces."),
    flag("distributed-tracing-instance-id", Text, "", Silent, "Instance in traces."),
    flag("distributed-tracing-sampling-rate", Uint, "0", Silent, "Traces per million requests."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const PROXY: &[Flag] = &[
    flag("proxy", Word(&["off", "readonly", "on"]), "off", Refuse("this node becomes a proxy only when the cluster of its --discovery token is full"), "Run as a proxy."),
    flag("proxy-failure-wait", Uint, "5000", Honoured, "Milliseconds a member that does not answer is left alone."),
    flag("proxy-refresh-interval", Uint, "30000", Honoured, "Milliseconds between two readings of the member list."),
    flag("proxy-dial-timeout", Uint, "1000", Honoured, "Milliseconds to wait for a connection to a member."),
    flag("proxy-write-timeout", Uint, "5000", Silent, "The proxy forwards connections and does not time requests."),
    flag("proxy-read-timeout", Uint, "0", Silent, "The proxy forwards connections and does not time requests."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const FLAGS: &[Flag] = &[
    flag("config-file", Text, "", Honoured, "YAML file with settings; all other flags and variables are ignored then."),
    flag("version", Bool, "false", Honoured, "Print the version and exit."),
];

#[rustfmt::skip] // a table reads by its lines
pub(super) const LEGACY: &[Flag] = &[
    flag("cluster-active-size", Nothing, "", Legacy, ""),
    flag("cluster-remove-delay", Nothing, "", Legacy, ""),
    flag("cluster-sync-interval", Nothing, "", Legacy, ""),
    flag("config", Nothing, "", Legacy, ""),
    flag("force", Nothing, "", Legacy, ""),
    flag("max-result-buffer", Nothing, "", Legacy, ""),
    flag("max-retry-attempts", Nothing, "", Legacy, ""),
    flag("peer-heartbeat-interval", Nothing, "", Legacy, ""),
    flag("peer-election-timeout", Nothing, "", Legacy, ""),
    flag("retry-interval", Nothing, "", Legacy, ""),
    flag("snapshot", Nothing, "", Legacy, ""),
    flag("v", Nothing, "", Legacy, ""),
    flag("vv", Nothing, "", Legacy, ""),
];
