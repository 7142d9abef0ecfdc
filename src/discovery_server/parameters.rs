use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::v2::{Error, ErrorCode};

/// The parameters of a request: the query, and the form in the body, which wins.
#[derive(Debug, Default)]
pub(super) struct Parameters(BTreeMap<String, String>);

/// What the protocol itself puts into a query; everything else was in the URL a node was given.
const PROTOCOL: [&str; 6] = ["prevExist", "wait", "waitIndex", "recursive", "sorted", "quorum"];

impl Parameters {
    /// Reads the query, then the body over it, whatever its content type says.
    pub(super) fn read(query: Option<&str>, body: &[u8]) -> Self {
        let mut all = BTreeMap::new();
        // The first of several equal names counts, as in Go.
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            all.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        let mut form = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            form.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        all.extend(form);
        Self(all)
    }

    /// The text of a parameter, if it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The head of the name of a parameter that is none of these, if there is one.
    pub(super) fn unknown(&self, known: &[&str]) -> Option<String> {
        const SHOWN_CHARACTERS: usize = 64;
        let name = self.0.keys().find(|name| !known.contains(&name.as_str()))?;
        Some(name.chars().take(SHOWN_CHARACTERS).collect())
    }

    /// A flag; absent and empty are no.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.choice(name)?.unwrap_or(false))
    }

    /// A flag that may be left open.
    pub(super) fn choice(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.text(name).unwrap_or_default() {
            "" => Ok(None),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => {
                let cause = match name {
                    // etcd quotes one of them only.
                    "prevExist" => "invalid value for prevExist".to_owned(),
                    _ => format!("invalid value for \"{name}\""),
                };
                Err(Error::new(ErrorCode::InvalidField, cause, 0))
            }
        }
    }

    /// An index; absent, empty and 0 are 0.
    pub(super) fn index(&self, name: &str) -> Result<u64, Error> {
        match self.text(name).unwrap_or_default() {
            "" => Ok(0),
            text => text.parse().map_err(|_not_a_number| {
                let cause = format!("invalid value for \"{name}\"");
                Error::new(ErrorCode::IndexNotANumber, cause, 0)
            }),
        }
    }
}

/// What remains of a query without the protocol's own parameters.
pub(super) fn foreign_query(query: Option<&str>) -> Option<String> {
    let foreign: Vec<&str> = query?
        .split('&')
        .filter(|pair| !PROTOCOL.contains(&pair.split('=').next().unwrap_or_default()))
        .filter(|pair| !pair.is_empty())
        .collect();
    (!foreign.is_empty()).then(|| foreign.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_wins_over_the_query_and_the_first_over_the_second() {
        let both = Parameters::read(Some("value=q&a=1&a=2&b="), b"value=n1%3Dhttp%3A%2F%2Fh%3A1");
        assert_eq!(both.text("value"), Some("n1=http://h:1"));
        assert_eq!((both.text("a"), both.text("b"), both.text("c")), (Some("1"), Some(""), None));
    }

    #[test]
    fn flags_and_indexes_are_read_as_go_reads_them() {
        let given =
            Parameters::read(Some("wait=true&recursive=F&quorum=maybe&waitIndex=x&i=7"), b"");
        assert_eq!((given.flag("wait"), given.flag("recursive")), (Ok(true), Ok(false)));
        assert_eq!(given.flag("none"), Ok(false));
        let error = given.flag("quorum").unwrap_err();
        assert_eq!((error.error_code, error.cause.as_str()), (209, "invalid value for \"quorum\""));
        assert_eq!(given.index("waitIndex").unwrap_err().error_code, 203);
        assert_eq!((given.index("i"), given.index("none")), (Ok(7), Ok(0)));
    }

    #[test]
    fn the_query_of_the_url_is_told_from_the_protocols() {
        assert_eq!(foreign_query(Some("prevExist=false")), None);
        assert_eq!(foreign_query(Some("a=b&prevExist=false&team=x")), Some("a=b&team=x".into()));
    }
}
