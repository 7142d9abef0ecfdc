use std::ops::ControlFlow;

use super::lexer::{Fault, Lexer, Position, SyntaxError, Token};

/// More records than that from one line are taken for a slip of the pen.
const MOST: u64 = 65_536;

/// A word of a line that was made.
#[derive(Debug)]
pub(super) struct Word {
    at: Position,
    quoted: bool,
    text: Vec<u8>,
}

impl Word {
    pub(super) fn token(&self) -> Token<'_> {
        Token { at: self.at, quoted: self.quoted, text: &self.text }
    }
}

/// The numbers of `start-stop[/step]`.
pub(super) fn range(token: Token<'_>) -> Result<impl Iterator<Item = u32>, SyntaxError> {
    let wrong = || token.unexpected("a range, such as 1-9 or 0-30/2");
    let text = super::fields::plain(token).ok_or_else(wrong)?;
    let (span, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = span.split_once('-').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<u32>().map_err(|_reason| wrong());
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    if start > stop || step == 0 || stop > i32::MAX.unsigned_abs() {
        return Err(wrong());
    }
    let count = u64::from((stop - start) / step) + 1;
    if count > MOST {
        return Err(token.fail(Fault::LongRange { range: token.shown(), count, most: MOST }));
    }
    let step = usize::try_from(step).expect("32 bits fit into every address");
    Ok((start..=stop).step_by(step))
}

/// The word with `number` in place of each `$` and `${offset,width,base}`. `\$` and `$$` are a `$`.
pub(super) fn substitute(token: Token<'_>, number: u32) -> Result<Word, SyntaxError> {
    let mut text = Vec::with_capacity(token.text.len() + 4);
    let mut rest = token.text;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail.first()) {
            (b'\\', Some(b'$')) | (b'$', Some(b'$')) => {
                text.push(b'$');
                rest = &tail[1..];
            }
            (b'\\', Some(&escaped)) => {
                text.extend([b'\\', escaped]);
                rest = &tail[1..];
            }
            (b'$', Some(b'{')) => {
                let wrong =
                    || token.unexpected("`${offset,width,base}` with base d, o, x, X, n or N");
                let end = tail.iter().position(|byte| *byte == b'}').ok_or_else(wrong)?;
                let inner = std::str::from_utf8(&tail[1..end]).map_err(|_reason| wrong())?;
                text.extend(
                    Modifier::parse(inner).ok_or_else(wrong)?.print(number).ok_or_else(wrong)?,
                );
                rest = &tail[end + 1..];
            }
            (b'$', _) => text.extend(number.to_string().into_bytes()),
            _ => text.push(first),
        }
    }
    Ok(Word { at: token.at, quoted: token.quoted, text })
}

/// Data that was quoted as a whole is several words.
pub(super) fn unfold(mut words: Vec<Word>) -> Vec<Word> {
    let Some(last) = words.pop_if(|word| word.quoted) else { return words };
    let spaced = last.text.contains(&b' ');
    // `TXT "a" "b"` is data in its usual form, `TXT "a b"` is BIND's.
    if !spaced || words.last().is_some_and(|word| word.quoted) {
        words.push(last);
        return words;
    }
    let mut lexer = Lexer::new(&last.text);
    let inner = std::iter::from_fn(|| lexer.next_line()).try_fold(Vec::new(), |mut all, line| {
        all.extend(line.tokens.iter().map(|token| Word {
            at: last.at,
            quoted: token.quoted,
            text: token.text.to_vec(),
        }));
        if line.wrong.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(all) }
    });
    match inner {
        ControlFlow::Continue(inner) => words.extend(inner),
        ControlFlow::Break(()) => words.push(last),
    }
    words
}

/// How a number is printed.
#[derive(Debug)]
struct Modifier {
    offset: i64,
    width: usize,
    base: char,
}

impl Modifier {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let offset = parts.next()?.parse().ok()?;
        let width = parts.next().map_or(Some(0), |width| width.parse().ok())?;
        let base = parts.next().map_or(Some('d'), |base| base.parse().ok())?;
        let legal = "doxXnN".contains(base) && width <= 255 && parts.next().is_none();
        legal.then_some(Self { offset, width, base })
    }

    /// None for a number below zero.
    fn print(&self, number: u32) -> Option<Vec<u8>> {
        let number = u64::try_from(i64::from(number).checked_add(self.offset)?).ok()?;
        let width = self.width;
        Some(
            match self.base {
                'd' => format!("{number:0width$}"),
                'o' => format!("{number:0width$o}"),
                'x' => format!("{number:0width$x}"),
                'X' => format!("{number:0width$X}"),
                base => nibbles(number, width, base == 'N'),
            }
            .into_bytes(),
        )
    }
}

/// The digits from the last to the first, with dots between, as reverse names have them; `width`
/// counts the dots too.
fn nibbles(mut number: u64, width: usize, upper: bool) -> String {
    let mut text = String::new();
    loop {
        let digit = u32::try_from(number % 16).ok().and_then(|digit| char::from_digit(digit, 16));
        let digit = digit.expect("a remainder below 16 is a digit");
        text.push(if upper { digit.to_ascii_uppercase() } else { digit });
        number /= 16;
        if number == 0 && text.len() >= width {
            return text;
        }
        text.push('.');
        if number == 0 && text.len() >= width {
            return text;
        }
    }
}
