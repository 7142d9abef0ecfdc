use super::*;

/// The findings about these files as `FILE:LINE severity code`.
fn codes(files: &[(&str, &str)], release: Option<&str>) -> Vec<String> {
    let report = report(files, release);
    let text = report.text();
    let line = |line: &str| {
        let (place, rest) = line.split_once(": ")?;
        let (severity, rest) = rest.split_once(" [")?;
        let (code, rest) = rest.split_once("]: ")?;
        assert!(rest.contains("; "), "no way out: {line}");
        Some(format!("{place} {severity} {code}"))
    };
    text.lines().filter_map(line).collect()
}

fn report(files: &[(&str, &str)], release: Option<&str>) -> Report {
    let files: Vec<(Rc<str>, String)> =
        files.iter().map(|(file, text)| (Rc::from(*file), (*text).to_owned())).collect();
    judge(&files, None, release.map(|it| Release::parse(it).unwrap()))
}

fn none() -> Vec<String> {
    Vec::new()
}

const GOOD: &str = "ETCD_NAME=n1\nETCD_DATA_DIR=/var/lib/etcd\n\
    ETCD_LISTEN_PEER_URLS=http://10.0.0.1:2380\n\
    ETCD_INITIAL_ADVERTISE_PEER_URLS=http://10.0.0.1:2380\n\
    ETCD_LISTEN_CLIENT_URLS=http://10.0.0.1:2379,http://127.0.0.1:2379\n\
    ETCD_ADVERTISE_CLIENT_URLS=http://10.0.0.1:2379\n\
    ETCD_INITIAL_CLUSTER=n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380\n\
    ETCD_INITIAL_CLUSTER_TOKEN=t\n";

/// The file of the same cluster on another machine.
fn good(n: u8) -> String {
    let (name, address) = (format!("NAME=n{n}"), format!("//10.0.0.{n}:23"));
    let lines = GOOD.lines().map(|line| match line {
        line if line.contains("CLUSTER=") => line.to_owned(),
        line => line.replace("NAME=n1", &name).replace("//10.0.0.1:23", &address),
    });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn the_files_of_tutorials_are_good() {
    assert_eq!(codes(&[("Procfile", include_str!("../../../Procfile"))], Some("3.5")), none());
    let files = [good(1), good(2), good(3)];
    let named: Vec<(&str, &str)> =
        ["a.env", "b.env", "c.env"].into_iter().zip(files.iter().map(String::as_str)).collect();
    assert_eq!(codes(&named, None), none());
    let yaml = "name: etcd\ndata-dir: /var/lib/etcd\nlisten-client-urls: http://127.0.0.1:2379\n\
        advertise-client-urls: http://127.0.0.1:2379\nlisten-peer-urls: http://127.0.0.1:2380\n\
        initial-advertise-peer-urls: http://127.0.0.1:2380\n\
        initial-cluster: etcd=http://127.0.0.1:2380\ninitial-cluster-token: etcd-cluster\n\
        initial-cluster-state: new\n";
    assert_eq!(codes(&[("etcd.yml", yaml)], Some("3.6")), none());
    let script = "TOKEN=token-01\nNAME_1=machine-1\nHOST_1=10.240.0.17\n\
        CLUSTER=${NAME_1}=http://${HOST_1}:2380\nTHIS_NAME=${NAME_1}\nTHIS_IP=${HOST_1}\n\
        etcd --data-dir=data.etcd --name ${THIS_NAME} \\\n\
        --initial-advertise-peer-urls http://${THIS_IP}:2380 --listen-peer-urls http://${THIS_IP}:2380 \\\n\
        --advertise-client-urls http://${THIS_IP}:2379 --listen-client-urls http://${THIS_IP}:2379 \\\n\
        --initial-cluster ${CLUSTER} \\\n\
        --initial-cluster-state new --initial-cluster-token ${TOKEN}\n";
    assert_eq!(codes(&[("start.sh", script)], None), none());
}

#[test]
fn what_nobody_can_know_is_no_error() {
    let script = "etcd --name ${NAME} --data-dir $DIR/etcd --listen-client-urls http://${HOST_IP}:2379 \\\n\
        --advertise-client-urls http://$(hostname -i):2379 --listen-peer-urls $URLS \\\n\
        --initial-advertise-peer-urls http://`hostname`:$PORT --initial-cluster $CLUSTER \\\n\
        --heartbeat-interval $BEAT --snapshot-count=${COUNT} --pre-vote=${VOTE} \"$@\"\n";
    assert_eq!(codes(&[("start.sh", script)], None), none());
    let rest = "etcd $ETCD_OPTS --listen-client-urls http://0.0.0.0:2379\n";
    assert_eq!(codes(&[("start.sh", rest)], None), none());
}

/// Holds `etcd FLAGS` to what is to be found in it.
#[track_caller]
fn check_flags(flags: &str, found: &[&str]) {
    let known = if flags.contains("discovery") { Some("3.5") } else { None };
    let line = format!("etcd {flags}\n");
    let mut found: Vec<String> = found.iter().map(|it| format!("x.sh:1 {it}")).collect();
    let mut codes = codes(&[("x.sh", &line)], known);
    found.sort();
    codes.sort();
    assert_eq!(codes, found, "{flags}");
}

#[test]
fn settings_of_one_member_have_their_rules() {
    for (flags, found) in [
        ("--nmae x", vec!["error unknown-flag"]),
        ("--heartbeat-interval fast", vec!["error value"]),
        ("--election-timeout=100", vec!["error timing"]),
        ("--log-level", vec!["error argument"]),
        (
            "--listen-client-urls http://h:1 --advertise-client-urls http://h:1",
            vec!["error listen-on-name"],
        ),
        ("--listen-client-urls http://0.0.0.0:1", vec!["error advertise-missing"]),
        ("--initial-advertise-peer-urls http://0.0.0.0:2380", vec!["error advertise-unspecified"]),
        (
            "--name a --initial-cluster a=http://0.0.0.0:2380 \
             --initial-advertise-peer-urls http://0.0.0.0:2380",
            vec!["warning advertise-unspecified"],
        ),
        ("--name 'a --data-dir /d", vec!["error quote"]),
        (
            "--listen-peer-urls http://10.0.0.1:2380 --initial-advertise-peer-urls https://10.0.0.1:2380",
            vec!["error scheme-differs"],
        ),
        (
            "--listen-peer-urls http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.1:2381",
            vec!["warning port-differs"],
        ),
        (
            "--listen-peer-urls http://0.0.0.0:2380 --listen-client-urls http://10.0.0.1:2380 \
             --advertise-client-urls http://10.0.0.1:2380",
            vec!["error port-twice"],
        ),
        ("--client-cert-auth", vec!["warning not-encrypted", "warning client-auth-without-ca"]),
        (
            "--listen-client-urls https://10.0.0.1:1 --advertise-client-urls https://10.0.0.1:1",
            vec!["error https-without-certificate"],
        ),
        ("--cert-file c.pem --key-file k.pem", vec!["warning not-encrypted"]),
        ("--data-dir /tmp/etcd", vec!["warning data-dir-temporary"]),
    ] {
        check_flags(flags, &found);
    }
}

#[test]
fn the_way_to_the_others_has_its_rules() {
    let alone = "--name a --initial-cluster a=http://10.0.0.1:2380 \
                 --initial-advertise-peer-urls http://10.0.0.1:2380";
    for (flags, found) in [
        ("--force-new-cluster", vec!["warning force-new-cluster"]),
        ("--unsafe-no-fsync=true", vec!["warning unsafe-no-fsync"]),
        ("--discovery https://discovery.etcd.io/abc", vec!["warning public-discovery"]),
        (
            "--discovery-srv _etcd-server._tcp.a.b",
            vec!["error srv-domain", "error advertise-missing"],
        ),
        (
            "--discovery http://h:1/t --initial-cluster default=http://localhost:2380",
            vec!["error two-ways"],
        ),
        ("--name b --initial-cluster a=http://10.0.0.1:2380", vec!["error name-not-listed"]),
        (
            "--name a --initial-cluster a=http://10.0.0.1:2380 --initial-advertise-peer-urls http://10.0.0.2:2380",
            vec!["error entry-differs"],
        ),
        ("--name a --initial-cluster a=http://10.0.0.1:2380", vec!["error entry-differs"]),
        ("--name a --initial-cluster a=http://a:2380", vec!["error entry-differs"]),
        (
            "--name a --initial-cluster a=http://a:2380 --listen-peer-urls http://0.0.0.0:2380",
            vec![],
        ),
        (
            "--name a --initial-cluster a=http://a:2380 --initial-advertise-peer-urls http://10.0.0.1:2380",
            vec![],
        ),
        (
            "--name a --initial-advertise-peer-urls http://10.0.0.1:2380 \
             --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.2:2380",
            vec!["warning even-size"],
        ),
        (
            "--name a --initial-advertise-peer-urls http://10.0.0.1:2380 \
             --initial-cluster a=http://10.0.0.1:2380,b=http://10.0.0.1:2380,c=https://10.0.0.3:2380",
            vec!["error url-twice", "warning mixed-schemes"],
        ),
        (
            "--name a --initial-advertise-peer-urls http://10.0.0.1:2380 \
             --initial-cluster a=http://10.0.0.1:2380,b=http://localhost:2380,c=http://10.0.0.3:2380",
            vec!["error loopback-in-list"],
        ),
        (&format!("{alone} --initial-cluster-state existing"), vec!["error joins-alone"]),
    ] {
        check_flags(flags, &found);
    }
}

#[test]
fn who_runs_a_program_is_not_the_program() {
    for before in [
        "sudo -u etcd",
        "sudo -n",
        "exec gosu etcd",
        "su-exec etcd:etcd",
        "nice -n -5 env GOMAXPROCS=2",
        "/sbin/runuser -u etcd --",
        "nohup",
        "$ sudo",
    ] {
        let script = format!("{before} /usr/bin/etcd --data-dir /d --no-such-flag\n");
        assert_eq!(
            codes(&[("run.sh", &script)], None),
            ["run.sh:1 error unknown-flag"],
            "{before}"
        );
    }
}

#[test]
fn a_release_is_held_to_its_flags() {
    for (flags, release, found) in [
        ("--enable-v2", "3.4", vec![]),
        ("--enable-v2", "3.5", vec!["warning deprecated"]),
        ("--enable-v2", "3.6", vec!["error not-in-release"]),
        ("--discovery http://h:1/t", "3.6", vec!["warning deprecated"]),
        ("--discovery http://h:1/t", "3.7", vec!["error not-in-release"]),
        (
            "--discovery-token t --discovery-endpoints h:1",
            "3.5",
            vec!["error not-in-release", "error not-in-release"],
        ),
        ("--discovery-token t --discovery-endpoints h:1", "3.7", vec![]),
        ("--experimental-initial-corrupt-check", "3.6", vec!["warning deprecated"]),
        ("--enable-pprof", "3.6", vec![]),
        ("--enable-pprof", "quorate-node", vec!["warning no-effect"]),
        ("--proxy on", "3.5", vec!["warning deprecated"]),
        ("--proxy on", "quorate-node", vec!["error value"]),
        ("--discovery-resolver 10.0.0.1", "quorate-node", vec![]),
        ("--discovery-resolver 10.0.0.1", "3.5", vec!["error not-in-release"]),
    ] {
        let line = format!("etcd {flags}\n");
        let found: Vec<String> = found.iter().map(|it| format!("x.sh:1 {it}")).collect();
        assert_eq!(codes(&[("x.sh", &line)], Some(release)), found, "{flags} with {release}");
    }
    let unsaid = codes(&[("x.sh", "etcd --enable-v2\n")], None);
    assert_eq!(unsaid, ["x.sh:1 warning some-releases"]);
}

#[test]
fn files_have_their_own_slips() {
    let env = "ETCD_NAME=a\nETCD_INTIAL_CLUSTER=a=http://h:1\nETCD_OPTS=x\nETCD_DATA_DIR=data\n";
    assert_eq!(
        codes(&[("e.env", env)], None),
        [
            "e.env:2 error unknown-variable",
            "e.env:3 warning unknown-variable",
            "e.env:4 warning data-dir-relative",
        ]
    );
    let yaml = "name: a\nname: b\ninital-cluster: x\nmine: 1\nlisten-client-urls: http://0.0.0.0:2379\n\
                client-transport-security:\n  cert-fil: x\n";
    assert_eq!(
        codes(&[("e.yml", yaml)], None),
        [
            "e.yml:2 warning repeated-key",
            "e.yml:3 error unknown-key",
            "e.yml:4 warning unknown-key",
            "e.yml:5 warning advertise-missing",
            "e.yml:7 error unknown-key",
        ]
    );
    assert_eq!(codes(&[("e.yml", "name: [\n")], None), ["e.yml:1 error yaml"]);
    let both = "export ETCD_NAME=a\netcd --name b\n";
    assert_eq!(codes(&[("e.sh", both)], None), ["e.sh:2 error flag-and-variable"]);
    assert_eq!(codes(&[("x.txt", "nothing\n")], None), ["x.txt:1 error no-member"]);
    // As a package installs it.
    assert_eq!(codes(&[("x.env", "# ETCD_NAME=a\n")], None), ["x.env:1 warning no-member"]);
    assert_eq!(codes(&[("Procfile", "web: rails\n")], None), ["Procfile:1 error no-member"]);
}

#[test]
fn members_of_a_cluster_have_to_agree() {
    let with = |from: &str, to: &str| good(2).replace(from, to);
    for (second, found) in [
        (good(2), vec![]),
        (with("CLUSTER_TOKEN=t", "CLUSTER_TOKEN=u"), vec!["8 error token-differs"]),
        (with(",n3=http://10.0.0.3:2380", ""), vec!["7 warning even-size", "7 error list-differs"]),
        (with("//10.0.0.3", "//10.0.0.4"), vec!["7 error list-differs"]),
        (with("NAME=n2", "NAME=n1"), vec!["1 error name-twice", "4 error entry-differs"]),
        (
            with("ADVERTISE_CLIENT_URLS=http://10.0.0.2", "ADVERTISE_CLIENT_URLS=http://10.0.0.1"),
            vec!["6 error url-twice"],
        ),
        (good(2) + "ETCD_INITIAL_CLUSTER_STATE=existing\n", vec!["9 warning state-differs"]),
        (
            with("n3=http://10.0.0.3:2380", "n3=http://10.0.0.3:2380,n4=http://10.0.0.4:2380")
                .replace("NAME=n2", "NAME=n4")
                .replace("URLS=http://10.0.0.2", "URLS=http://10.0.0.4")
                + "ETCD_INITIAL_CLUSTER_STATE=existing\n",
            vec![],
        ),
    ] {
        let first = good(1) + "ETCD_INITIAL_CLUSTER_STATE=new\n";
        let second = if second.contains("STATE=") {
            second
        } else {
            second + "ETCD_INITIAL_CLUSTER_STATE=new\n"
        };
        let mut found: Vec<String> = found.iter().map(|it| format!("b.env:{it}")).collect();
        let mut codes = codes(&[("a.env", &first), ("b.env", &second)], None);
        found.sort();
        codes.sort();
        assert_eq!(codes, found, "{second}");
    }
}

/// Without a word about the state, which is `new` then.
#[test]
fn founders_have_one_list() {
    let second = good(2).replace(",n3=http://10.0.0.3:2380", ",n4=http://10.0.0.4:2380");
    let report = report(&[("a.env", &good(1)), ("b.env", &second)], None);
    let text = "b.env:7: error [list-differs]: ETCD_INITIAL_CLUSTER has n4=http://10.0.0.4:2380 instead \
                of n3=http://10.0.0.3:2380, compared with n1 (a.env:7); write the same list";
    assert!(report.text().starts_with(text), "{}", report.text());
}

#[test]
fn members_on_one_machine_have_their_own_ports_and_directories() {
    let line = |name: &str, port: u16| {
        format!(
            "{name}: etcd --name {name} --data-dir data --listen-peer-urls http://127.0.0.1:{port} \
             --initial-advertise-peer-urls http://127.0.0.1:{port} --listen-client-urls http://127.0.0.1:2379 \
             --advertise-client-urls http://127.0.0.1:2379 --initial-cluster-token t \
             --initial-cluster a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3\n"
        )
    };
    let text = line("a", 1) + &line("b", 2);
    assert_eq!(
        codes(&[("Procfile", &text)], None),
        [
            "Procfile:1 warning member-missing",
            "Procfile:2 error url-twice",
            "Procfile:2 error port-twice",
            "Procfile:2 error data-dir-twice",
        ]
    );
    let ways = "a: etcd --name a --discovery http://h:1/t\nb: etcd --name b --discovery-srv d.e \
                --initial-advertise-peer-urls http://10.0.0.1:1\n";
    assert_eq!(codes(&[("Procfile", ways)], Some("3.5")), ["Procfile:2 error ways-differ"]);
    let urls =
        "a: etcd --name a --discovery http://h:1/t\nb: etcd --name b --discovery http://g:1/t\n";
    assert_eq!(codes(&[("Procfile", urls)], Some("3.5")), ["Procfile:2 error discovery-differs"]);
}

#[test]
fn what_was_seen_is_told() {
    let report = report(&[("a.env", &good(1))], None);
    assert_eq!(report.text(), "a.env: env, member n1\n");
    assert!(output::json(&report).contains("\"members\": [\n        \"n1\""));
}

#[test]
fn a_unit_is_read_with_the_file_beside_it() {
    let unit = "[Unit]\nAfter=network.target\n[Service]\nType=simple\nWorkingDirectory=/var/lib/etcd/\n\
                EnvironmentFile=-/etc/etcd/etcd.conf\nExecStart=/usr/bin/etcd\nRestart=always\n";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("etcd.service").display().to_string();
    assert_eq!(codes(&[(&path, unit)], None), none());
    std::fs::write(dir.path().join("etcd.conf"), good(1).replace("=n1\n", "=n4\n")).unwrap();
    let file = dir.path().join("etcd.conf").display().to_string();
    assert_eq!(codes(&[(&path, unit)], None), [format!("{file}:7 error name-not-listed")]);
    let bare = "[Service]\nExecStart=/usr/bin/etcd --name x\n";
    assert_eq!(codes(&[("x.service", bare)], None), ["x.service:2 warning data-dir-relative"]);
}

#[test]
fn services_of_compose_are_members() {
    let compose = "services:\n  n1:\n    image: quay.io/coreos/etcd:v3.5.9\n    volumes: [n1:/data]\n    command:\n\
        \x20     - etcd\n      - --name=n1\n      - --data-dir=/data/n1\n\
        \x20     - --listen-peer-urls=http://0.0.0.0:2380\n      - --initial-advertise-peer-urls=http://n1:2380\n\
        \x20     - --listen-client-urls=http://0.0.0.0:2379\n      - --advertise-client-urls=http://n1:2379\n\
        \x20     - --initial-cluster=n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380\n\
        \x20 n2:\n    image: quay.io/coreos/etcd:v3.5.9\n    environment:\n      ETCD_NAME: n2\n      ETCD_DATA_DIR: /d\n\
        \x20     ETCD_LISTEN_PEER_URLS: http://0.0.0.0:2380\n      ETCD_INITIAL_ADVERTISE_PEER_URLS: http://n2:2380\n\
        \x20     ETCD_DISCOVERY_TOKEN: x\n\
        \x20     ETCD_INITIAL_CLUSTER: n1=http://n1:2380,n2=http://n2:2380,n3=http://${HOST}:2380\n\
        \x20 n3:\n    image: ${IMAGE}\n    command: etcd --name 'n3' --nope\n\
        \x20 web:\n    image: nginx\n    command: nginx -g x\n";
    assert_eq!(
        codes(&[("compose.yml", compose)], None),
        [
            "compose.yml:18 warning data-not-kept",
            "compose.yml:21 error half-a-pair",
            "compose.yml:21 error not-in-release",
            "compose.yml:22 error two-ways",
            "compose.yml:25 error unknown-flag",
        ]
    );
    let names = &report(&[("compose.yml", compose)], None).files[0].members;
    assert_eq!(names, &["n1", "n2", "n3"]);
}

#[test]
fn replicas_of_a_set_are_members_with_names() {
    let set = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: etcd, namespace: db}\nspec:\n  replicas: 3\n\
        \x20 template:\n    spec:\n      containers:\n      - name: etcd\n        image: etcd:v3.6.0\n\
        \x20       env:\n        - name: POD\n          valueFrom: {fieldRef: {fieldPath: metadata.name}}\n\
        \x20       volumeMounts: [{name: data, mountPath: /data}]\n        command:\n        - etcd\n\
        \x20       - --name=$(POD)\n        - --data-dir=/data/etcd\n        - --listen-peer-urls=http://0.0.0.0:2380\n\
        \x20       - --initial-advertise-peer-urls=http://$(POD).etcd:2380\n\
        \x20       - --initial-cluster=etcd-0=http://etcd-0.etcd:2380,etcd-1=http://etcd-1.etcd:2380,etcd-2=http://etcd-2.etcd:2380\n";
    assert_eq!(codes(&[("set.yml", set)], None), none());
    let wrong = set.replace("etcd-2=http://etcd-2.", "etcd-3=http://etcd-3.");
    assert_eq!(
        codes(&[("set.yml", &wrong)], None),
        ["set.yml:21 error name-not-listed", "set.yml:21 warning member-missing"]
    );
    let in_shell =
        set.replace("- etcd\n", "- sh\n        - -c\n        - exec etcd --name=${POD} --nope\n");
    assert_eq!(codes(&[("set.yml", &in_shell)], None), ["set.yml:18 error unknown-flag"]);
}

#[test]
fn records_of_dnsmasq_lead_to_members() {
    let records = "srv-host=_etcd-server._tcp.b.com,etcd1.b.com,2380,0,100\n\
                   srv-host=_etcd-server._tcp.b.com,etcd2.b.com,2380,0,100\n\
                   srv-host=_etcd-server._tcp.b.com,etcd3.b.com,2380,0,100\n";
    let member = |n: u8| {
        format!(
            "etcd --name etcd{n} --discovery-srv b.com --initial-advertise-peer-urls http://etcd{n}.b.com:2380 \
             --initial-cluster-token etcd-cluster-1 --data-dir /d --initial-cluster-state new \
             --advertise-client-urls http://etcd{n}.b.com:2379 --listen-client-urls http://0.0.0.0:2379 \
             --listen-peer-urls http://0.0.0.0:2380\n"
        )
    };
    let (one, two, three) = (member(1), member(2), member(3));
    let check = |records: &str, one: &str| {
        let files = [("dnsmasq.conf", records), ("1.sh", one), ("2.sh", &two), ("3.sh", &three)];
        codes(&files, None)
    };
    assert_eq!(check(records, &one), none());
    assert_eq!(
        check(records, &one.replace("etcd1.b.com", "etcd9.b.com")),
        ["dnsmasq.conf:1 warning record-without-member", "1.sh:1 error srv-without-record"]
    );
    assert_eq!(
        check(&records.replace("etcd3.b.com,2380", "etcd1.b.com,2380"), &one),
        ["dnsmasq.conf:3 error record-twice", "3.sh:1 error srv-without-record",]
    );
    let elsewhere = check(records, &one.replace("srv b.com", "srv c.com"));
    assert!(elsewhere.contains(&"1.sh:1 error srv-without-record".to_owned()), "{elsewhere:?}");
    assert!(elsewhere.contains(&"2.sh:1 error discovery-differs".to_owned()), "{elsewhere:?}");
    let ssl = records.replace("_etcd-server.", "_etcd-server-ssl.");
    assert_eq!(check(&ssl, &one).len(), 3);
    assert_eq!(
        codes(&[("dnsmasq.conf", "srv-host=_ldap._tcp.a.b,c,1\n")], None),
        ["dnsmasq.conf:1 error no-record"]
    );
    assert_eq!(
        codes(&[("dnsmasq.conf", "srv-host=_etcd-server._tcp.a.b,c,x\n")], None),
        ["dnsmasq.conf:1 error dnsmasq"]
    );
}

/// As etcd 3.4.23 does, whichever records there are.
#[test]
fn etcd_3_4_finds_members_by_srv_with_tls_only() {
    let line = "etcd --name n1 --discovery-srv d.e --initial-advertise-peer-urls http://n1.d.e:2380 \
                --listen-peer-urls http://10.0.0.1:2380\n";
    let found = |line: &str, release| codes(&[("a.sh", line)], Some(release));
    assert_eq!(found(line, "3.4"), ["a.sh:1 error srv-without-tls"]);
    assert_eq!(found(line, "3.5"), none());
    let secure = found(&line.replace("http:", "https:"), "3.4");
    assert!(!secure.iter().any(|found| found.contains("srv-without-tls")), "{secure:?}");
}
