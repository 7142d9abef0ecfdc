use super::description::{Cluster, Member};

const DATA: &str = "/data";
const CERTS: &str = "/certs";
const STORAGE: &str = "8Gi";
/// The user of the image of this project, and of distroless images.
const GROUP: u32 = 65532;

/// What the names of the members say about the set.
#[derive(Debug, PartialEq)]
struct Set<'a> {
    name: &'a str,
    service: &'a str,
}

/// A headless `Service`, which gives each pod a name, and a `StatefulSet`.
pub(super) fn manifest(cluster: &Cluster) -> Result<String, String> {
    let set = set(cluster)?;
    let first = &cluster.members[0];
    let image = text_of(cluster.image()?);
    let (peer, client) = (first.urls[0].port(), first.client_port);
    let Set { name, service } = &set;
    let arguments: String =
        arguments(cluster, first).iter().map(|it| format!("        - {}\n", text_of(it))).collect();
    let (mounts, volumes, probe) = match &cluster.tls_dir {
        Some(_) => (
            format!(
                "        - name: certs\n          mountPath: {CERTS}\n          readOnly: true\n"
            ),
            // Of the directory: kubectl create secret generic NAME-certs --from-file=DIR
            format!(
                "      volumes:\n      - name: certs\n        secret:\n          secretName: {name}-certs\n"
            ),
            // Who asks without a certificate gets no answer.
            format!("          tcpSocket:\n            port: {client}\n"),
        ),
        None => (
            String::new(),
            String::new(),
            format!("          httpGet:\n            path: /health\n            port: {client}\n"),
        ),
    };
    Ok(format!(
        r#"{headless}apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {name}
  labels:
    app: {name}
spec:
  serviceName: {service}
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      app: {name}
  template:
    metadata:
      labels:
        app: {name}
    spec:
      securityContext:
        fsGroup: {GROUP}
      containers:
      - name: etcd
        image: {image}
        command: [{program}]
        args:
{arguments}        env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        ports:
        - name: client
          containerPort: {client}
        - name: peer
          containerPort: {peer}
        readinessProbe:
{probe}        volumeMounts:
        - name: data
          mountPath: {DATA}
{mounts}{volumes}  volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      resources:
        requests:
          storage: {STORAGE}
"#,
        headless = headless_service(cluster, &set, first),
        replicas = cluster.members.len(),
        program = text_of(&cluster.program_of_image()),
    ))
}

/// Its ports have the names that `--discovery-srv` looks for.
fn headless_service(cluster: &Cluster, Set { name, service }: &Set<'_>, first: &Member) -> String {
    let (peer, client) = (first.urls[0].port(), first.client_port);
    let tls = if cluster.tls_dir.is_some() { "-ssl" } else { "" };
    format!(
        r#"apiVersion: v1
kind: Service
metadata:
  name: {service}
  labels:
    app: {name}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    app: {name}
  ports:
  - name: etcd-client{tls}
    port: {client}
  - name: etcd-server{tls}
    port: {peer}
---
"#
    )
}

/// Pods are named by their set and numbered from 0, and have names of their service.
fn set(cluster: &Cluster) -> Result<Set<'_>, String> {
    let wrong = |member: &Member| {
        format!(
            "Kubernetes names pods SET-0, SET-1 and so on, reached as SET-0.SERVICE, and `{}={}` is not \
             like that; write etcd-0=http://etcd-0.etcd:2380,etcd-1=http://etcd-1.etcd:2380,...",
            member.name, member.urls[0]
        )
    };
    let mut members: Vec<&Member> = cluster.members.iter().collect();
    members.sort_by_key(|member| (member.name.len(), member.name.clone()));
    let mut found: Option<(Set<'_>, u16)> = None;
    for (number, member) in members.into_iter().enumerate() {
        let [url] = member.urls.as_slice() else { return Err(wrong(member)) };
        let name = member.name.strip_suffix(&format!("-{number}")).filter(|name| !name.is_empty());
        let host = url.host().strip_prefix(&member.name).and_then(|rest| rest.strip_prefix('.'));
        let service = host.and_then(|host| host.split('.').next()).filter(|it| !it.is_empty());
        let (Some(name), Some(service)) = (name, service) else { return Err(wrong(member)) };
        let set = (Set { name, service }, url.port());
        if found.as_ref().is_some_and(|found| *found != set) {
            return Err(wrong(member));
        }
        found = Some(set);
    }
    found.map(|(set, _)| set).ok_or_else(|| "there is no member".to_owned())
}

/// The flags of all pods: what is the own name in them, Kubernetes puts in.
fn arguments(cluster: &Cluster, member: &Member) -> Vec<String> {
    let certs = cluster.tls_dir.as_ref().map(|_| CERTS);
    let settings = member.settings(Some(&format!("{DATA}/etcd")), certs);
    let argument = |(flag, value): (&str, &str)| {
        let value = match flag {
            "name"
            | "initial-advertise-peer-urls"
            | "advertise-client-urls"
            | "cert-file"
            | "key-file"
            | "peer-cert-file"
            | "peer-key-file" => value.replace(&member.name, "$(POD_NAME)"),
            _ => value.to_owned(),
        };
        format!("--{flag}={value}")
    };
    settings.iter().map(argument).collect()
}

fn text_of(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
