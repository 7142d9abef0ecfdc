use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::cli::steps::Steps;

/// A certificate that ends within this time is worth a warning: renewals are monthly in most places.
const SOON_DAYS: i64 = 14;
const DAY: i64 = 24 * 60 * 60;

/// What a certificate says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    subject: String,
    issuer: String,
    /// Hosts and addresses.
    names: Vec<String>,
    /// Seconds since 1970.
    from: i64,
    until: i64,
    until_text: String,
    serves: bool,
    asks: bool,
}

impl Described {
    /// The first certificate of a file.
    pub(super) fn read(file: &Path) -> Option<Self> {
        let text = std::fs::read(file).ok()?;
        let pem = Pem::iter_from_buffer(&text).next()?.ok()?;
        Self::of(&pem.contents)
    }

    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let uses = certificate.extended_key_usage().ok().flatten();
        // Without a list of uses it may be used for everything.
        let may = |listed: fn(&x509_parser::extensions::ExtendedKeyUsage<'_>) -> bool| {
            uses.as_ref().is_none_or(|uses| uses.value.any || listed(uses.value))
        };
        let validity = certificate.validity();
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.filter_map(name).collect(),
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
            until_text: validity.not_after.to_string(),
            serves: may(|uses| uses.server_auth),
            asks: may(|uses| uses.client_auth),
        })
    }

    /// Says what it is for and until when.
    pub(super) fn describe(&self, steps: &mut Steps, step: &str) {
        let names = match self.names.as_slice() {
            [] => "no host".to_owned(),
            names => names.join(", "),
        };
        let uses = match (self.serves, self.asks) {
            (true, true) => "servers and clients",
            (true, false) => "servers alone",
            (false, true) => "clients alone",
            (false, false) => "neither servers nor clients",
        };
        let what = format!("{} of {}: for {names}; for {uses}", self.subject, self.issuer);
        steps.ok(step, what);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.judge_time(steps, step, i64::try_from(now).unwrap_or(i64::MAX));
    }

    fn judge_time(&self, steps: &mut Steps, step: &str, now: i64) {
        let until = &self.until_text;
        if now < self.from {
            let cure = "set the clock of this machine, or of the one that signed it";
            steps.fail(step, "it is not valid yet", cure);
        } else if now > self.until {
            steps.fail(
                step,
                format!("it ended on {until}"),
                "sign a new one; it is taken without a restart",
            );
        } else if self.until - now < SOON_DAYS * DAY {
            let days = (self.until - now) / DAY;
            let cure = "sign a new one; it is taken without a restart";
            steps.warn(step, format!("it ends in {days} days, on {until}"), cure);
        } else {
            steps.ok(step, format!("valid until {until}"));
        }
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(std::net::IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            _ => Some(std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
        },
        _ => None,
    }
}
