use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    render: Render,
}

fn render(line: &str) -> Render {
    let words = ["render"].into_iter().chain(line.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}")).render
}

fn text(line: &str) -> String {
    render(line).text().unwrap_or_else(|error| panic!("{line}: {error}"))
}

const TOKEN: &str = "6c007a14875d53d9bf0ef5a6fc0257c8";

/// Ways with members of a network, of one machine and of a set of pods.
fn ways(format: &str) -> Vec<String> {
    let (members, tls) = match format {
        "procfile" => (
            "n1=http://127.0.0.1:12380,n2=http://127.0.0.1:22380,n3=http://127.0.0.1:32380",
            "n1=https://127.0.0.1:12380",
        ),
        "compose" => {
            ("n1=http://n1:2380,n2=http://n2:2380,n3=http://host3:2380", "n1=https://n1:2380")
        }
        "k8s" => (
            "etcd-0=http://etcd-0.etcd:2380,etcd-1=http://etcd-1.etcd:2380,etcd-2=http://etcd-2.etcd:2380",
            "etcd-0=https://etcd-0.etcd.db.svc:2380",
        ),
        _ => (
            "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://n3.example.org:2380 --name n2",
            "n1=https://10.0.0.1:2380",
        ),
    };
    vec![
        format!("--initial-cluster {members}"),
        format!(
            "--initial-cluster {members} --initial-cluster-token t --etcd 3.4 --image etcd:v3.4.37"
        ),
        format!("--discovery http://10.0.0.9:8087/{TOKEN} --members {members}"),
        format!(
            "--discovery http://10.0.0.9:8087/{TOKEN} --members {members} --etcd 3.5 --image e/etcd:v3.5.21"
        ),
        format!(
            "--discovery http://10.0.0.9:8087/{TOKEN} --members {members} --etcd 3.7 --image e/etcd:v3.7.0"
        ),
        format!("--discovery-srv example.org --members {members}"),
        format!("--discovery-srv example.org --members {members} --etcd 3.6 --image e/etcd:v3.6.0"),
        format!("--initial-cluster {tls} --tls-dir /etc/etcd/certs"),
    ]
}

#[test]
fn what_is_printed_passes_lint_in_every_format_and_way() {
    for (format, kind) in [
        ("systemd", lint::Kind::Systemd),
        ("compose", lint::Kind::Compose),
        ("procfile", lint::Kind::Procfile),
        ("env", lint::Kind::Env),
        ("yaml", lint::Kind::Yaml),
        ("k8s", lint::Kind::K8s),
    ] {
        for way in ways(format) {
            let line = format!("{format} {way}");
            let render = render(&line);
            let text = render.text().unwrap_or_else(|error| panic!("{line}: {error}"));
            let found = lint::verdict(kind, &text, render.description.release());
            assert_eq!(found, (Vec::new(), Vec::new()), "{line}\n{text}");
        }
    }
}

#[test]
fn a_unit_has_the_flags_of_its_member() {
    let unit = text(&format!("systemd {}", ways("systemd")[0]));
    for part in [
        "Description=quorate-node member n2\n",
        "ExecStart=/usr/local/bin/quorate-node \\\n    --name=n2 \\\n",
        "--listen-peer-urls=http://0.0.0.0:2380 \\\n",
        "--initial-advertise-peer-urls=http://10.0.0.2:2380 \\\n",
        "--data-dir=/var/lib/etcd \\\n",
        "--initial-cluster-state=new\nDynamicUser=yes\nStateDirectory=etcd\n",
    ] {
        assert!(unit.contains(part), "{part}\n{unit}");
    }
    let unit =
        text("systemd --initial-cluster a%b=http://10.0.0.1:1 --data-dir /srv/e --program /opt/e");
    assert!(
        unit.contains("--name=a%%b ") && unit.contains("=/opt/e ") && unit.contains("User=etcd"),
        "{unit}"
    );
}

#[test]
fn members_of_one_machine_have_ports_of_their_own() {
    let file =
        text("procfile --initial-cluster n1=http://127.0.0.1:12380,n2=http://127.0.0.1:22380");
    let lines: Vec<&str> = file.lines().collect();
    assert!(lines[0].starts_with("n1: quorate-node --name=n1 "), "{file}");
    assert!(lines[1].contains("--listen-client-urls=http://127.0.0.1:22379 "), "{file}");
    let named = text("procfile --initial-cluster n1=http://127.0.0.1:12380 --data-dir /srv/etcd/");
    assert!(named.contains("--data-dir=/srv/etcd/n1.etcd"), "{named}");
    let refused =
        render("procfile --initial-cluster n1=http://h:1,n2=http://h:2 --client-port 5").text();
    assert!(refused.unwrap_err().contains("more than one member"));
}

#[test]
fn pods_are_told_apart_by_their_names() {
    let manifest = text(&format!("k8s {}", ways("k8s")[0]));
    for part in [
        "\"--name=$(POD_NAME)\"",
        "\"--initial-advertise-peer-urls=http://$(POD_NAME).etcd:2380\"",
        "\"--initial-cluster=etcd-0=http://etcd-0.etcd:2380,",
        "replicas: 3\n",
        "serviceName: etcd\n",
    ] {
        assert!(manifest.contains(part), "{part}\n{manifest}");
    }
    for members in
        ["n1=http://n1:2380", "etcd-1=http://etcd-1.etcd:2380", "etcd-0=http://etcd-0:2380"]
    {
        let refused = render(&format!("k8s --initial-cluster {members}")).text().unwrap_err();
        assert!(refused.contains("etcd-0=http://etcd-0.etcd:2380"), "{refused}");
    }
}

#[test]
fn a_description_that_cannot_be_is_refused_with_a_way_out() {
    for (line, part) in [
        ("env --initial-cluster n1=http://h:1,n2=http://g:1", "--name: n1, n2"),
        ("env --initial-cluster n1=http://h:1 --name x", "there are n1"),
        ("env --initial-cluster n1=https://h:1", "--tls-dir"),
        ("env --initial-cluster n1=http://h:1 --tls-dir certs", "with https://"),
        ("env --initial-cluster n1=ftp://h:1", "--initial-cluster: URL scheme"),
        ("env --initial-cluster n1=h:2380", "write name=http://ADDRESS:2380"),
        ("env --members n1=http://h:1", "--initial-cluster"),
        ("compose --initial-cluster n1=http://n1:1 --etcd 3.5", "--image"),
        ("env --discovery http://h/v2/keys/x --members n1=http://h:1 --etcd 3.7", "cannot join"),
        (
            "env --discovery http://h/t --members n1=http://h:1 --initial-cluster-token t",
            "no meaning",
        ),
    ] {
        let refused = render(line).text().unwrap_err();
        assert!(refused.contains(part), "{line}: {refused}");
    }
    let twice =
        render("procfile --initial-cluster n1=http://127.0.0.1:5,n2=http://127.0.0.1:5").run();
    let Err(Failure::Configuration(error)) = twice else { panic!("{twice:?}") };
    assert!(error.to_string().contains("[url-twice]"), "{error}");
}
