//! Manifests of Kubernetes: containers of pods, and of what makes pods.

use std::rc::Rc;

use super::compose;
use super::finding::Place;
use super::shell::Scope;
use super::start::{Host, Start};
use super::tree::Tree;
use super::word::Word;

/// The members that the documents of a manifest start; of a `StatefulSet` every replica.
pub(super) fn read(file: &Rc<str>, trees: &[Tree]) -> Vec<Start> {
    let mut starts = Vec::new();
    for document in trees {
        let items = document.get("items").map(Tree::items).unwrap_or_default();
        for object in items.iter().chain([document]) {
            starts.extend(of_object(file, object));
        }
    }
    starts
}

fn of_object(file: &Rc<str>, object: &Tree) -> Vec<Start> {
    let text = |path: &[&str]| object.at(path).and_then(Tree::text).map(str::to_owned);
    let pod = match text(&["kind"]).as_deref() {
        Some("Pod") => object.get("spec"),
        Some("StatefulSet" | "Deployment" | "DaemonSet" | "ReplicaSet" | "Job") => {
            object.at(&["spec", "template", "spec"])
        }
        _ => None,
    };
    let Some(pod) = pod else { return Vec::new() };
    let name = text(&["metadata", "name"]);
    let namespace = text(&["metadata", "namespace"]);
    let replicas = text(&["spec", "replicas"]).and_then(|text| text.parse().ok()).unwrap_or(1);
    let pods: Vec<Option<String>> = match (text(&["kind"]).as_deref(), &name) {
        (Some("StatefulSet"), Some(name)) => {
            (0..replicas).map(|n: u16| Some(format!("{name}-{n}"))).collect()
        }
        (Some("Pod"), _) => vec![name],
        _ => vec![None],
    };
    let containers = pod.get("containers").map(Tree::items).unwrap_or_default();
    let mut starts = Vec::new();
    for pod in &pods {
        let reader = Reader { file, pod: pod.as_deref(), namespace: namespace.as_deref() };
        starts.extend(containers.iter().filter_map(|container| reader.container(container)));
    }
    starts
}

struct Reader<'a> {
    file: &'a Rc<str>,
    /// The name of the pod, where it follows from that of its set.
    pod: Option<&'a str>,
    namespace: Option<&'a str>,
}

impl Reader<'_> {
    fn container(&self, container: &Tree) -> Option<Start> {
        let name = self.pod.map(str::to_owned);
        let host = Host::Container { volumes: Some(mounts(container)), name };
        let mut start = Start::new(Place::new(self.file, container.line), host);
        let scope = self.environment(container, &mut start);
        start.open |= container.get("envFrom").is_some();
        let image = container.get("image").and_then(Tree::text).unwrap_or_default();
        let words = |key: &str| {
            let items = container.get(key).map(Tree::items).unwrap_or_default();
            let word = |item: &Tree| {
                let word = referred(item.text()?, &scope);
                Some((word, Place::new(self.file, item.line)))
            };
            items.iter().filter_map(word).collect::<Vec<_>>()
        };
        compose::run(start, image, words("command"), words("args"), self.file)
    }

    fn environment(&self, container: &Tree, start: &mut Start) -> Scope {
        let mut scope = Scope::new();
        for item in container.get("env").map(Tree::items).unwrap_or_default() {
            let Some(name) = item.get("name").and_then(Tree::text) else { continue };
            let value = match item.get("value").and_then(Tree::text) {
                // A variable may refer to those before it.
                Some(text) => referred(text, &scope),
                None => self.field(item).unwrap_or_else(|| Word::unknown(format!("$({name})"))),
            };
            let place = Place::new(self.file, item.line);
            start.variables.push((name.to_owned(), value.clone(), place));
            scope.insert(name.to_owned(), value);
        }
        scope
    }

    /// What Kubernetes fills in about the pod itself.
    fn field(&self, item: &Tree) -> Option<Word> {
        let path = item.at(&["valueFrom", "fieldRef", "fieldPath"])?.text()?;
        let known = match path {
            "metadata.name" => self.pod,
            "metadata.namespace" => self.namespace,
            _ => None,
        };
        known.map(Word::known)
    }
}

/// A text in which `$(NAME)` refers to a variable; `$$` is a dollar.
fn referred(text: &str, scope: &Scope) -> Word {
    let mut word = Word::default();
    let mut rest = text;
    while let Some((head, tail)) = rest.split_once('$') {
        word.push_str(head);
        rest = tail;
        if let Some(tail) = rest.strip_prefix('$') {
            word.push('$');
            rest = tail;
        } else if let Some((name, tail)) = rest.strip_prefix('(').and_then(|it| it.split_once(')'))
        {
            let value = scope.get(name).cloned();
            word.append(&value.unwrap_or_else(|| Word::unknown(format!("$({name})"))));
            rest = tail;
        } else {
            word.push('$');
        }
    }
    word.push_str(rest);
    word
}

/// Paths at which volumes are mounted.
fn mounts(container: &Tree) -> Vec<Word> {
    let items = container.get("volumeMounts").map(Tree::items).unwrap_or_default();
    items.iter().filter_map(|item| Some(Word::known(item.get("mountPath")?.text()?))).collect()
}
