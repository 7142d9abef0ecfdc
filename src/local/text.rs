use hickory_proto::rr::Name;

/// A line that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct Finding {
    /// Counts from 1.
    pub line: u32,
    pub fault: Fault,
}

/// What is wrong with a line, and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("`{text}` is no IP address; a line is an address and then its names")]
    Address { text: String },
    #[error(
        "`{text}` is no domain name: write letters, digits, `-` and `_` with dots between them, \
         at most 63 in a row"
    )]
    Name { text: String },
    #[error("no name stands behind `{address}`; add one or take the line out")]
    NoNames { address: String },
    #[error("`{option}` is not complete; write {form}")]
    Missing { option: String, form: &'static str },
    #[error("`{option}` has too many parts; write {form}")]
    TooMany { option: String, form: &'static str },
    #[error("{field} `{text}` is no number that fits; ports, priorities and weights end at 65535")]
    Number { field: String, text: String },
    #[error(
        "`{text}` is no IP address; write one, such as 10.0.0.1, or leave it empty for no such name"
    )]
    NoAddress { text: String },
    #[error("`{text}` is no DNS server; write its address, or address#port, such as 10.0.0.1#5353")]
    NoServer { text: String },
    #[error("a text of {length} bytes; the longest possible has 255, separate several by commas")]
    LongText { length: usize },
}

/// The lines of a text with their numbers.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    (1..).zip(text.lines())
}

/// A name as files spell it, with or without a dot at the end.
pub(super) fn name(text: &str) -> Result<Name, Fault> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let wrong = || Fault::Name { text: text.to_owned() };
    let bare = text.strip_suffix('.').unwrap_or(text);
    if bare.is_empty() || !bare.bytes().all(legal) || bare.split('.').any(str::is_empty) {
        return Err(wrong());
    }
    let mut name = Name::from_ascii(bare).map_err(|_reason| wrong())?;
    name.set_fqdn(true);
    Ok(name)
}

/// A name whose labels may have any characters.
pub(super) fn any_name(text: &str) -> Result<Name, Fault> {
    let labels = text.strip_suffix('.').unwrap_or(text).split('.').map(str::as_bytes);
    let wrong = |_reason| Fault::Name { text: text.to_owned() };
    let name = Name::from_labels(labels).map_err(wrong)?;
    Ok(name)
}
