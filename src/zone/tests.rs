use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use hickory_proto::rr::{Name, Record, RecordType};

use super::{Answer, Zone, load, parse, rdata};

mod compiled;
mod model;

/// Runs scripts whose lines `> |text` make up a master file that the next command reads.
#[derive(Default)]
struct Runner {
    text: String,
    zone: Option<Zone>,
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
                match parse(text.as_bytes(), &origin) {
                    Ok(entries) => {
                        for entry in entries {
                            writeln!(out, "{}: {}", entry.line, show(&entry.record))?;
                        }
                    }
                    Err(error) => writeln!(out, "{error}")?,
                }
            }
            // load ORIGIN: makes the text the zone, checked against the one before.
            "load" => {
                let origin = origin(args.next_pos().ok_or("an origin")?);
                let text = std::mem::take(&mut self.text);
                match load(text.as_bytes(), &origin, self.zone.as_ref()) {
                    Ok(loaded) => {
                        for warning in &loaded.warnings {
                            writeln!(out, "warning: {warning}")?;
                        }
                        let (origin, serial) = (loaded.zone.origin(), loaded.zone.serial());
                        writeln!(out, "zone {origin} serial {serial}")?;
                        self.zone = Some(loaded.zone);
                    }
                    Err(super::Error::Syntax(error)) => writeln!(out, "error: {error}")?,
                    Err(super::Error::Flawed(findings)) => {
                        for finding in findings {
                            writeln!(out, "error: {finding}")?;
                        }
                    }
                }
            }
            // forget: the next load replaces nothing.
            "forget" => self.zone = None,
            // open FILE: a zone of the test data.
            "open" => {
                let file = args.next_pos().ok_or("a file")?;
                let text = std::fs::read(testdata().join(file))?;
                let loaded = load(&text, &origin(file.trim_end_matches(".zone")), None)?;
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
        let loaded = load(&std::fs::read(&path).unwrap(), &origin(&stem), None).unwrap();
        assert!(loaded.warnings.is_empty(), "{stem}: {:?}", loaded.warnings);
        assert_eq!(*loaded.zone.origin(), origin(&stem));
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn text_in_any_encoding_with_any_line_ends_is_read() {
    let text = b"\xef\xbb\xbf$TTL 60\r\na TXT \"\xff\xc3\xa4\" ; gr\xfc\xdfe\r\n";
    let entries = parse(text, &origin("example.test")).unwrap();
    assert_eq!(entries.len(), 1);
    let hickory_proto::rr::RData::TXT(txt) = &entries[0].record.data else { unreachable!() };
    assert_eq!(*txt.txt_data[0], *b"\xff\xc3\xa4");
}

/// Any prefix of a good file, and any file with one byte changed, is read or refused, no more.
#[test]
fn broken_text_never_panics() {
    let good = std::fs::read(testdata().join("rfc.test.zone")).unwrap();
    let good = &good[..1200.min(good.len())];
    let origin = origin("rfc.test");
    for end in 0..good.len() {
        drop(load(&good[..end], &origin, None));
    }
    for at in 0..good.len() {
        for byte in [b'\\', b'"', b'(', b')', b'\n', b';', b'.', b'@', 0, 0xff, b'9'] {
            let mut text = good.to_vec();
            text[at] = byte;
            drop(load(&text, &origin, None));
        }
    }
}
