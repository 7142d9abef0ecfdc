//! Small odd zones that were drawn at random to reach every rule of looking up, and what BIND, Knot
//! and NSD all answered: one case for each kind of answer.

use std::collections::BTreeMap;

use super::*;

/// A question, and what is said about it, each line as [`record_text`] has it.
#[derive(Debug, Default)]
struct Case {
    name: String,
    kind: String,
    /// Code, and whether the answer has authority.
    said: String,
    answer: Vec<String>,
    authority: Vec<String>,
}

/// The zones by their origins, and the questions.
fn read(text: &str) -> (BTreeMap<String, String>, Vec<Case>) {
    let (mut zones, mut cases) = (BTreeMap::new(), Vec::<Case>::new());
    let mut origin = "";
    for line in text.lines().filter(|line| !line.starts_with(';')) {
        let (word, rest) = line.split_once(' ').unwrap();
        let case = cases.last_mut();
        match (word, case) {
            ("zone", _) => {
                origin = rest;
                zones.insert(origin.to_owned(), String::new());
            }
            ("ask", _) => {
                let (name, kind) = rest.split_once(' ').unwrap();
                let (name, kind) = (name.to_owned(), kind.to_owned());
                cases.push(Case { name, kind, ..Case::default() });
            }
            ("said", Some(case)) => case.said = rest.to_owned(),
            ("answer", Some(case)) => case.answer.push(canonical(rest)),
            ("authority", Some(case)) => case.authority.push(canonical(rest)),
            _ => {
                let zone = zones.get_mut(origin).unwrap();
                writeln!(zone, "{line}").unwrap();
            }
        }
    }
    (zones, cases)
}

fn canonical(line: &str) -> String {
    let root = Name::root();
    let entries = crate::zone::parse(line.as_bytes(), &root, &mut crate::zone::no_include).unwrap();
    record_text(&entries.iter().next().unwrap().record).to_ascii_lowercase()
}

fn texts(records: &[Record]) -> Vec<String> {
    let mut texts: Vec<String> =
        records.iter().map(|record| record_text(record).to_ascii_lowercase()).collect();
    texts.sort();
    texts
}

#[test]
fn answers_are_those_that_three_others_agree_on() {
    let (zones, cases) = read(include_str!("../testdata/agreed.txt"));
    assert_eq!((zones.len(), cases.len()), (130, 130));
    let directory = TempDir::new().unwrap();
    for (origin, text) in &zones {
        std::fs::write(directory.path().join(format!("{origin}zone")), text).unwrap();
    }
    // Such zones are odd on purpose: targets without addresses, delegations of what is below.
    let (catalog, _odd) = Catalog::load(directory.path()).unwrap();
    let service = Service::serving(catalog, directory, Settings::default());
    let mut stream = service.connect();
    let mut different = String::new();
    for Case { name, kind, said, mut answer, mut authority } in cases {
        let asked = question(&name, kind.parse().unwrap());
        send(&mut stream, &asked.to_vec().unwrap());
        let reply = Message::from_vec(&receive(&mut stream)).unwrap();
        let code = match reply.response_code {
            ResponseCode::NoError => "NOERROR",
            ResponseCode::NXDomain => "NXDOMAIN",
            ResponseCode::YXDomain => "YXDOMAIN",
            ResponseCode::Refused => "REFUSED",
            _ => "another",
        };
        let aa = if reply.authoritative { " aa" } else { "" };
        answer.sort();
        authority.sort();
        let ours = (format!("{code}{aa}"), texts(&reply.answers), texts(&reply.authorities));
        let theirs = (said, answer, authority);
        if ours != theirs {
            writeln!(different, "{name} {kind}: {ours:?}, others say {theirs:?}").unwrap();
        }
    }
    assert!(different.is_empty(), "\n{different}");
}
