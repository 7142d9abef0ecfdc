//! The configuration file of dnsmasq: one option a line, as its manual page has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use hickory_proto::rr::rdata::{CNAME, PTR, SRV, TXT};
use hickory_proto::rr::{Name, RData};

use super::text::{self, Fault, Finding};

/// The port of a DNS server that is named without one.
const DNS_PORT: u16 = 53;

/// What one line asks for. Paths are as they were written.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// A record; without a TTL it has that of `local-ttl`.
    Record {
        name: Name,
        data: RData,
        ttl: Option<u32>,
    },
    /// A service without a domain of its own gets that of `domain`.
    Service {
        name: Name,
        data: SRV,
    },
    /// Names of addresses, in both directions.
    Host {
        names: Vec<Name>,
        addresses: Vec<IpAddr>,
        ttl: Option<u32>,
    },
    /// What is known about these names and all below them; the root stands for every name.
    Domains {
        names: Vec<Name>,
        policy: Policy,
    },
    /// Servers for every name that nothing else was said about.
    Server(SocketAddr),
    AddnHosts(String),
    HostsDir(String),
    NoHosts,
    LocalTtl(u32),
    ConfFile(String),
    ConfDir {
        path: String,
        only: Vec<String>,
        except: Vec<String>,
    },
    Domain(Name),
    /// The domain of hosts whose addresses are in a range.
    DomainOf {
        name: Name,
        range: RangeInclusive<IpAddr>,
    },
    ExpandHosts,
    ResolvFile(String),
    NoResolv,
    /// An option that says nothing here, named once.
    Unsupported(String),
}

/// How a domain is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Address(IpAddr),
    /// Nothing but what is known here exists.
    Local,
    Server(SocketAddr),
    /// As if nothing was said, below a domain of which something was.
    Default,
}

/// Reads the text. A line that is wrong is a finding, and none of its parts count.
pub fn read(text: &str) -> (Vec<(u32, Setting)>, Vec<Finding>) {
    let mut options = Vec::new();
    let mut findings = Vec::new();
    for (line, text) in text::lines(text) {
        let words = unquote(text);
        let (key, value) = match words.split_once('=') {
            Some((key, value)) => (key.trim(), value.trim()),
            None => (words.trim(), ""),
        };
        if key.is_empty() {
            continue;
        }
        match option(key, value) {
            Ok(read) => options.extend(read.into_iter().map(|option| (line, option))),
            Err(fault) => findings.push(Finding { line, fault }),
        }
    }
    (options, findings)
}

/// Stands for a character that was quoted, so that it separates nothing.
const QUOTED: [(char, char); 6] = [
    (',', '\u{e000}'),
    ('#', '\u{e001}'),
    ('=', '\u{e002}'),
    ('/', '\u{e003}'),
    (' ', '\u{e004}'),
    ('"', '\u{e005}'),
];

/// The line without comment and quotes. What was inside of quotes is marked.
fn unquote(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut blank = true;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => match rest.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(mark(other)),
                None => {}
            },
            '#' if !quoted && blank => return out,
            c => out.push(if quoted { mark(c) } else { c }),
        }
        blank = !quoted && c.is_whitespace();
    }
    out
}

fn mark(c: char) -> char {
    QUOTED.iter().find(|(plain, _)| *plain == c).map_or(c, |(_, marked)| *marked)
}

fn unmark(text: &str) -> String {
    let plain = |c| QUOTED.iter().find(|(_, marked)| *marked == c).map_or(c, |(plain, _)| *plain);
    text.chars().map(plain).collect()
}

type Read = Result<Vec<Setting>, Fault>;

fn option(key: &str, value: &str) -> Read {
    let one = |option| Ok(vec![option]);
    let path = || match value {
        "" => Err(Fault::Missing { option: key.to_owned(), form: "a path" }),
        path => Ok(unmark(path)),
    };
    match key {
        "srv-host" => srv_host(&parts(value)),
        "host-record" => host_record(&parts(value)),
        "cname" => cname(&parts(value)),
        "txt-record" => txt_record(&parts(value)),
        "ptr-record" => ptr_record(&parts(value)),
        "address" | "server" | "local" => domains(key, value),
        "addn-hosts" => one(Setting::AddnHosts(path()?)),
        "hostsdir" => one(Setting::HostsDir(path()?)),
        "no-hosts" => one(Setting::NoHosts),
        "local-ttl" => one(Setting::LocalTtl(number(value, key)?)),
        "conf-file" => one(Setting::ConfFile(path()?)),
        "conf-dir" => conf_dir(&parts(&path()?)),
        "rev-server" => rev_server(&parts(value)),
        "domain" if value != "#" => domain(&parts(value), value),
        "expand-hosts" => one(Setting::ExpandHosts),
        "resolv-file" => one(Setting::ResolvFile(path()?)),
        "no-resolv" => one(Setting::NoResolv),
        _ => one(Setting::Unsupported(key.to_owned())),
    }
}

fn parts(value: &str) -> Vec<&str> {
    value.split(',').map(str::trim).collect()
}

/// `name,target,port,priority,weight`: another order than in a zone file.
fn srv_host(parts: &[&str]) -> Read {
    const FORM: &str = "name,target,port,priority,weight";
    let missing = || Fault::Missing { option: "srv-host".to_owned(), form: FORM };
    if parts.len() > 5 {
        return Err(Fault::TooMany { option: "srv-host".to_owned(), form: FORM });
    }
    let name = parts.first().filter(|text| !text.is_empty()).ok_or_else(missing)?;
    let target = match parts.get(1).copied().unwrap_or_default() {
        "" => Name::root(),
        text => text::name(text)?,
    };
    let field = |at: usize, field, default| match parts.get(at).copied().unwrap_or_default() {
        "" => Ok(default),
        text => number(text, field),
    };
    let port = field(2, "srv-host port", 1)?;
    let priority = field(3, "srv-host priority", 0)?;
    let weight = field(4, "srv-host weight", 0)?;
    let data = SRV::new(priority, weight, port, target);
    Ok(vec![Setting::Service { name: text::name(name)?, data }])
}

/// `name[,name...][,IPv4][,IPv6][,ttl]`.
fn host_record(parts: &[&str]) -> Read {
    let (mut names, mut addresses, mut ttl) = (Vec::new(), Vec::new(), None);
    for part in parts {
        if let Ok(address) = part.parse() {
            addresses.push(address);
        } else if part.bytes().all(|byte| byte.is_ascii_digit()) {
            ttl = Some(number(part, "host-record ttl")?);
        } else {
            names.push(text::name(part)?);
        }
    }
    if names.is_empty() || addresses.is_empty() {
        let form = "name[,name...],address[,address][,ttl]";
        return Err(Fault::Missing { option: "host-record".to_owned(), form });
    }
    Ok(vec![Setting::Host { names, addresses, ttl }])
}

/// `alias[,alias...],target[,ttl]`.
fn cname(parts: &[&str]) -> Read {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (parts, ttl) = match parts {
        [names @ .., last] if names.len() >= 2 && is_number(last) => {
            (names, Some(number(last, "cname ttl")?))
        }
        parts => (parts, None),
    };
    let (target, aliases) = parts.split_last().expect("a split has a last part");
    if aliases.is_empty() {
        let form = "alias[,alias...],target[,ttl]";
        return Err(Fault::Missing { option: "cname".to_owned(), form });
    }
    let data = RData::CNAME(CNAME(text::name(target)?));
    // dnsmasq itself takes it for a name that begins with an asterisk, unless it is asked as an
    // authoritative server.
    if let Some(wild) = aliases.iter().find(|alias| alias.contains('*')) {
        return Ok(vec![Setting::Unsupported(format!("cname={wild}"))]);
    }
    let alias = |alias: &&str| {
        let name = text::name(alias)?;
        Ok(Setting::Record { name, data: data.clone(), ttl })
    };
    aliases.iter().map(alias).collect()
}

/// `name[,text...]`.
fn txt_record(parts: &[&str]) -> Read {
    let (name, texts) = parts.split_first().expect("a split has a first part");
    let texts: Vec<Vec<u8>> = match texts {
        [] => vec![Vec::new()],
        texts => texts.iter().map(|text| unmark(text).into_bytes()).collect(),
    };
    if let Some(long) = texts.iter().find(|text| text.len() > 255) {
        return Err(Fault::LongText { length: long.len() });
    }
    let data = RData::TXT(TXT::from_bytes(texts.iter().map(Vec::as_slice).collect()));
    Ok(vec![Setting::Record { name: text::name(name)?, data, ttl: None }])
}

/// `name,target`. Both may have any characters, as service discovery has.
fn ptr_record(parts: &[&str]) -> Read {
    let [name, target] = parts else {
        let form = "name,target";
        return Err(Fault::Missing { option: "ptr-record".to_owned(), form });
    };
    let target = text::any_name(&unmark(target))?;
    let name = text::any_name(&unmark(name))?;
    Ok(vec![Setting::Record { name, data: RData::PTR(PTR(target)), ttl: None }])
}

/// `/domain/.../value`, or for a server the value alone.
fn domains(key: &str, value: &str) -> Read {
    let unsupported = |what: &str| Ok(vec![Setting::Unsupported(format!("{key}={what}"))]);
    let Some(value) = value.strip_prefix('/') else {
        return match (key, value) {
            ("server", value) => asked(value, Setting::Server),
            _ => {
                let form = "/domain/address";
                Err(Fault::Missing { option: key.to_owned(), form })
            }
        };
    };
    let Some((domains, end)) = value.rsplit_once('/') else {
        return Err(Fault::Missing { option: key.to_owned(), form: "/domain/address" });
    };
    let mut names = Vec::new();
    for domain in domains.split('/') {
        match domain {
            // Simple names, and names that only end alike, have no place in a tree of domains.
            "" => return unsupported(&format!("/{value}")),
            "#" => names.push(Name::root()),
            domain if domain.contains('*') => return unsupported(&format!("/{value}")),
            domain => names.push(text::name(domain)?),
        }
    }
    let of = |policy| Setting::Domains { names: names.clone(), policy };
    Ok(match (key, end) {
        (_, "") => vec![of(Policy::Local)],
        ("address", "#") => vec![
            of(Policy::Address(Ipv4Addr::UNSPECIFIED.into())),
            of(Policy::Address(Ipv6Addr::UNSPECIFIED.into())),
        ],
        ("address", end) => {
            let address =
                end.parse().map_err(|_reason| Fault::NoAddress { text: end.to_owned() })?;
            vec![of(Policy::Address(address))]
        }
        (_, "#") => vec![of(Policy::Default)],
        (_, end) => return asked(end, |server| of(Policy::Server(server))),
    })
}

/// A server, perhaps with the interface or address to ask it from. It is asked all the same, on the
/// way that the system has to it.
fn asked(text: &str, setting: impl FnOnce(SocketAddr) -> Setting) -> Read {
    let (address, from) = text.split_at(text.find('@').unwrap_or(text.len()));
    let mut read = vec![setting(server(address)?)];
    if !from.is_empty() {
        read.push(Setting::Unsupported(from.to_owned()));
    }
    Ok(read)
}

/// `address[/length][,server]`: who knows the names of these addresses.
fn rev_server(parts: &[&str]) -> Read {
    let form = "address/length,server";
    let missing = || Fault::Missing { option: "rev-server".to_owned(), form };
    let (subnet, end) = match parts {
        [subnet] => (subnet, ""),
        [subnet, end] => (subnet, *end),
        _ => return Err(Fault::TooMany { option: "rev-server".to_owned(), form }),
    };
    let (address, length) = network(subnet).ok_or_else(missing)?;
    let names = reverse_names(address, length);
    let of = |policy| Setting::Domains { names, policy };
    match end {
        "" => Ok(vec![of(Policy::Local)]),
        "#" => Ok(vec![of(Policy::Default)]),
        end => asked(end, |server| of(Policy::Server(server))),
    }
}

/// The domains that reverse names of a network are in: one, or several if its length ends inside
/// of a label.
fn reverse_names(address: IpAddr, length: u8) -> Vec<Name> {
    let per_label: u8 = if address.is_ipv4() { 8 } else { 4 };
    let host = Name::from(address);
    let depth = usize::from(length.div_ceil(per_label));
    let free = depth * usize::from(per_label) - usize::from(length);
    // The zone of all such addresses has two labels.
    let domain = host.trim_to(2 + depth);
    if depth == 0 || free == 0 {
        return vec![domain];
    }
    let text = String::from_utf8_lossy(domain.iter().next().unwrap_or_default()).into_owned();
    let radix = if address.is_ipv4() { 10 } else { 16 };
    let first = u16::from_str_radix(&text, radix).unwrap_or(0) >> free << free;
    let above = domain.base_name();
    let label = |number: u16| match address {
        IpAddr::V4(_) => number.to_string(),
        IpAddr::V6(_) => format!("{number:x}"),
    };
    let numbers = first..first + (1 << free);
    numbers.filter_map(|number| above.prepend_label(label(number)).ok()).collect()
}

/// `address/length`, or an address alone.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(longest);
    (length <= longest).then_some((address, length))
}

/// The first and the last address of a network.
fn range_of(address: IpAddr, length: u8) -> RangeInclusive<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let free = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            let (first, last) = (address.to_bits() & !free, address.to_bits() | free);
            Ipv4Addr::from_bits(first).into()..=Ipv4Addr::from_bits(last).into()
        }
        IpAddr::V6(address) => {
            let free = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let (first, last) = (address.to_bits() & !free, address.to_bits() | free);
            Ipv6Addr::from_bits(first).into()..=Ipv6Addr::from_bits(last).into()
        }
    }
}

/// `name[,address/length[,local]]` or `name,first,last`. The name of an interface in the place of
/// addresses does nothing here.
fn domain(parts: &[&str], value: &str) -> Read {
    let name = text::name(parts[0])?;
    let wrong = |text: &str| Fault::NoAddress { text: text.to_owned() };
    let of = |range| Setting::DomainOf { name: name.clone(), range };
    match parts[1..] {
        [] => Ok(vec![Setting::Domain(name)]),
        [subnet] | [subnet, "local"] if subnet.contains('/') => {
            let (address, length) = network(subnet).ok_or_else(|| wrong(subnet))?;
            let mut read = vec![of(range_of(address, length))];
            if parts.len() == 3 {
                let mut names = reverse_names(address, length);
                names.push(name);
                read.push(Setting::Domains { names, policy: Policy::Local });
            }
            Ok(read)
        }
        [first, last] if last != "local" => {
            let address = |text: &str| text.parse::<IpAddr>().map_err(|_reason| wrong(text));
            Ok(vec![of(address(first)?..=address(last)?)])
        }
        [one] if one.parse::<IpAddr>().is_ok() => {
            let address = one.parse().map_err(|_reason| wrong(one))?;
            Ok(vec![of(address..=address)])
        }
        _ => Ok(vec![Setting::Unsupported(format!("domain={value}"))]),
    }
}

/// `address[#port]`.
pub fn server(text: &str) -> Result<SocketAddr, Fault> {
    let wrong = || Fault::NoServer { text: text.to_owned() };
    let (address, port) = match text.split_once('#') {
        Some((address, port)) => (address, port.parse().map_err(|_reason| wrong())?),
        None => (text, DNS_PORT),
    };
    let address: IpAddr = address.parse().map_err(|_reason| wrong())?;
    Ok(SocketAddr::new(address, port))
}

/// `directory[,.ext|*.ext...]`.
fn conf_dir(parts: &[&str]) -> Read {
    let (path, endings) = parts.split_first().expect("a split has a first part");
    let (mut only, mut except) = (Vec::new(), Vec::new());
    for ending in endings.iter().filter(|ending| !ending.is_empty()) {
        match ending.strip_prefix('*') {
            Some(ending) => only.push(ending.to_owned()),
            None => except.push((*ending).to_owned()),
        }
    }
    Ok(vec![Setting::ConfDir { path: (*path).to_owned(), only, except }])
}

fn number<T: std::str::FromStr>(text: &str, field: &str) -> Result<T, Fault> {
    let wrong = |_reason| Fault::Number { field: field.to_owned(), text: text.to_owned() };
    text.parse().map_err(wrong)
}
