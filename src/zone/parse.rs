use std::sync::Arc;

use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::check::{Finding, Flaw, Place};
use super::entries::Entries;
use super::fields::{self, Fields};
use super::generate;
use super::lexer::{Fault, Lexer, Line, Position, SyntaxError, Token};
use super::rdata;

/// Files that include each other in a circle end here.
const DEEPEST_INCLUDE: usize = 8;
/// After so many mistakes a file is taken for something else than a zone.
const MOST_MISTAKES: usize = 100;

/// Gives the text of a file that `$INCLUDE` names, or the reason why not.
pub type Include<'i> = dyn FnMut(&str) -> Result<Vec<u8>, String> + 'i;

/// A text with mistakes: all of them, and the records of the other lines.
#[derive(Debug)]
pub struct Wrong {
    pub findings: Vec<Finding>,
    pub(super) entries: Box<Entries>,
}

/// Reads a master file (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5).
///
/// `origin` completes relative names until an `$ORIGIN` changes it. An included file has an origin,
/// a TTL and an owner of its own; what it says about them ends with it.
pub fn parse(text: &[u8], origin: &Name, include: &mut Include<'_>) -> Result<Entries, Wrong> {
    let mut reader =
        Reader { entries: Entries::with_room(text.len()), findings: Vec::new(), include, depth: 0 };
    reader.file(text, None, Scope::new(origin.clone()));
    let Reader { entries, findings, .. } = reader;
    if findings.is_empty() { Ok(entries) } else { Err(Wrong { findings, entries: entries.into() }) }
}

/// For texts that stand alone.
pub fn no_include(_path: &str) -> Result<Vec<u8>, String> {
    Err("there are no other files here; put the records into this one".to_owned())
}

struct Reader<'i, 'f> {
    entries: Entries,
    findings: Vec<Finding>,
    include: &'i mut Include<'f>,
    depth: usize,
}

/// What lines take from the lines above them in the same file.
#[derive(Debug, Clone)]
struct Scope {
    origin: Name,
    /// From `$TTL`.
    default_ttl: Option<u32>,
    /// Of the record above, for files without `$TTL`.
    last_ttl: Option<u32>,
    owner: Owner,
}

#[derive(Debug, Clone)]
enum Owner {
    None,
    Known(Name),
    /// It could not be read, which was reported once.
    Unreadable,
}

impl Scope {
    fn new(origin: Name) -> Self {
        Self { origin, default_ttl: None, last_ttl: None, owner: Owner::None }
    }
}

impl Reader<'_, '_> {
    fn file(&mut self, text: &[u8], file: Option<&Arc<str>>, mut scope: Scope) {
        let mut lexer = Lexer::new(text);
        while let Some(line) = lexer.next_line() {
            let read = match line.wrong.clone() {
                Some(wrong) => Err(wrong),
                None => self.line(&line, file, &mut scope),
            };
            if let Err(SyntaxError { at, fault }) = read {
                if self.findings.len() >= MOST_MISTAKES {
                    return;
                }
                let place = place(file, at, Some(at.column));
                let finding = Finding { place: Some(place), flaw: Flaw::Syntax(fault) };
                // A file that is included twice has its mistakes once.
                if !self.findings.contains(&finding) {
                    self.findings.push(finding);
                }
            }
        }
    }

    fn line(
        &mut self,
        line: &Line<'_>,
        file: Option<&Arc<str>>,
        scope: &mut Scope,
    ) -> Result<(), SyntaxError> {
        let mut fields = Fields::new(&line.tokens, line.end);
        let first = line.tokens[0];
        if !line.starts_blank && !first.quoted && first.text.starts_with(b"$") {
            return self.directive(line, file, scope);
        }
        if !line.starts_blank {
            scope.owner = Owner::Unreadable;
            scope.owner = Owner::Known(fields.name(&scope.origin, "an owner name")?);
        }
        let owner = match &scope.owner {
            Owner::Known(owner) => owner.clone(),
            Owner::Unreadable => return Ok(()),
            Owner::None => return Err(first.fail(Fault::NoOwner)),
        };
        let record = record(owner, &mut fields, scope)?;
        self.entries.push(Some(&place(file, first.at, None)), &record);
        Ok(())
    }

    fn directive(
        &mut self,
        line: &Line<'_>,
        file: Option<&Arc<str>>,
        scope: &mut Scope,
    ) -> Result<(), SyntaxError> {
        let mut fields = Fields::new(&line.tokens, line.end);
        let token = fields.next("a directive")?;
        match token.text.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => scope.origin = fields.name(&scope.origin, "an origin")?,
            b"$TTL" => scope.default_ttl = Some(fields.time("a TTL")?),
            b"$INCLUDE" => return self.include(&mut fields, scope),
            b"$GENERATE" => return self.generate(&mut fields, file, scope),
            _ => {
                return Err(token.unexpected("`$ORIGIN`, `$TTL`, `$INCLUDE` or `$GENERATE`"));
            }
        }
        fields.done()
    }

    /// `$INCLUDE file [origin]`.
    fn include(&mut self, fields: &mut Fields<'_, '_>, scope: &Scope) -> Result<(), SyntaxError> {
        let token = fields.next("the name of a file")?;
        let path = String::from_utf8_lossy(token.text).into_owned();
        let origin = match fields.is_empty() {
            true => scope.origin.clone(),
            false => fields.name(&scope.origin, "the origin of the included file")?,
        };
        fields.done()?;
        let fail = |reason| token.fail(Fault::Include { path: path.clone(), reason });
        if self.depth == DEEPEST_INCLUDE {
            let reason = format!("files include each other deeper than {DEEPEST_INCLUDE} times");
            return Err(fail(reason));
        }
        let text = (self.include)(&path).map_err(fail)?;
        let inner = Scope { origin, ..scope.clone() };
        self.depth += 1;
        self.file(&text, Some(&Arc::from(path.as_str())), inner);
        self.depth -= 1;
        Ok(())
    }

    /// `$GENERATE range owner [ttl] [class] type data`, as BIND has it.
    fn generate(
        &mut self,
        fields: &mut Fields<'_, '_>,
        file: Option<&Arc<str>>,
        scope: &mut Scope,
    ) -> Result<(), SyntaxError> {
        let range = generate::range(fields.next("a range, such as 1-9 or 0-30/2")?)?;
        let first = fields.wanted("an owner name")?;
        let (pattern, end) = fields.rest();
        for number in range {
            let words = pattern.iter().map(|token| generate::substitute(*token, number));
            let words = words.collect::<Result<Vec<_>, _>>()?;
            let words = generate::unfold(words);
            let tokens: Vec<Token<'_>> = words.iter().map(generate::Word::token).collect();
            let mut fields = Fields::new(&tokens, end);
            let owner = fields.name(&scope.origin, "an owner name")?;
            let record = record(owner, &mut fields, scope)?;
            self.entries.push(Some(&place(file, first.at, None)), &record);
        }
        Ok(())
    }
}

/// What stands behind the owner: TTL, class, type and data, and nothing else.
fn record(
    owner: Name,
    fields: &mut Fields<'_, '_>,
    scope: &mut Scope,
) -> Result<Record, SyntaxError> {
    let (ttl, kind, at) = head(fields)?;
    let data = rdata::read(kind, at, fields, &scope.origin)?;
    fields.done()?;
    let ttl = ttl
        .or(scope.default_ttl)
        .or(scope.last_ttl)
        .or(match &data {
            RData::SOA(soa) => Some(soa.minimum),
            _ => None,
        })
        .ok_or_else(|| at.fail(Fault::NoTtl))?;
    scope.last_ttl = Some(ttl);
    Ok(Record::from_rdata(owner, ttl, data))
}

fn place(file: Option<&Arc<str>>, at: Position, column: Option<u32>) -> Place {
    Place { file: file.cloned(), line: at.line, column }
}

/// TTL and class in either order, both optional, then the type and the token that named it.
fn head<'t>(
    fields: &mut Fields<'_, 't>,
) -> Result<(Option<u32>, RecordType, Token<'t>), SyntaxError> {
    const WANTED: &str = "a TTL, a class or a record type";
    let mut ttl = None;
    let mut class_seen = false;
    loop {
        let token = fields.next(WANTED)?;
        let text = fields::plain(token).ok_or_else(|| token.unexpected(WANTED))?;
        if ttl.is_none() && text.starts_with(|c: char| c.is_ascii_digit()) {
            let time = fields::seconds(token);
            ttl = Some(time.ok_or_else(|| token.unexpected("a TTL (0 to 2147483647 seconds)"))?);
            continue;
        }
        if !class_seen {
            match text.to_ascii_uppercase().as_str() {
                "IN" | "CLASS1" => {
                    class_seen = true;
                    continue;
                }
                "CH" | "HS" | "CS" | "NONE" => {
                    return Err(token.fail(Fault::Class { class: token.shown() }));
                }
                upper if upper.strip_prefix("CLASS").is_some_and(|n| n.parse::<u16>().is_ok()) => {
                    return Err(token.fail(Fault::Class { class: token.shown() }));
                }
                _ => {}
            }
        }
        return match rdata::record_type(text) {
            Some(kind) if !rdata::is_meta(kind) => Ok((ttl, kind, token)),
            _ if ttl.is_none() && !class_seen => Err(token.unexpected(WANTED)),
            _ => Err(token.unexpected("a record type")),
        };
    }
}
