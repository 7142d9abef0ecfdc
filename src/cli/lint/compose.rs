//! Services of docker compose.

use std::rc::Rc;

use super::environment;
use super::finding::Place;
use super::shell::{self, Scope};
use super::start::{self, Host, Start};
use super::tree::{Node, Tree};
use super::word::Word;

/// The members that the services of a file are.
pub(super) fn read(file: &Rc<str>, trees: &[Tree]) -> Vec<Start> {
    // compose puts in what is in `.env` beside the file, and what its own environment has.
    let beside = start::beside(file, ".env").map(|(path, text)| environment::read(&path, &text));
    let scope: Scope =
        beside.unwrap_or_default().into_iter().map(|(name, word, _)| (name, word)).collect();
    let services = trees.iter().filter_map(|tree| tree.get("services")).flat_map(Tree::entries);
    let members = services.filter_map(|(name, line, service)| {
        let reader = Reader { file, scope: &scope };
        reader.service(name, *line, service)
    });
    members.collect()
}

struct Reader<'a> {
    file: &'a Rc<str>,
    scope: &'a Scope,
}

impl Reader<'_> {
    fn service(&self, name: &str, line: usize, service: &Tree) -> Option<Start> {
        let host = Host::Container { volumes: self.volumes(service), name: Some(name.to_owned()) };
        let mut start = Start::new(Place::new(self.file, line), host);
        start.variables =
            service.get("environment").map(|it| self.environment(it)).unwrap_or_default();
        self.files(service, &mut start);
        let text = |key: &str| service.get(key).and_then(Tree::text);
        let image = self.expand(text("image").unwrap_or_default()).shown();
        let entry = service.get("entrypoint").map(|it| self.words(it)).unwrap_or_default();
        let command = service.get("command").map(|it| self.words(it)).unwrap_or_default();
        run(start, &image, entry, command, self.file)
    }

    fn place(&self, line: usize) -> Place {
        Place::new(self.file, line)
    }

    fn expand(&self, text: &str) -> Word {
        shell::expand(text, self.scope)
    }

    /// A command as a list, or as a text with quotes.
    fn words(&self, tree: &Tree) -> Vec<(Word, Place)> {
        match &tree.node {
            Node::List(items) => {
                let word = |item: &Tree| Some((self.expand(item.text()?), self.place(item.line)));
                items.iter().filter_map(word).collect()
            }
            // compose splits the text without a shell, after it has put its own variables in.
            Node::Scalar(text) => {
                let text = self.expand(text).shown();
                let commands = shell::commands(&format!("x {text}"), tree.line, &Scope::new());
                let words = commands.into_iter().next().map(|it| it.words).unwrap_or_default();
                words.into_iter().skip(1).map(|(word, line)| (word, self.place(line))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// `NAME: value`, or `- NAME=value`.
    fn environment(&self, tree: &Tree) -> Vec<(String, Word, Place)> {
        let of_entry = |(name, line, value): &(String, usize, Tree)| {
            // Without a value it is that of whoever runs compose.
            let word = match value.text() {
                Some(text) => self.expand(text),
                None => Word::unknown(format!("${name}")),
            };
            (name.clone(), word, self.place(*line))
        };
        let of_item = |item: &Tree| {
            let (name, word) = match item.text()?.split_once('=') {
                Some((name, text)) => (name, self.expand(text)),
                None => (item.text()?, Word::unknown(format!("${}", item.text()?))),
            };
            Some((name.to_owned(), word, self.place(item.line)))
        };
        match &tree.node {
            Node::Map(entries) => entries.iter().map(of_entry).collect(),
            Node::List(items) => items.iter().filter_map(of_item).collect(),
            _ => Vec::new(),
        }
    }

    /// Variables of files count less than those of the service.
    fn files(&self, service: &Tree, start: &mut Start) {
        let Some(tree) = service.get("env_file") else { return };
        let path =
            |tree: &Tree| tree.text().or_else(|| tree.get("path")?.text()).map(str::to_owned);
        let paths: Vec<String> = match &tree.node {
            Node::List(items) => items.iter().filter_map(path).collect(),
            _ => path(tree).into_iter().collect(),
        };
        for path in paths {
            let Some((path, text)) = start::beside(self.file, &path) else {
                start.open = true;
                continue;
            };
            let set: Vec<String> = start.variables.iter().map(|(name, ..)| name.clone()).collect();
            let more = environment::read(&path, &text).into_iter();
            start.variables.extend(more.filter(|(name, ..)| !set.contains(name)));
        }
    }

    /// Paths inside of the container that are kept; `None` if they are not told here.
    fn volumes(&self, service: &Tree) -> Option<Vec<Word>> {
        if ["extends", "volumes_from"].iter().any(|key| service.get(key).is_some()) {
            return None;
        }
        let items = service.get("volumes").map(Tree::items).unwrap_or_default();
        let path = |item: &Tree| match item.text() {
            Some(text) => {
                let parts = self.expand(text).split(':');
                parts.get(1).or_else(|| parts.first()).cloned()
            }
            None => item.get("target").and_then(Tree::text).map(|text| self.expand(text)),
        };
        Some(items.iter().filter_map(path).collect())
    }
}

/// What a container of this image runs, with the words in the place of its entry and of its command.
pub(super) fn run(
    mut start: Start,
    image: &str,
    entry: Vec<(Word, Place)>,
    command: Vec<(Word, Place)>,
    file: &Rc<str>,
) -> Option<Start> {
    let has_entry = !entry.is_empty();
    let words: Vec<(Word, Place)> = entry.into_iter().chain(command).collect();
    let lines: Vec<(Word, usize)> =
        words.iter().map(|(word, place)| (word.clone(), place.line)).collect();
    let Some((script, line)) = start::script(&lines) else {
        start::contain(&mut start, image, has_entry, words)?;
        return start::is_member(&start).then_some(start);
    };
    let variables = start.variables.iter().map(|(name, word, _)| (name.clone(), word.clone()));
    let commands = shell::commands(&script, line, &variables.collect());
    let mut starts = commands.into_iter().flat_map(|it| start::of_command(it, file, &start.host));
    let found = starts.next()?;
    start.program = start::Program::of_image(image).unwrap_or(found.program);
    start.arguments = found.arguments;
    start.variables.extend(found.variables);
    Some(start)
}
