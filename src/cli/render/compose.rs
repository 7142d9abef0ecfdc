use std::net::IpAddr;

use super::description::{Cluster, Member};

/// Where containers keep their data; the image of this project has a volume there.
const DATA: &str = "/data";
const CERTS: &str = "/certs";
/// Between the ports of two members on the machine, as the ports of tutorials are.
const APART: u16 = 10_000;

/// All members as services.
pub(super) fn file(cluster: &Cluster) -> Result<String, String> {
    let image = cluster.image()?;
    let mut text = String::from("services:\n");
    for (number, member) in (0..).zip(&cluster.members) {
        text += &service(cluster, image, member, number);
    }
    text += "\nvolumes:\n";
    for member in &cluster.members {
        text += &format!("  {}: {{}}\n", text_of(&member.name));
    }
    Ok(text)
}

fn service(cluster: &Cluster, image: &str, member: &Member, number: u16) -> String {
    let certs = cluster.tls_dir.as_ref().map(|_| CERTS);
    let settings = member.settings(Some(&format!("{DATA}/etcd")), certs);
    let name = text_of(&member.name);
    let mut text = format!(
        "  {name}:\n    image: {}\n    entrypoint: [{}]\n    command:\n",
        text_of(image),
        text_of(&cluster.program_of_image())
    );
    for (flag, value) in settings.iter() {
        text += &format!("      - {}\n", text_of(&format!("--{flag}={value}")));
    }
    text += &format!("    volumes:\n      - {}\n", text_of(&format!("{}:{DATA}", member.name)));
    if let Some(dir) = &cluster.tls_dir {
        text += &format!("      - {}\n", text_of(&format!("{dir}:{CERTS}:ro")));
    }
    text += &network(cluster, member, number);
    text + "    restart: unless-stopped\n"
}

/// Names of services lead to them inside of the network of the file; other names are added. An
/// address is that of a machine.
fn network(cluster: &Cluster, member: &Member, number: u16) -> String {
    if cluster.hosts().iter().any(|host| host.parse::<IpAddr>().is_ok()) {
        return "    network_mode: host\n".to_owned();
    }
    let mut hosts: Vec<&str> = member.urls.iter().map(|url| url.host()).collect();
    hosts.dedup();
    let aliases: String = hosts
        .iter()
        .filter(|host| **host != member.name)
        .map(|host| format!("          - {}\n", text_of(host)))
        .collect();
    let mut text = String::new();
    if !aliases.is_empty() {
        text += &format!("    networks:\n      default:\n        aliases:\n{aliases}");
    }
    // Every member is at hand on this machine, the first one at the usual port.
    if let Some(port) = number.checked_mul(APART).and_then(|it| it.checked_add(member.client_port))
    {
        let ports = format!("127.0.0.1:{port}:{}", member.client_port);
        text += &format!("    ports:\n      - {}\n", text_of(&ports));
    }
    text
}

/// A text in which compose puts in nothing.
fn text_of(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}
