//! A network of one bridge and three machines, for tests of what networks do.

use std::path::PathBuf;
use std::process::Command;

use super::{Node, tools};

/// Says to the program that it is the one inside.
const INSIDE: &str = "QUORATE_TEST_INSIDE";

/// Runs `body` in network and mount namespaces of its own: the test starts itself there once more. Whatever `body`
/// does to interfaces and mounts is gone with it and was never seen outside.
pub fn in_a_network_of_its_own(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let (Some(_), Some(unshare)) = (tools::network_namespaces(), tools::unshare()) else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_quorate"))
        .args(["lab", "guard", &std::process::id().to_string(), "--"])
        .arg(unshare)
        .args(["--net", "--mount", "--propagation=private", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{}\n{}", said[0], said[1]);
    assert!(said[0].contains("1 passed"), "there is no test `{test}`: {}", said[0]);
    eprint!("{}", said[1]);
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// Machines `m1`, `m2`, ... at 10.77.0.1, 10.77.0.2, ..., and the test itself at 10.77.0.254.
#[derive(Debug)]
pub struct Lan {
    ip: PathBuf,
    machines: usize,
}

impl Lan {
    pub fn new(machines: usize) -> Self {
        let ip = tools::network_namespaces().expect("the test has looked");
        let lan = Self { ip, machines };
        // The names of namespaces are files below /run.
        run("mount", &["-t", "tmpfs", "none", "/run"]);
        lan.ip("link set lo up");
        lan.ip("link add lan type bridge");
        lan.ip("addr add 10.77.0.254/24 dev lan");
        lan.ip("link set lan up");
        for machine in 1..=machines {
            lan.ip(&format!("netns add m{machine}"));
            lan.ip(&format!("link add port{machine} type veth peer name eth0 netns m{machine}"));
            lan.ip(&format!("link set port{machine} master lan up"));
            lan.ip(&format!("-n m{machine} addr add 10.77.0.{machine}/24 dev eth0"));
            lan.ip(&format!("-n m{machine} link set eth0 up"));
            lan.ip(&format!("-n m{machine} link set lo up"));
        }
        lan
    }

    fn ip(&self, arguments: &str) {
        let words: Vec<&str> = arguments.split(' ').collect();
        run(&self.ip.to_string_lossy(), &words);
    }

    /// Puts a node that has not been started on one of the machines.
    pub fn place(&self, node: &mut Node, machine: usize) {
        node.host = format!("10.77.0.{machine}");
        let name = format!("m{machine}");
        let words = [self.ip.as_os_str(), "netns".as_ref(), "exec".as_ref(), name.as_ref()];
        node.within = words.map(std::ffi::OsStr::to_owned).into();
    }

    /// From now on frames from one machine to the other go to nobody, without a sign to either.
    pub fn cut(&self, from: usize, to: usize) {
        self.ip(&format!(
            "-n m{from} neigh replace 10.77.0.{to} lladdr 02:00:00:00:00:01 dev eth0 nud permanent"
        ));
    }

    /// Cuts a machine off from all the others, but not from the test.
    pub fn cut_off(&self, machine: usize) {
        for other in self.others(machine) {
            self.cut(machine, other);
            self.cut(other, machine);
        }
    }

    pub fn others(&self, machine: usize) -> impl Iterator<Item = usize> + use<> {
        (1..=self.machines).filter(move |other| *other != machine)
    }

    pub fn heal(&self) {
        for machine in 1..=self.machines {
            self.ip(&format!("-n m{machine} neigh flush dev eth0 nud permanent"));
        }
    }
}
