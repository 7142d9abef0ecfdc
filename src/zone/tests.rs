use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use hickory_proto::rr::{Name, Record, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use rand::RngExt as _;

use super::{Answer, Entry, Finding, Zone, load, no_include, parse, print, rdata};
use crate::fuzz::Fuzz;

mod compiled;
mod model;

/// Runs scripts whose lines `> |text` make up a master file that the next command reads.
#[derive(Default)]
struct Runner {
    text: String,
    zone: Option<Zone>,
    /// What `$INCLUDE` finds.
    files: BTreeMap<String, String>,
}

impl goldenscript::Runner for Runner {
    type Command = goldenscript::Command;

    fn run(
        &mut self,
        command: &goldenscript::Command,
        _context: &goldenscript::Context,
    ) -> Result<String, Box<dyn Error>> {
        if let Some(line) = command.name.strip_prefix('|') {
            self.text.push_str(line);
            self.text.push('\n');
            return Ok(String::new());
        }
        let mut args = command.consume_args();
        let mut out = String::new();
        match command.name.as_str() {
            // parse ORIGIN: the records of the text, or the place where it is wrong.
            "parse" => {
                let origin = origin(args.next_pos().ok_or("an origin")?);
                let text = std::mem::take(&mut self.text);
                let mut include = |name: &str| match self.files.get(name) {
                    Some(text) => Ok(text.clone().into_bytes()),
                    None => Err("No such file".to_owned()),
                };
                match parse(text.as_bytes(), &origin, &mut include) {
                    Ok(entries) => {
                        for entry in entries.iter() {
                            let file =
                                entry.place.file.map_or(String::new(), |it| format!("{it} "));
                            let line = entry.place.line;
                            writeln!(out, "{file}{line}: {}", show(&entry.record))?;
                        }
                    }
                    Err(wrong) => list(&mut out, "", &wrong.findings)?,
                }
            }
            // file NAME: makes the text a file that can be included.
            "file" => {
                let name = args.next_pos().ok_or("a name")?.to_owned();
                self.files.insert(name, std::mem::take(&mut self.text));
            }
            // load ORIGIN: makes the text the zone, checked against the one before.
            "load" => {
                let origin = origin(args.next_pos().ok_or("an origin")?);
                let text = std::mem::take(&mut self.text);
                match load(text.as_bytes(), &origin, self.zone.as_ref(), &mut no_include) {
                    Ok(loaded) => {
                        list(&mut out, "warning: ", &loaded.warnings)?;
                        let (origin, serial) = (loaded.zone.origin(), loaded.zone.serial());
                        writeln!(out, "zone {origin} serial {serial}")?;
                        self.zone = Some(loaded.zone);
                    }
                    Err(super::Error(findings)) => list(&mut out, "error: ", &findings)?,
                }
            }
            // forget: the next load replaces nothing.
            "forget" => self.zone = None,
            // open FILE: a zone of the test data.
            "open" => {
                let file = args.next_pos().ok_or("a file")?;
                let text = std::fs::read(testdata().join(file))?;
                let origin = origin(file.trim_end_matches(".zone"));
                let loaded = load(&text, &origin, None, &mut no_include)?;
                assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
                self.zone = Some(loaded.zone);
            }
            // ask NAME TYPE: the answer of the zone.
            "ask" => {
                let zone = self.zone.as_ref().ok_or("open a zone first")?;
                let name = relative(args.next_pos().ok_or("a name")?, zone.origin());
                let kind = rdata::record_type(args.next_pos().ok_or("a type")?).ok_or("a type")?;
                out = show_answer(&zone.lookup(&name, kind));
            }
            other => return Err(format!("unknown command {other}").into()),
        }
        args.reject_next()?;
        Ok(out)
    }
}

fn list(out: &mut String, kind: &str, findings: &[Finding]) -> std::fmt::Result {
    findings.iter().try_for_each(|finding| writeln!(out, "{kind}{finding}"))
}

fn testdata() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/zone/testdata"))
}

fn origin(text: &str) -> Name {
    relative(text, &Name::root())
}

fn relative(text: &str, origin: &Name) -> Name {
    match text {
        "@" => origin.clone(),
        _ if text.ends_with('.') => Name::from_ascii(text).unwrap(),
        _ => Name::from_ascii(text).unwrap().append_domain(origin).unwrap(),
    }
}

/// One line for a record: data without a text form of its own is shown in hexadecimal.
fn show(record: &Record) -> String {
    let data = match &record.data {
        hickory_proto::rr::RData::Unknown { rdata, .. } => {
            rdata.anything.iter().fold("\\# ".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        }
        hickory_proto::rr::RData::TXT(txt) => {
            let quoted = |text: &[u8]| format!("{:?}", String::from_utf8_lossy(text));
            txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" ")
        }
        data => data.to_string(),
    };
    let kind = match record.record_type() {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        kind => kind.to_string(),
    };
    format!("{} {} {kind} {data}", record.name, record.ttl)
}

fn show_answer(answer: &Answer<'_>) -> String {
    let authoritative = if answer.authoritative { " aa" } else { "" };
    let needs = if answer.needs_additional { " needs additional" } else { "" };
    let mut out = format!("{:?}{authoritative}{needs}\n", answer.code);
    for (section, records) in [
        ("answer", &answer.answers),
        ("authority", &answer.authority),
        ("additional", &answer.additional),
    ] {
        for record in records {
            out.push_str(&format!("{section}: {}\n", show(record)));
        }
    }
    out
}

fn script(name: &str) {
    goldenscript::run(&mut Runner::default(), testdata().join(name)).unwrap();
}

#[test]
fn master_files_in_every_form() {
    script("parse_forms.txt");
}

#[test]
fn mistakes_name_place_and_reason() {
    script("parse_errors.txt");
}

#[test]
fn flaws_of_zones() {
    script("check.txt");
}

#[test]
fn answers_of_the_checklist() {
    script("answers.txt");
}

#[test]
fn shipped_zones_are_flawless() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/dns-zones"));
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read(&path).unwrap();
        let loaded = load(&text, &origin(&stem), None, &mut no_include).unwrap();
        assert!(loaded.warnings.is_empty(), "{stem}: {:?}", loaded.warnings);
        assert_eq!(*loaded.zone.origin(), origin(&stem));
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn text_in_any_encoding_with_any_line_ends_is_read() {
    let text = b"\xef\xbb\xbf$TTL 60\r\na TXT \"\xff\xc3\xa4\" ; gr\xfc\xdfe\r\n";
    let entries = parse(text, &origin("example.test"), &mut no_include).unwrap();
    assert_eq!(entries.len(), 1);
    let hickory_proto::rr::RData::TXT(txt) = &entries.iter().next().unwrap().record.data else {
        unreachable!()
    };
    assert_eq!(*txt.txt_data[0], *b"\xff\xc3\xa4");
}

/// Any prefix of a good file, and any file with one byte changed, is read or refused, no more.
#[test]
fn broken_text_never_panics() {
    let good = std::fs::read(testdata().join("rfc.test.zone")).unwrap();
    let good = &good[..1200.min(good.len())];
    let origin = origin("rfc.test");
    for end in 0..good.len() {
        drop(load(&good[..end], &origin, None, &mut no_include));
    }
    for at in 0..good.len() {
        for byte in [b'\\', b'"', b'(', b')', b'\n', b';', b'.', b'@', 0, 0xff, b'9'] {
            let mut text = good.to_vec();
            text[at] = byte;
            drop(load(&text, &origin, None, &mut no_include));
        }
    }
}

/// Each text form as the bytes it is sent as; another name server read the same out of the file.
#[test]
fn every_type_has_its_wire_form() {
    let text = std::fs::read(testdata().join("every_type.zone")).unwrap();
    let entries = parse(&text, &origin("rfc.test"), &mut no_include).unwrap();
    let line = |Entry { record, .. }: Entry| {
        let bytes = record.data.to_bytes().unwrap();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = u16::from(record.record_type());
        format!("{} {} IN TYPE{kind} \\# {} {hex}\n", record.name, record.ttl, bytes.len())
    };
    let generic: String = entries.iter().map(line).collect();
    let golden = testdata().join("every_type.generic");
    if std::env::var("UPDATE_GOLDENFILES").is_ok() {
        std::fs::write(&golden, &generic).unwrap();
    }
    assert_eq!(generic, std::fs::read_to_string(&golden).unwrap());
    // And back: what is printed is read as the same.
    let printed: String = entries.iter().map(|entry| print(&entry.record) + "\n").collect();
    let again = parse(printed.as_bytes(), &origin("rfc.test"), &mut no_include).unwrap();
    assert_eq!(again.iter().map(line).collect::<String>(), generic);
}

/// Random edits of a zone with every type: read or refused, no more.
#[test]
fn mutated_zones_never_panic() {
    let mut fuzz = Fuzz::new("zones", 1000);
    let good = [
        std::fs::read(testdata().join("rfc.test.zone")).unwrap(),
        std::fs::read(testdata().join("every_type.zone")).unwrap(),
    ];
    let words: Vec<&[u8]> =
        good.iter().flat_map(|text| text.split(|byte| b" \n".contains(byte))).collect();
    let (origin, mut previous) = (origin("rfc.test"), None);
    let mut taken = 0_u64;
    while fuzz.goes_on() {
        let mut text = fuzz.pick(&good).clone();
        for _ in 0..=fuzz.below(7) {
            mutate(&mut text, &words, &mut fuzz);
        }
        let loaded = std::panic::catch_unwind(|| {
            load(&text, &origin, previous.as_ref(), &mut no_include).map(|loaded| {
                for record in loaded.zone.records() {
                    drop(loaded.zone.lookup(&record.name, record.record_type()));
                    record.to_bytes().unwrap();
                }
                loaded.zone
            })
        });
        let loaded = loaded.unwrap_or_else(|_| panic!("{}: {}", fuzz.place(), text.escape_ascii()));
        previous = loaded.ok();
        taken += u64::from(previous.is_some());
    }
    assert!((1..fuzz.round() - 1).contains(&taken), "{taken} of {} were taken", fuzz.round());
}

fn mutate(text: &mut Vec<u8>, words: &[&[u8]], fuzz: &mut Fuzz) {
    let at = fuzz.below(text.len() + 1);
    let end = text.len().min(at + fuzz.below(12));
    let new: Vec<u8> = match fuzz.below(4) {
        0 => Vec::new(),
        1 => (0..=fuzz.below(3)).map(|_| fuzz.random.random()).collect(),
        2 => vec![*fuzz.pick(b"\\\"();.@$#\n \t")],
        _ => fuzz.pick(words).to_vec(),
    };
    text.splice(at..end, new);
}
