use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::Service;
use super::super::joining::{Joining, Release, free_name};
use super::super::recent::Refused;
use super::{Looker, base};
use crate::admission::{Founding, Protocol, Registered, UnixMillis};
use crate::membership::ClusterId;

/// Everything that the page of a token says, ready to be printed.
#[derive(Debug)]
pub(super) struct Shown {
    /// The label, or the public id.
    pub(super) name: String,
    pub(super) id: String,
    pub(super) size: u32,
    pub(super) have: u32,
    pub(super) members: Vec<Member>,
    /// The numbers of the places that are free.
    pub(super) missing: Vec<u32>,
    pub(super) late: Vec<Member>,
    pub(super) refusals: Vec<Turned>,
    pub(super) cluster_id: Option<String>,
    /// What the first registration decided for all.
    pub(super) protocol: Option<&'static str>,
    pub(super) expires: Moment,
    pub(super) left: String,
    pub(super) left_seconds: u64,
    pub(super) events: String,
    pub(super) view_url: String,
    /// Only for who knows the token.
    pub(super) join: Option<Join>,
}

/// A member that is in.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) urls: Vec<String>,
    pub(super) since: Moment,
    pub(super) from: Option<String>,
}

/// A node that was refused.
#[derive(Debug)]
pub(super) struct Turned {
    pub(super) code: &'static str,
    pub(super) text: String,
    pub(super) id: String,
    pub(super) at: Moment,
    pub(super) from: Option<String>,
    pub(super) times: u32,
}

/// A moment for people and for programs.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) iso: String,
    pub(super) text: String,
}

/// How to go on, for who may.
#[derive(Debug)]
pub(super) struct Join {
    pub(super) commands: Vec<Command>,
    pub(super) list_url: String,
    /// The list itself, once it is complete.
    pub(super) list: Option<String>,
}

/// A command to paste, or why there is none.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) key: &'static str,
    pub(super) title: String,
    pub(super) text: Result<String, String>,
}

impl Shown {
    pub(super) fn new(
        service: &Service,
        founding: &Founding,
        looker: Looker,
        now: UnixMillis,
    ) -> Self {
        let refusals = service.recent().refusals(&founding.path);
        let public_url = &service.config().public_url;
        let id = founding.path.public_id().to_string();
        let have = u32::try_from(founding.founders.len()).unwrap_or(u32::MAX);
        let size = founding.size.get();
        let ids = founding.founders.iter().map(|held| held.key);
        let cluster_id = founding.is_full().then(|| ClusterId::derive(ids).to_string());
        let left_seconds = founding.expires_at.0.saturating_sub(now.0) / 1000;
        let base = base(service);
        let events = match (looker, founding.path.token()) {
            (Looker::Joiner, Some(_)) => format!("{base}{}/events", founding.path.as_str()),
            (Looker::Joiner, None) => format!("{base}{}", founding.path.as_str()),
            (Looker::Viewer, _) => format!("{base}/view/{}/events", founding.path.view_id()),
        };
        Self {
            name: founding
                .label
                .as_ref()
                .map_or_else(|| id.clone(), |label| label.as_str().to_owned()),
            id,
            size,
            have,
            members: founding.founders.iter().map(|held| Member::new(held)).collect(),
            missing: (have + 1..=size).collect(),
            late: founding.surplus.iter().map(|held| Member::new(held)).collect(),
            refusals: refusals
                .iter()
                .map(|refused| Turned::new(refused, founding, looker))
                .collect(),
            cluster_id,
            protocol: founding.protocol().map(|protocol| match protocol {
                Protocol::V2 => "--discovery",
                Protocol::V3 => "--discovery-token",
            }),
            expires: Moment::of(founding.expires_at),
            left: span(left_seconds),
            left_seconds,
            events,
            view_url: format!("{public_url}/view/{}", founding.path.view_id()),
            join: (looker == Looker::Joiner).then(|| Join::new(founding, public_url, base)),
        }
    }

    /// Never the token.
    pub(super) fn title(&self) -> String {
        format!("{} of {}: {} - Quorate", self.have, self.size, self.name)
    }

    pub(super) fn is_full(&self) -> bool {
        self.missing.is_empty()
    }

    /// The state in one sentence, for screen readers when it changes.
    pub(super) fn summary(&self) -> String {
        let refused = match self.refusals.len() {
            0 => String::new(),
            1 => " One node was refused.".to_owned(),
            more => format!(" {more} nodes were refused."),
        };
        if self.is_full() {
            return match self.size {
                1 => format!("Complete: the one member has registered.{refused}"),
                size => format!("Complete: all {size} members have registered.{refused}"),
            };
        }
        let missing = self.missing.len();
        let are = if missing == 1 { "is" } else { "are" };
        format!(
            "Open: {} of {} members have registered, {missing} {are} missing.{refused}",
            self.have, self.size
        )
    }

    /// How soon a browser without a script looks again.
    pub(super) fn refresh_seconds(&self) -> u32 {
        if self.is_full() { 60 } else { 5 }
    }
}

impl Member {
    fn new(held: &Registered) -> Self {
        Self {
            name: held.name().to_owned(),
            id: held.key.to_string(),
            urls: held.urls().map(str::to_owned).collect(),
            since: Moment::of(held.at),
            from: address(held.from),
        }
    }
}

impl Turned {
    fn new(refused: &Refused, founding: &Founding, looker: Looker) -> Self {
        let text = match looker {
            Looker::Joiner => refused.text.clone(),
            Looker::Viewer => founding.path.redact(&refused.text),
        };
        Self {
            code: refused.code,
            text,
            id: refused.id.clone(),
            at: Moment::of(refused.at),
            from: address(refused.from),
            times: refused.times,
        }
    }
}

impl Moment {
    fn of(at: UnixMillis) -> Self {
        let iso = at.to_string();
        let text = iso.replace('T', " ").replace('Z', " UTC");
        Self { iso, text }
    }
}

impl Join {
    fn new(founding: &Founding, public_url: &str, base: &str) -> Self {
        let joining = Joining::new(&founding.path, public_url, founding.protocol());
        let list_url = format!("{base}{}/initial-cluster", founding.path.as_str());
        let name = free_name(founding);
        // Releases that start alike share a command.
        let mut alike: BTreeMap<usize, Command> = BTreeMap::new();
        for (order, release) in Release::ALL.into_iter().enumerate() {
            let text =
                joining.lines(release, founding.client_port(), &name).map(|lines| lines.command);
            let twin = alike.values_mut().find(|command| text.is_ok() && command.text == text);
            match twin {
                Some(command) => {
                    command.title = format!("{}, {}", command.title, release.version());
                }
                None => {
                    let title = release.title();
                    alike.insert(order, Command { key: release.name(), title, text });
                }
            }
        }
        Self {
            commands: alike.into_values().collect(),
            list_url,
            list: founding.initial_cluster().map(|whole| whole.to_string()),
        }
    }
}

fn address(from: Option<IpAddr>) -> Option<String> {
    from.map(|from| from.to_canonical().to_string())
}

/// A span as people say it: its two largest units.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
