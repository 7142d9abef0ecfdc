use super::description::{Cluster, DATA_DIR};
use crate::discovery_server::SettingsFormat;

/// A line per member, all on one machine; data are kept beside the file, or below the directory that is named.
pub(super) fn file(cluster: &Cluster) -> String {
    let program = cluster.program.rsplit('/').next().unwrap_or_default();
    // A path that was not asked for need not be the one on this machine.
    let is_default =
        matches!(cluster.program.as_str(), "/usr/local/bin/quorate-node" | "/usr/bin/etcd");
    let program = if is_default { program } else { &cluster.program };
    let line = |member: &super::description::Member| {
        let dir = match cluster.data_dir.as_str() {
            DATA_DIR => format!("{}.etcd", member.name),
            dir => format!("{}/{}.etcd", dir.trim_end_matches('/'), member.name),
        };
        let settings = member.settings(Some(&dir), cluster.tls_dir.as_deref());
        let flags = settings.print(SettingsFormat::Flags);
        format!("{}: {program} {}\n", member.name, flags.trim_end().replace('\n', " "))
    };
    cluster.members.iter().map(line).collect()
}
