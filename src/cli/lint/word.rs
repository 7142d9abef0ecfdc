/// A value as a file has it, in which variables may stand that only a shell, systemd or compose knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Word(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// As it is written: `${HOST_IP}`.
    Unknown(String),
}

impl Word {
    pub(super) fn known(text: impl Into<String>) -> Self {
        let text = text.into();
        if text.is_empty() { Self::default() } else { Self(vec![Part::Text(text)]) }
    }

    pub(super) fn unknown(written: impl Into<String>) -> Self {
        Self(vec![Part::Unknown(written.into())])
    }

    pub(super) fn push(&mut self, c: char) {
        match self.0.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => self.0.push(Part::Text(c.into())),
        }
    }

    pub(super) fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    pub(super) fn append(&mut self, other: &Self) {
        for part in &other.0 {
            match part {
                Part::Text(text) => self.push_str(text),
                Part::Unknown(_) => self.0.push(part.clone()),
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_known(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Whether nobody can tell how it begins.
    pub(super) fn begins_unknown(&self) -> bool {
        matches!(self.0.first(), Some(Part::Unknown(_)))
    }

    /// The text, if all of it is known.
    pub(super) fn text(&self) -> Option<String> {
        self.is_known().then(|| self.shown())
    }

    /// The text as it is written.
    pub(super) fn shown(&self) -> String {
        self.parts(|written| written)
    }

    /// The text with something else in the place of what is not known.
    pub(super) fn with(&self, stand_in: &str) -> String {
        self.parts(|_written| stand_in)
    }

    fn parts<'a>(&'a self, unknown: impl Fn(&'a str) -> &'a str) -> String {
        let part = |part: &'a Part| match part {
            Part::Text(text) => text.as_str(),
            Part::Unknown(written) => unknown(written),
        };
        self.0.iter().map(part).collect()
    }

    /// The parts between separators that are known to be there.
    pub(super) fn split(&self, separator: char) -> Vec<Self> {
        let mut words = vec![Self::default()];
        for part in &self.0 {
            let last = words.last_mut().expect("there is always one");
            match part {
                Part::Unknown(_) => last.0.push(part.clone()),
                Part::Text(text) => {
                    let mut pieces = text.split(separator);
                    last.push_str(pieces.next().unwrap_or_default());
                    words.extend(pieces.map(Self::known));
                }
            }
        }
        words
    }

    /// What stands before and behind the first separator.
    pub(super) fn split_once(&self, separator: char) -> Option<(Self, Self)> {
        let mut words = self.split(separator).into_iter();
        let head = words.next()?;
        let mut tail = words.next()?;
        for word in words {
            tail.push(separator);
            tail.append(&word);
        }
        Some((head, tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parts_stay_where_they_are() {
        let mut word = Word::known("a=http://");
        word.append(&Word::unknown("${IP}"));
        word.push_str(":2380,b=http://h:2380");
        assert_eq!(word.shown(), "a=http://${IP}:2380,b=http://h:2380");
        assert_eq!(word.with("1.2.3.4"), "a=http://1.2.3.4:2380,b=http://h:2380");
        assert_eq!(word.text(), None);
        let parts = word.split(',');
        assert_eq!(parts.len(), 2);
        assert!(!parts[0].is_known() && parts[1].is_known());
        let (name, url) = parts[0].split_once('=').unwrap();
        assert_eq!((name.shown(), url.shown()), ("a".to_owned(), "http://${IP}:2380".to_owned()));
        assert!(Word::unknown("$X").begins_unknown() && !word.begins_unknown());
        assert_eq!(Word::known("a=b=c").split_once('=').unwrap().1, Word::known("b=c"));
    }
}
