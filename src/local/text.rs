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
