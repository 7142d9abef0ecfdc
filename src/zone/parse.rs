use hickory_proto::rr::{Name, RData, Record, RecordType};

use super::fields::{self, Fields};
use super::lexer::{Fault, Lexer, Line, SyntaxError, Token};
use super::rdata;

/// One record of a master file, and the line it begins on.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub line: u32,
    pub record: Record,
}

/// Reads a master file (RFC 1035 §5, RFC 2308 §4, RFC 3597 §5) up to its first mistake.
///
/// `origin` completes relative names until an `$ORIGIN` changes it.
pub fn parse(text: &[u8], origin: &Name) -> Result<Vec<Entry>, SyntaxError> {
    let mut reader = Reader {
        origin: origin.clone(),
        default_ttl: None,
        last_ttl: None,
        owner: None,
        entries: Vec::new(),
    };
    let mut lexer = Lexer::new(text);
    while let Some(line) = lexer.next_line()? {
        reader.line(&line)?;
    }
    Ok(reader.entries)
}

#[derive(Debug)]
struct Reader {
    origin: Name,
    /// From `$TTL`.
    default_ttl: Option<u32>,
    /// Of the record above, for files without `$TTL`.
    last_ttl: Option<u32>,
    owner: Option<Name>,
    entries: Vec<Entry>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) -> Result<(), SyntaxError> {
        let mut fields = Fields::new(&line.tokens, line.end);
        let first = line.tokens[0];
        if !line.starts_blank && !first.quoted && first.text.starts_with(b"$") {
            return self.directive(&mut fields);
        }
        if !line.starts_blank {
            self.owner = Some(fields.name(&self.origin, "an owner name")?);
        }
        let Some(owner) = self.owner.clone() else {
            return Err(first.fail(Fault::NoOwner));
        };
        let (ttl, kind, at) = head(&mut fields)?;
        let data = rdata::read(kind, at, &mut fields, &self.origin)?;
        fields.done()?;
        let ttl = ttl
            .or(self.default_ttl)
            .or(self.last_ttl)
            .or(match &data {
                RData::SOA(soa) => Some(soa.minimum),
                _ => None,
            })
            .ok_or_else(|| at.fail(Fault::NoTtl))?;
        self.last_ttl = Some(ttl);
        let record = Record::from_rdata(owner, ttl, data);
        self.entries.push(Entry { line: first.at.line, record });
        Ok(())
    }

    fn directive(&mut self, fields: &mut Fields<'_, '_>) -> Result<(), SyntaxError> {
        let token = fields.next("a directive")?;
        let refuse =
            |instead| Err(token.fail(Fault::Directive { directive: token.shown(), instead }));
        match token.text.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => self.origin = fields.name(&self.origin, "an origin")?,
            b"$TTL" => self.default_ttl = Some(fields.time("a TTL")?),
            b"$INCLUDE" => return refuse("put the records into this file"),
            b"$GENERATE" => return refuse("write the records out"),
            _ => return Err(token.unexpected("`$ORIGIN` or `$TTL`")),
        }
        fields.done()
    }
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
