use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A moment, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// The moment this much later; the end of time if there is none.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// The second in UTC, as in `2026-11-21T05:52:08Z`.
impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        let (year, month, day) = date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// The Gregorian date that many days after 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day is the last day of a year, and in eras
/// of 400 years, which all have 146,097 days.
pub fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// How many founders a cluster waits for; never 0, which would crash etcd nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterSize(u32);

/// Why a text is no cluster size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("size `{text}` is not a number; ask for a size from 1 to {max}, such as 3")]
    NotANumber { text: String, max: u32 },
    #[error("size `{text}` is out of range; this service grants sizes from 1 to {max}")]
    OutOfRange { text: String, max: u32 },
}

impl ClusterSize {
    /// What `/new` grants when nobody asks for a size.
    pub const DEFAULT: Self = Self(3);

    /// Reads a decimal number from 1 to `max`.
    pub fn parse(text: &str, max: u32) -> Result<Self, SizeError> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SizeError::NotANumber { text: shorten(text), max });
        }
        match text.parse::<u32>() {
            Ok(size) if (1..=max).contains(&size) => Ok(Self(size)),
            _ => Err(SizeError::OutOfRange { text: shorten(text), max }),
        }
    }

    /// The default, or the largest that is granted if that is smaller.
    pub fn default_within(max: u32) -> Self {
        Self(Self::DEFAULT.0.min(max.max(1)))
    }

    /// A size that came back from storage.
    pub fn stored(size: u32) -> Option<Self> {
        (size > 0).then_some(Self(size))
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for ClusterSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name an operator gives a token's cluster; a DNS label, unique among living tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(String);

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    #[error(
        "name `{text}` is no DNS label: 1 to 63 lower-case letters, digits and hyphens, \
         no hyphen at either end"
    )]
    Syntax { text: String },
    #[error("name `{text}` looks like the public id of a token; choose another")]
    LooksLikeId { text: String },
    #[error("name `ns` is that of the name server of the cluster domain; choose another")]
    NameServer,
}

impl Label {
    /// What no cluster can be called.
    pub const NAME_SERVER: &str = "ns";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(plain)
            && !text.starts_with('-')
            && !text.ends_with('-');
        if !fits {
            return Err(LabelError::Syntax { text: shorten(text) });
        }
        // A zone has a name server, and that has a name in it.
        if text == Self::NAME_SERVER {
            return Err(LabelError::NameServer);
        }
        // Clusters without a name are published under the public id of their token.
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(LabelError::LooksLikeId { text: text.to_owned() });
        }
        Ok(Self(text.to_owned()))
    }
}

/// A life span as operators write it: `90s`, `15m`, `24h`, `7d`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl(Duration);

/// Why a text is no life span.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TtlError {
    #[error("`{text}` is no time span; write a number and a unit, such as 90s, 15m, 24h or 7d")]
    Syntax { text: String },
    #[error("`{text}` is out of range; choose from 1s to 3650d")]
    OutOfRange { text: String },
}

impl Ttl {
    const LONGEST_SECONDS: u64 = 3650 * 86_400;

    pub const fn from_hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3600))
    }

    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for Ttl {
    type Err = TtlError;

    fn from_str(text: &str) -> Result<Self, TtlError> {
        let syntax = || TtlError::Syntax { text: shorten(text) };
        let out_of_range = || TtlError::OutOfRange { text: shorten(text) };
        let mut rest = text;
        let mut seconds: u64 = 0;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let mut tail = tail.chars();
            let unit: u64 = match tail.next() {
                Some('s') => 1,
                Some('m') => 60,
                Some('h') => 3600,
                Some('d') => 86_400,
                _ => return Err(syntax()),
            };
            if digits == 0 {
                return Err(syntax());
            }
            let number: u64 = number.parse().map_err(|_overflow| out_of_range())?;
            let span = number.checked_mul(unit).ok_or_else(out_of_range)?;
            seconds = seconds.checked_add(span).ok_or_else(out_of_range)?;
            rest = tail.as_str();
        }
        match seconds {
            _ if text.is_empty() => Err(syntax()),
            1..=Self::LONGEST_SECONDS => Ok(Self(Duration::from_secs(seconds))),
            _ => Err(out_of_range()),
        }
    }
}

/// The head of a text, for messages that repeat what a stranger sent.
pub(super) fn shorten(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 200;
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
