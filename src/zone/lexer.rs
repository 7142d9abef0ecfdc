/// Where a text is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) at: Position,
    pub(super) fault: Fault,
}

/// A place in a text; both numbers count from 1, columns in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What is wrong at a place of a master file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("expected {wanted}, found {found}")]
    Unexpected { wanted: &'static str, found: String },
    #[error("the string has no closing quote on its line")]
    OpenQuote,
    #[error("the parenthesis is never closed")]
    OpenParenthesis,
    #[error("there is no parenthesis to close")]
    StrayParenthesis,
    #[error("name {name}: a label has more than 63 bytes")]
    LongLabel { name: String },
    #[error("name {name}: an empty label")]
    EmptyLabel { name: String },
    #[error("name {name}: more than 255 bytes with its origin")]
    LongName { name: String },
    #[error("a backslash needs a character or three digits up to 255 behind it in {text}")]
    Escape { text: String },
    #[error("a string of {length} bytes, the longest possible has 255")]
    LongString { length: usize },
    #[error("no owner: a line that starts with a blank needs a record above it")]
    NoOwner,
    #[error("no TTL: write one here or put `$TTL` above")]
    NoTtl,
    #[error("class {class} is not served, only IN")]
    Class { class: String },
    #[error("`$INCLUDE` of `{path}`: {reason}")]
    Include { path: String, reason: String },
    #[error("the range {range} makes {count} records, the most are {most}")]
    LongRange { range: String, count: u64, most: u64 },
    #[error("type {kind} has no text form here: write its data as `\\# length hexadecimal`")]
    NoTextForm { kind: String },
    #[error("these bytes are no data of type {kind}")]
    Data { kind: String },
}

/// One word of a line, or one quoted string without its quotes. Escapes are still in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'t> {
    pub(super) at: Position,
    pub(super) quoted: bool,
    pub(super) text: &'t [u8],
}

/// A line of a master file; parentheses may have joined several lines of text.
#[derive(Debug)]
pub(super) struct Line<'t> {
    /// The owner is left out, it is the one of the record above.
    pub(super) starts_blank: bool,
    pub(super) tokens: Vec<Token<'t>>,
    pub(super) end: Position,
    /// The first thing that could not be cut into words; what is left of the line says nothing.
    pub(super) wrong: Option<SyntaxError>,
}

/// Cuts a master file (RFC 1035 §5.1) into lines of words.
#[derive(Debug)]
pub(super) struct Lexer<'t> {
    text: &'t [u8],
    offset: usize,
    line: u32,
    line_start: usize,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        Self { text, offset: 0, line: 1, line_start: 0 }
    }

    /// The next line that has a word on it, or a mistake.
    pub(super) fn next_line(&mut self) -> Option<Line<'t>> {
        while self.offset < self.text.len() {
            let starts_blank = matches!(self.peek(), Some(b' ' | b'\t'));
            let mut wrong = None;
            let tokens = self.tokens(&mut wrong);
            let end = self.position();
            self.newline();
            if !tokens.is_empty() || wrong.is_some() {
                return Some(Line { starts_blank, tokens, end, wrong });
            }
        }
        None
    }

    /// The words up to the newline that ends the line, which is left unread.
    fn tokens(&mut self, wrong: &mut Option<SyntaxError>) -> Vec<Token<'t>> {
        let mut tokens = Vec::new();
        let mut open: Vec<Position> = Vec::new();
        loop {
            let at = self.position();
            let mut fail = |at, fault| {
                wrong.get_or_insert(SyntaxError { at, fault });
            };
            match self.peek() {
                None => {
                    if let Some(at) = open.pop() {
                        fail(at, Fault::OpenParenthesis);
                    }
                    return tokens;
                }
                Some(b'\n') if open.is_empty() => return tokens,
                Some(b'\n') => self.newline(),
                Some(b' ' | b'\t' | b'\r') => self.offset += 1,
                Some(b';') => self.skip_until(|byte| byte == b'\n'),
                Some(b'(') => {
                    open.push(at);
                    self.offset += 1;
                }
                Some(b')') => {
                    if open.pop().is_none() {
                        fail(at, Fault::StrayParenthesis);
                    }
                    self.offset += 1;
                }
                Some(b'"') => {
                    self.offset += 1;
                    let text = self.take_until(|byte| matches!(byte, b'"' | b'\n'));
                    if self.peek() == Some(b'"') {
                        self.offset += 1;
                    } else {
                        fail(at, Fault::OpenQuote);
                    }
                    tokens.push(Token { at, quoted: true, text });
                }
                Some(_) => {
                    let text = self.take_until(|byte| b" \t\r\n;()\"".contains(&byte));
                    tokens.push(Token { at, quoted: false, text });
                }
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.offset).copied()
    }

    fn position(&self) -> Position {
        let column = u32::try_from(self.offset - self.line_start + 1).unwrap_or(u32::MAX);
        Position { line: self.line, column }
    }

    fn newline(&mut self) {
        if self.peek() == Some(b'\n') {
            self.offset += 1;
            self.line += 1;
            self.line_start = self.offset;
        }
    }

    fn skip_until(&mut self, end: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(|byte| !end(byte)) {
            self.offset += 1;
        }
    }

    /// Like [`skip_until`](Self::skip_until), but a byte behind a backslash never ends it.
    fn take_until(&mut self, end: impl Fn(u8) -> bool) -> &'t [u8] {
        let start = self.offset;
        while let Some(byte) = self.peek() {
            if byte == b'\\' && !matches!(self.text.get(self.offset + 1), None | Some(b'\n')) {
                self.offset += 2;
            } else if end(byte) {
                break;
            } else {
                self.offset += 1;
            }
        }
        &self.text[start..self.offset]
    }
}

impl Token<'_> {
    /// The token as a message shows it.
    pub(super) fn shown(&self) -> String {
        format!("`{}`", String::from_utf8_lossy(self.text))
    }

    pub(super) fn fail(&self, fault: Fault) -> SyntaxError {
        SyntaxError { at: self.at, fault }
    }

    pub(super) fn unexpected(&self, wanted: &'static str) -> SyntaxError {
        self.fail(Fault::Unexpected { wanted, found: self.shown() })
    }
}
