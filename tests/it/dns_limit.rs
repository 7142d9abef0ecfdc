//! Strangers that ask too much, asked with `dig` from an address that is not this machine's own
//! loopback: in a network namespace.

use std::path::Path;
use std::time::Instant;

use crate::harness::{Namespace, Process, scratch, tools, wait};

/// Of no private network: those may recurse by default, and have no limits.
const SERVER: &str = "198.51.100.53";

/// A service that everybody who asks is a stranger to.
struct Strangers {
    namespace: Namespace,
    dig: std::path::PathBuf,
    dir: tempfile::TempDir,
    _service: Process,
}

impl Strangers {
    fn new(suffix: &str, flags: &[&str]) -> Option<Self> {
        let dig = tools::dig()?;
        let namespace = Namespace::new(suffix, &[SERVER])?;
        let dir = scratch();
        let zones = dir.path().join("zones");
        std::fs::create_dir(&zones).unwrap();
        let servers: String = (0..9)
            .map(|n| format!("_big._tcp SRV 0 0 {} host{n}\nhost{n} A 10.0.0.{n}\n", 7000 + n))
            .collect();
        let text =
            format!("$TTL 60\n@ SOA ns hostmaster 1 2 3 4 5\n@ NS ns\nns A 10.0.0.1\n{servers}");
        std::fs::write(zones.join("limit.test.zone"), text).unwrap();
        let mut all = vec![
            "serve".to_owned(),
            format!("--data-dir={}", dir.path().join("quorate.data").display()),
            format!("--zones-dir={}", zones.display()),
            "--http-addr=127.0.0.1:8087".to_owned(),
            format!("--dns-addr={SERVER}:53"),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let program = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let service = namespace.start("quorate", program, &all, dir.path());
        let strangers = Self { namespace, dig, dir, _service: service };
        // Over TCP there is no limit, so nothing is used up by waiting.
        wait("DNS", || {
            let soa =
                strangers.run(&["+tcp", "+short", "+time=1", "+tries=1", "limit.test", "SOA"]);
            (!soa.is_empty() && !soa.starts_with(';')).then_some(())
        });
        Some(strangers)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let server = format!("@{SERVER}");
        let arguments = [&[server.as_str()], arguments].concat();
        let output = self.namespace.run(&self.dig, &arguments);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `dig` prints for many questions, all of them asked by one process.
    fn ask_many(&self, question: &str, times: usize, options: &str) -> String {
        let file = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        std::fs::write(file.path(), format!("{question}\n").repeat(times)).unwrap();
        let file = file.path().display().to_string();
        let mut arguments = vec!["+noall", "+comments", "+stats", "+tries=1"];
        arguments.extend(options.split(' '));
        arguments.extend(["-f", &file]);
        self.run(&arguments)
    }
}

/// The bytes of the answers.
fn received(text: &str) -> usize {
    let sizes = text.lines().filter_map(|line| line.split("rcvd: ").nth(1));
    sizes.map(|size| size.trim().parse::<usize>().unwrap()).sum()
}

/// Some whole answers, then half of the others are cut short so that the client comes over TCP, and
/// the rest gets none.
#[test]
fn who_asks_too_often_is_sent_to_tcp() {
    const RATE: usize = 10;
    let Some(strangers) = Strangers::new("slip", &["--dns-rate-limit=10"]) else { return };
    let started = Instant::now();
    // At once, since whoever waits for an answer that does not come has earned others by then.
    let text: String = std::thread::scope(|scope| {
        let ask = || strangers.ask_many("ns.limit.test A", 10, "+noedns +ignore +time=1");
        let asking: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    let millis = started.elapsed().as_millis();
    let flags = |line: &&str| line.starts_with(";; flags: qr");
    let answers: Vec<&str> = text.lines().filter(flags).collect();
    let cut = answers.iter().filter(|line| line.contains(" tc")).count();
    let whole = answers.len() - cut;
    let allowed = RATE + 1 + usize::try_from(millis / 100).unwrap();
    assert!((RATE..=allowed).contains(&whole), "{whole} whole answers in {millis} ms\n{text}");
    assert!(cut > 0 && answers.len() < 60, "{cut} cut of {}\n{text}", 60 - whole);
    let tcp = strangers.ask_many("ns.limit.test A", 30, "+tcp +time=5");
    let whole = tcp.lines().filter(flags).filter(|line| !line.contains(" tc")).count();
    assert_eq!(whole, 30, "connections prove an address\n{tcp}");
}

/// In the default set-up nobody gets more than three bytes for one, from the first question on.
#[test]
fn nobody_is_hit_with_more_than_three_bytes_for_one() {
    let Some(strangers) = Strangers::new("amplify", &[]) else { return };
    let options = "+bufsize=4096 +nocookie +ignore +time=1";
    let mut text = String::new();
    for questions in [1, 2, 187] {
        text += &strangers.ask_many("_big._tcp.limit.test SRV", questions, options);
        // Header, name, type and class, and an OPT record.
        let asked = text.matches("rcvd: ").count() * (12 + 22 + 4 + 11);
        let got = received(&text);
        assert!(got <= 3 * asked, "{got} bytes for {asked}\n{text}");
    }
    let whole = text.matches("ANSWER: 9").count();
    assert!(whole > 0 && text.contains(" tc"), "some come whole, others are cut\n{text}");
}
