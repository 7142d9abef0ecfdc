//! How much memory there is, and how much of it entries may take on their way.

use std::path::{Path, PathBuf};

/// What entries may take where there is plenty.
const PLENTY: usize = 64 << 20;
/// And where there is little.
const LITTLE: usize = 4 << 20;
/// The part of the memory there is.
const SHARE: u64 = 16;

/// Bytes that applied entries may take which followers could still need, and as many that those may take which
/// wait for the store: a sixteenth of the memory of the machine, or of the control group that the process runs in.
pub(super) fn buffers() -> usize {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.saturating_mul(machine.mem_unit.into());
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    share(group_limit(Path::new("/sys/fs/cgroup"), &groups).map_or(machine, |it| it.min(machine)))
}

fn share(memory: u64) -> usize {
    usize::try_from(memory / SHARE).unwrap_or(PLENTY).clamp(LITTLE, PLENTY)
}

/// The least that the process's control group, or one that it is part of, allows. A container sees its own group where
/// the mount begins, whatever the path says (cgroups(7)).
fn group_limit(mount: &Path, groups: &str) -> Option<u64> {
    let files = groups.lines().flat_map(|line| {
        let (controllers, path) = line
            .split_once(':')
            .map_or(("", ""), |(_, rest)| rest.split_once(':').unwrap_or_default());
        let (mount, file) = match controllers {
            "" => (mount.to_owned(), "memory.max"),
            _ if controllers.split(',').any(|it| it == "memory") => {
                (mount.join("memory"), "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let path = Path::new(path.trim_start_matches('/'));
        path.ancestors().map(|group| mount.join(group).join(file)).collect::<Vec<PathBuf>>()
    });
    // "max", and in the old version a number beyond all memory, stand for no limit.
    files.filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_least_limit_of_all_groups_counts() {
        let mount = tempfile::tempdir().unwrap();
        let limit = |file: &str, text: &str| {
            let file = mount.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        let found = |groups: &str| group_limit(mount.path(), groups);
        assert_eq!(found("0::/\n"), None);
        limit("pod/memory.max", "536870912\n");
        limit("pod/node/memory.max", "max\n");
        assert_eq!(found("0::/pod/node\n"), Some(512 << 20));
        limit("pod/node/memory.max", "268435456\n");
        assert_eq!(found("0::/pod/node\n"), Some(256 << 20));
        assert_eq!(found("0::/elsewhere\n"), None);
        // Version 1, within a container: the path is one of the machine.
        limit("memory/memory.limit_in_bytes", "134217728\n");
        assert_eq!(found("5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n"), Some(128 << 20));
        assert_eq!(found("damaged\n"), None);
    }

    #[test]
    fn entries_take_a_part_of_the_memory() {
        assert_eq!(share(256 << 20), 16 << 20);
        assert_eq!(share(32 << 20), LITTLE);
        assert_eq!(share(1 << 40), PLENTY);
    }
}
