//! JSON text -> values, with the errors of Go's `encoding/json`: clients see these texts.

use std::collections::BTreeMap;

/// Values inside of values that are followed.
const MAX_DEPTH: usize = 200;

/// A JSON value. Numbers and texts keep their spelling, because protobuf's mapping reads both as either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(String),
    /// Unescaped, and as it was written with its quotes.
    Text {
        text: String,
        raw: String,
    },
    List(Vec<Self>),
    Object(BTreeMap<String, Self>),
}

/// Why there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing but white space.
    Empty,
    /// The value goes on behind the end of the text.
    Unfinished,
    Wrong(String),
}

impl Json {
    /// Go's word for the kind of value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Number(_) => "number",
            Self::Text { .. } => "string",
            Self::List(_) => "array",
            Self::Object(_) => "object",
        }
    }
}

/// The first value of a text and how many bytes it takes. `complete` says that nothing follows the text.
pub(super) fn first(text: &[u8], complete: bool) -> Result<(Json, usize), Failure> {
    let mut parser = Parser { text, at: 0 };
    parser.skip_space();
    if parser.at == text.len() {
        return Err(Failure::Empty);
    }
    let value = parser.value(0)?;
    // Digits may follow.
    if !complete && parser.at == text.len() && matches!(value, Json::Number(_)) {
        return Err(Failure::Unfinished);
    }
    Ok((value, parser.at))
}

/// A text that is one value (`json.Unmarshal`).
pub(super) fn whole(text: &[u8]) -> Result<Json, String> {
    let short = || "unexpected end of JSON input".to_owned();
    let (value, used) = first(text, true).map_err(|failure| match failure {
        Failure::Empty | Failure::Unfinished => short(),
        Failure::Wrong(text) => text,
    })?;
    let mut parser = Parser { text, at: used };
    parser.skip_space();
    match parser.peek() {
        Some(c) => Err(invalid(c, "after top-level value")),
        None => Ok(value),
    }
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Result<u8, Failure> {
        let c = self.peek().ok_or(Failure::Unfinished)?;
        self.at += 1;
        Ok(c)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The next byte that is no white space, taken.
    fn token(&mut self) -> Result<u8, Failure> {
        self.skip_space();
        self.next()
    }

    fn value(&mut self, depth: usize) -> Result<Json, Failure> {
        match self.token()? {
            c @ (b'{' | b'[') if depth > MAX_DEPTH => Err(wrong(c, "exceeded max depth")),
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.text().map(|(text, raw)| Json::Text { text, raw }),
            b't' => self.literal("true", Json::Bool(true)),
            b'f' => self.literal("false", Json::Bool(false)),
            b'n' => self.literal("null", Json::Null),
            c @ (b'-' | b'0'..=b'9') => self.number(c),
            c => Err(wrong(c, "looking for beginning of value")),
        }
    }

    fn literal(&mut self, word: &str, value: Json) -> Result<Json, Failure> {
        for expected in word.bytes().skip(1) {
            let c = self.next()?;
            if c != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(wrong(c, &context));
            }
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Json, Failure> {
        let mut members = BTreeMap::new();
        let mut c = self.token()?;
        if c == b'}' {
            return Ok(Json::Object(members));
        }
        loop {
            if c != b'"' {
                return Err(wrong(c, "looking for beginning of object key string"));
            }
            let (name, _) = self.text()?;
            let c_after = self.token()?;
            if c_after != b':' {
                return Err(wrong(c_after, "after object key"));
            }
            members.insert(name, self.value(depth + 1)?);
            match self.token()? {
                b',' => c = self.token()?,
                b'}' => return Ok(Json::Object(members)),
                c => return Err(wrong(c, "after object key:value pair")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, Failure> {
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            match self.token()? {
                b',' => {}
                b']' => return Ok(Json::List(items)),
                c => return Err(wrong(c, "after array element")),
            }
        }
    }

    fn number(&mut self, first: u8) -> Result<Json, Failure> {
        let start = self.at - 1;
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.digits(),
            c => return Err(wrong(c, "in numeric literal")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            match self.next()? {
                b'0'..=b'9' => self.digits(),
                c => return Err(wrong(c, "after decimal point in numeric literal")),
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            let mut c = self.next()?;
            if matches!(c, b'+' | b'-') {
                c = self.next()?;
            }
            match c {
                b'0'..=b'9' => self.digits(),
                c => return Err(wrong(c, "in exponent of numeric literal")),
            }
        }
        let spelled = String::from_utf8_lossy(&self.text[start..self.at]);
        Ok(Json::Number(spelled.into_owned()))
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// The rest of a text whose opening quote was taken.
    fn text(&mut self) -> Result<(String, String), Failure> {
        let start = self.at - 1;
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => {
                    let c = self.escaped()?;
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                c if c < 0x20 => return Err(wrong(c, "in string literal")),
                c => bytes.push(c),
            }
        }
        let raw = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
        Ok((String::from_utf8_lossy(&bytes).into_owned(), raw))
    }

    fn escaped(&mut self) -> Result<char, Failure> {
        let c = match self.next()? {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            c @ (b'"' | b'\\' | b'/') => char::from(c),
            b'u' => {
                let unit = self.unit()?;
                if (0xd800..0xdc00).contains(&unit) && self.text[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let low = self.unit()?;
                    if (0xdc00..0xe000).contains(&low) {
                        let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                        return Ok(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = before;
                }
                // Half of a pair stands for nothing.
                char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            c => return Err(wrong(c, "in string escape code")),
        };
        Ok(c)
    }

    fn unit(&mut self) -> Result<u32, Failure> {
        let mut unit = 0;
        for _ in 0..4 {
            let c = self.next()?;
            let digit = char::from(c).to_digit(16);
            unit =
                unit << 4 | digit.ok_or_else(|| wrong(c, "in \\u hexadecimal character escape"))?;
        }
        Ok(unit)
    }
}

fn wrong(c: u8, context: &str) -> Failure {
    Failure::Wrong(invalid(c, context))
}

/// Go's sentence about a byte that must not stand there.
fn invalid(c: u8, context: &str) -> String {
    let shown = match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x07 => r"'\a'".to_owned(),
        0x08 => r"'\b'".to_owned(),
        0x0c => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x0b => r"'\v'".to_owned(),
        0..0x20 | 0x7f => format!(r"'\x{c:02x}'"),
        // Taken for the character of that number.
        0x80..0xa0 | 0xad => format!(r"'\u{c:04x}'"),
        c => format!("'{}'", char::from(c)),
    };
    format!("invalid character {shown} {context}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As measured on Go's `encoding/json` through etcd's gateway.
    #[test]
    fn errors_have_the_words_of_go() {
        for (text, words) in [
            ("foo", "invalid character 'o' in literal false (expecting 'a')"),
            ("zork", "invalid character 'z' looking for beginning of value"),
            ("{1}", "invalid character '1' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":01}"#, "invalid character '1' after object key:value pair"),
            (r#"["a" 1]"#, "invalid character '1' after array element"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("\"\n\"", r"invalid character '\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u00g0""#, r"invalid character 'g' in \u hexadecimal character escape"),
        ] {
            assert_eq!(
                first(text.as_bytes(), true),
                Err(Failure::Wrong(words.to_owned())),
                "{text}"
            );
        }
        assert_eq!(whole(b"1 x").unwrap_err(), "invalid character 'x' after top-level value");
        assert_eq!(whole(b"").unwrap_err(), "unexpected end of JSON input");
        let deep = "[".repeat(MAX_DEPTH + 2);
        let refused = whole(deep.as_bytes()).unwrap_err();
        assert_eq!(refused, "invalid character '[' exceeded max depth");
    }

    #[test]
    fn values_are_read_one_after_the_other() {
        let text = br#" {"a":[1,-2.5e3,"\u00e9\ud83d\ude00\/"],"b":null} {"c":true} 12"#;
        let (value, used) = first(text, false).unwrap();
        let Json::Object(members) = value else { panic!("{value:?}") };
        let Json::List(items) = &members["a"] else { panic!("{members:?}") };
        assert_eq!(items[1], Json::Number("-2.5e3".to_owned()));
        assert!(matches!(&items[2], Json::Text { text, .. } if text == "é😀/"));
        let (second, more) = first(&text[used..], false).unwrap();
        assert_eq!(second.kind(), "object");
        let rest = &text[used + more..];
        assert_eq!(first(rest, false), Err(Failure::Unfinished));
        assert_eq!(first(rest, true).unwrap().0, Json::Number("12".to_owned()));
        assert_eq!(first(b" \n", true), Err(Failure::Empty));
        assert_eq!(first(br#"{"a"#, true), Err(Failure::Unfinished));
    }
}
