use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// What the numbers were measured on.
pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split(": ").nth(1)).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().next().unwrap_or_default().split_whitespace().nth(1);
    let gib = memory.and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "machine: {model}, {cores} cores, {gib} GiB, Linux {}, scratch in {}",
        kernel.trim(),
        std::env::temp_dir().display()
    )
}

/// Clock ticks of processor time in `/proc/PID/stat`; Linux fixes them at 100 per second.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    /// The resident set.
    pub(crate) rss_mib: f64,
    /// The part of it that no file holds.
    pub(crate) own_mib: f64,
}

impl Usage {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            rss_mib: self.rss_mib + other.rss_mib,
            own_mib: self.own_mib + other.own_mib,
        }
    }
}

pub(crate) fn usage(process: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may contain blanks; fields are counted after it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let mib = |name: &str| {
        let kib = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = kib.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    Usage {
        cpu_seconds: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
        rss_mib: mib("VmRSS:"),
        own_mib: mib("RssAnon:"),
    }
}

/// How often a second 4 KiB can be added to a file and synced, by one thread and one after the other.
pub(crate) fn sync_rate(span: Duration) -> f64 {
    let mut file = tempfile::tempfile().unwrap();
    let began = Instant::now();
    let mut syncs = 0_u32;
    while began.elapsed() < span {
        file.write_all(&[b'x'; 4096]).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    f64::from(syncs) / began.elapsed().as_secs_f64()
}
