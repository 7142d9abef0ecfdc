use std::io;

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter, Serializer};

/// Writes JSON as Go's encoder does, with its escapes and the newline at the end.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    value
        .serialize(&mut Serializer::with_formatter(&mut text, GoFormatter))
        .expect("the v2 words have string keys only and a Vec takes every write");
    text.push(b'\n');
    text
}

/// Go escapes what could end a script element, and has no short forms for backspace and form feed.
struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, tail) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let escaped = tail.chars().next().expect("`find` stopped at a character");
            write!(writer, "\\u{:04x}", u32::from(escaped))?;
            rest = &tail[escaped.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        match escape {
            CharEscape::Backspace => writer.write_all(b"\\u0008"),
            CharEscape::FormFeed => writer.write_all(b"\\u000c"),
            other => CompactFormatter.write_char_escape(writer, other),
        }
    }
}
