use std::str::FromStr;

use hickory_proto::rr::Name;

use super::lexer::{Fault, Position, SyntaxError, Token};

/// The words of one line, read from left to right.
#[derive(Debug)]
pub(super) struct Fields<'l, 't> {
    tokens: &'l [Token<'t>],
    end: Position,
}

impl<'l, 't> Fields<'l, 't> {
    pub(super) fn new(tokens: &'l [Token<'t>], end: Position) -> Self {
        Self { tokens, end }
    }

    pub(super) fn peek(&self) -> Option<Token<'t>> {
        self.tokens.first().copied()
    }

    pub(super) fn next(&mut self, wanted: &'static str) -> Result<Token<'t>, SyntaxError> {
        let first = self.wanted(wanted)?;
        self.tokens = &self.tokens[1..];
        Ok(first)
    }

    /// The next word, which stays.
    pub(super) fn wanted(&self, wanted: &'static str) -> Result<Token<'t>, SyntaxError> {
        self.peek().ok_or_else(|| {
            let fault = Fault::Unexpected { wanted, found: "the end of the line".to_owned() };
            SyntaxError { at: self.end, fault }
        })
    }

    /// The words that are left, and the place behind them.
    pub(super) fn rest(&self) -> (&'l [Token<'t>], Position) {
        (self.tokens, self.end)
    }

    /// Whatever `T` reads from text: a number within its range, an address.
    pub(super) fn value<T: FromStr>(&mut self, wanted: &'static str) -> Result<T, SyntaxError> {
        let token = self.next(wanted)?;
        plain(token).and_then(|text| text.parse().ok()).ok_or_else(|| token.unexpected(wanted))
    }

    /// A time in seconds, or with units: `90`, `1h30m`, `2d`.
    pub(super) fn time(&mut self, wanted: &'static str) -> Result<u32, SyntaxError> {
        let token = self.next(wanted)?;
        seconds(token).ok_or_else(|| token.unexpected(wanted))
    }

    pub(super) fn name(
        &mut self,
        origin: &Name,
        wanted: &'static str,
    ) -> Result<Name, SyntaxError> {
        let token = self.next(wanted)?;
        if token.quoted {
            return Err(token.unexpected(wanted));
        }
        name(token, origin)
    }

    /// A character string of at most 255 bytes (RFC 1035 §3.3).
    pub(super) fn string(&mut self, wanted: &'static str) -> Result<Vec<u8>, SyntaxError> {
        let token = self.next(wanted)?;
        let bytes = octets(token)?;
        if bytes.len() > 255 {
            return Err(token.fail(Fault::LongString { length: bytes.len() }));
        }
        Ok(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Refuses words that nobody asked for.
    pub(super) fn done(&self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(token) => Err(token.unexpected("the end of the line")),
        }
    }
}

/// The text of an unquoted token.
pub(super) fn plain(token: Token<'_>) -> Option<&str> {
    if token.quoted { None } else { std::str::from_utf8(token.text).ok() }
}

/// A TTL or another time; at most 2^31 - 1 seconds (RFC 2181 §8).
pub(super) fn seconds(token: Token<'_>) -> Option<u32> {
    let text = plain(token)?;
    let mut total: u32 = 0;
    let mut number: Option<u32> = None;
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            let digit = u32::from(byte - b'0');
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    let total = match number {
        Some(rest) => total.checked_add(rest)?,
        None if text.is_empty() => return None,
        None => total,
    };
    (total <= i32::MAX.unsigned_abs()).then_some(total)
}

/// A domain name; relative to `origin` unless it ends in a dot. `@` is the origin itself.
pub(super) fn name(token: Token<'_>, origin: &Name) -> Result<Name, SyntaxError> {
    if token.text == b"@" {
        return Ok(origin.clone());
    }
    if token.text == b"." {
        return Ok(Name::root());
    }
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    unescape(token, |byte, escaped| {
        if byte == b'.' && !escaped {
            labels.push(Vec::new());
        } else {
            labels.last_mut().expect("starts with one label and only grows").push(byte);
        }
    })?;
    let absolute = labels.last().is_some_and(Vec::is_empty);
    if absolute {
        labels.pop();
    }
    if labels.iter().any(Vec::is_empty) {
        return Err(token.fail(Fault::EmptyLabel { name: token.shown() }));
    }
    if labels.iter().any(|label| label.len() > 63) {
        return Err(token.fail(Fault::LongLabel { name: token.shown() }));
    }
    let long = || token.fail(Fault::LongName { name: token.shown() });
    let name = Name::from_labels(labels).map_err(|_too_long| long())?;
    if absolute { Ok(name) } else { name.append_domain(origin).map_err(|_too_long| long()) }
}

/// The bytes that a token stands for, without a bound.
pub(super) fn octets(token: Token<'_>) -> Result<Vec<u8>, SyntaxError> {
    let mut bytes = Vec::with_capacity(token.text.len());
    unescape(token, |byte, _| bytes.push(byte))?;
    Ok(bytes)
}

/// Hands out the bytes of a token; the flag says that a backslash stood before the byte.
fn unescape(token: Token<'_>, mut emit: impl FnMut(u8, bool)) -> Result<(), SyntaxError> {
    let mut rest = token.text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'\\' {
            emit(first, false);
            continue;
        }
        let (byte, taken) = match *rest {
            [a, b, c, ..] if [a, b, c].iter().all(u8::is_ascii_digit) => {
                let number = [a, b, c].iter().fold(0_u16, |n, d| n * 10 + u16::from(d - b'0'));
                (u8::try_from(number).ok(), 3)
            }
            [digit, ..] if digit.is_ascii_digit() => (None, 0),
            [byte, ..] => (Some(byte), 1),
            [] => (None, 0),
        };
        let Some(byte) = byte else {
            return Err(token.fail(Fault::Escape { text: token.shown() }));
        };
        emit(byte, true);
        rest = &rest[taken..];
    }
    Ok(())
}
