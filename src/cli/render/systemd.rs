use super::description::{Cluster, Member};

/// A unit that starts one member.
pub(super) fn unit(cluster: &Cluster, member: &Member) -> String {
    let flags = member.on_host(cluster);
    let flags: String = flags
        .iter()
        .map(|(name, value)| format!(" \\\n    {}", quoted(&format!("--{name}={value}"))))
        .collect();
    // systemd makes a directory below /var/lib, and a user that owns it.
    let state = cluster.data_dir.strip_prefix("/var/lib/").filter(|rest| !rest.is_empty());
    let state = state.map_or_else(String::new, |rest| {
        format!("StateDirectory={}\nStateDirectoryMode=0700\n", quoted(rest.trim_end_matches('/')))
    });
    // Keys are not for a user that comes and goes.
    let user = match (&cluster.tls_dir, state.is_empty()) {
        (None, false) => "DynamicUser=yes\n",
        _ => "User=etcd\n",
    };
    format!(
        "\
[Unit]
Description={title} member {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={program}{flags}
{user}{state}Restart=on-failure
RestartSec=5
TimeoutStartSec=infinity
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
",
        title = cluster.etcd.title(),
        name = member.name.replace('%', "%%"),
        program = quoted(&cluster.program),
    )
}

/// One word of a command line of systemd.
fn quoted(text: &str) -> String {
    let text = text.replace('%', "%%").replace('$', "$$");
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '\'' | '\\' | ';' | '#');
    if text.chars().all(is_plain) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
