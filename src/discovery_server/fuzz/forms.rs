//! The form of a v2 write.

use url::form_urlencoded;

use super::DISLIKED;
use crate::discovery_server::parameters::{Parameters, foreign_query};
use crate::fuzz::Fuzz;

const ROUNDS: u64 = 20_000;

const NAMES: [&str; 8] =
    ["value", "prevExist", "wait", "waitIndex", "recursive", "ttl", "size", "a b&=%"];

#[test]
fn what_a_form_carries_comes_out_as_it_went_in() {
    let mut fuzz = Fuzz::new("names of forms", ROUNDS).with_disliked(DISLIKED);
    let texts: Vec<Vec<u8>> = [
        "n1=http://10.0.0.1:2380",
        "n1=http://10.0.0.1:2380,n1=https://[fd00::1]:2380",
        "true",
        "18446744073709551615",
        "%",
        "\u{e9}+ \u{1f980}",
        "",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    while fuzz.goes_on() {
        let mut text = fuzz.pick(&texts).clone();
        fuzz.damage(&mut text, &texts);
        // Only text can be a member list; bytes that are none are replaced, and compared as such.
        let text = String::from_utf8_lossy(&text).into_owned();
        let name = *fuzz.pick(&NAMES);
        let form: String =
            form_urlencoded::Serializer::new(String::new()).append_pair(name, &text).finish();
        let context = || format!("{}: `{form}`", fuzz.place());
        for read in [
            Parameters::read(Some(&form), b""),
            Parameters::read(None, form.as_bytes()),
            Parameters::read(Some("value=other&a=b"), form.as_bytes()),
        ] {
            assert_eq!(read.text(name), Some(text.as_str()), "{}", context());
            // A flag is one of etcd's words or an error, and an index a number or an error.
            assert_eq!(read.index(name).is_ok(), text.is_empty() || text.parse::<u64>().is_ok());
            if let Ok(Some(flag)) = read.choice(name) {
                assert!(
                    if flag { "1tTtrueTRUETrue" } else { "0fFfalseFALSEFalse" }.contains(&text)
                );
            }
        }
    }
}

#[test]
fn damaged_forms_read_the_same_twice() {
    let mut fuzz = Fuzz::new("forms", ROUNDS).with_disliked(DISLIKED);
    let seeds: Vec<Vec<u8>> = [
        "value=n1%3Dhttp%3A%2F%2F10.0.0.1%3A2380&prevExist=false",
        "prevExist=false&recursive=true&wait=true&waitIndex=7&sorted=1&quorum=F",
        "size=3&name=prod&ttl=30m",
        "a=1&a=2&&=&b=%zz&%=+",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    while fuzz.goes_on() {
        let mut form = fuzz.pick(&seeds).clone();
        fuzz.damage(&mut form, &seeds);
        let read = Parameters::read(None, &form);
        let mut again = form_urlencoded::Serializer::new(String::new());
        for name in NAMES {
            if let Some(text) = read.text(name) {
                again.append_pair(name, text);
            }
        }
        let again = Parameters::read(Some(&again.finish()), b"");
        for name in NAMES {
            assert_eq!(again.text(name), read.text(name), "{}: {form:?}", fuzz.place());
        }
        // What is not the protocol's own stays as it is spelled.
        if let Ok(query) = std::str::from_utf8(&form) {
            let foreign = foreign_query(Some(query)).unwrap_or_default();
            let of_the_query = |pair: &str| query.split('&').any(|one| one == pair);
            assert!(foreign.is_empty() || foreign.split('&').all(of_the_query), "{query}");
        }
    }
}
