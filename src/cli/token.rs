use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::operator::{EXPIRED, Format, GONE, Operator, TIMED_OUT};
use super::{Failure, output};
use crate::admission::{Ttl, UnixMillis};

/// How long one question of `wait` is held; in between, progress is shown.
const SLICE: Duration = Duration::from_secs(10);
/// How much longer than that an answer may take before the service counts as lost.
const GRACE: Duration = Duration::from_secs(5);
/// How long a service that was lost is left alone.
const PAUSE: Duration = Duration::from_millis(500);
/// How many things are asked for at once.
const PAGE: &str = "1000";

/// What an operator does with tokens.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong flags, 3 the time of `wait` is over, \
    4 the token is unknown or revoked, 5 the token has expired, 6 the service cannot be reached."
)]
pub(super) struct Tokens {
    #[command(flatten)]
    operator: Operator,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text", global = true)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List tokens
    Ls {
        /// Only those in this state
        #[arg(long, value_name = "STATE")]
        state: Option<StateWord>,
    },
    /// Show a token and its members
    Show {
        /// Public id, token, discovery URL or label
        token: String,
    },
    /// Wait until a token has its first member, or all
    Wait {
        /// Public id, token, discovery URL or label
        token: String,
        /// What to wait for
        #[arg(long = "for", value_name = "GOAL", default_value = "full")]
        goal: Goal,
        /// How long to wait at most, e.g. 10m; without it as long as the token lives
        #[arg(long, value_name = "SPAN")]
        timeout: Option<Ttl>,
    },
    /// Make a token unknown to everybody
    Revoke {
        /// Public id, token, discovery URL or label
        token: String,
    },
    /// Give a token more time
    Extend {
        /// Public id, token, discovery URL or label
        token: String,
        /// How much, e.g. 24h
        #[arg(long, value_name = "SPAN")]
        by: Ttl,
    },
    /// Show what was decided about a token, or about all
    Timeline {
        /// Public id, token, discovery URL or label; `verify` follows the chain of hashes instead
        #[arg(value_name = "TOKEN|verify")]
        token: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateWord {
    Open,
    Full,
    Expired,
    Revoked,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Goal {
    First,
    Full,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the time is over: {have} of {size} members have registered")]
    TimedOut { have: usize, size: u64 },
    #[error(
        "the time is over and the service does not answer; {have} of {size} members had registered"
    )]
    Lost { have: usize, size: u64 },
    #[error("the token was revoked: {have} of {size} members had registered")]
    Revoked { have: usize, size: u64 },
    #[error("the token has expired: {have} of {size} members had registered")]
    Expired { have: usize, size: u64 },
}

impl Tokens {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let operator = &self.operator;
        match &self.command {
            Command::Ls { state } => self.list(*state).await,
            Command::Show { token } => {
                let path = format!("/api/v1/tokens/{}", self.operator.id_of(token).await?);
                self.print(&operator.json(Method::GET, &path, &[], None).await?, show)
            }
            Command::Wait { token, goal, timeout } => self.wait(token, *goal, *timeout).await,
            Command::Revoke { token } => {
                let path = format!("/api/v1/tokens/{}/revoke", self.operator.id_of(token).await?);
                let token = operator.json(Method::POST, &path, &[], None).await?;
                self.print(&token, |token| format!("revoked {}\n", text(token, "id")))
            }
            Command::Extend { token, by } => {
                let path = format!("/api/v1/tokens/{}/extend", self.operator.id_of(token).await?);
                let by = json!({"by": format!("{}s", by.get().as_secs())});
                let token = operator.json(Method::POST, &path, &[], Some(by)).await?;
                self.print(&token, |token| {
                    let expires = time(token, "expires_at");
                    format!("{} lives until {expires}\n", text(token, "id"))
                })
            }
            Command::Timeline { token: Some(word) } if word == "verify" => {
                let path = "/api/v1/timeline/verify";
                let verified = operator.json(Method::GET, path, &[], None).await?;
                self.print(&verified, |verified| {
                    let head = text(verified, "head");
                    format!("{} entries, whole; the last hash is {head}\n", verified["entries"])
                })
            }
            Command::Timeline { token } => self.timeline(token.as_deref()).await,
        }
    }

    fn print(&self, value: &Value, as_text: impl Fn(&Value) -> String) -> Result<(), Failure> {
        output::print(&match self.output {
            Format::Text => as_text(value),
            Format::Json => format!("{value:#}\n"),
        })
    }

    /// Asks for page after page and collects what is under `name`.
    async fn pages(
        &self,
        path: &str,
        name: &str,
        mut query: Vec<(&'static str, String)>,
    ) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        query.push(("limit", PAGE.to_owned()));
        query.push(("after", "0".to_owned()));
        loop {
            let mut page = self.operator.json(Method::GET, path, &query, None).await?;
            if let Value::Array(found) = page[name].take() {
                all.extend(found);
            }
            let Some(next) = page["next"].as_u64() else { return Ok(all) };
            query.pop();
            query.push(("after", next.to_string()));
        }
    }

    async fn list(&self, state: Option<StateWord>) -> Result<(), Failure> {
        let word = state.and_then(|state| state.to_possible_value());
        let query = word.map(|word| ("state", word.get_name().to_owned())).into_iter().collect();
        let tokens = self.pages("/api/v1/tokens", "tokens", query).await?;
        self.print(&json!({"tokens": tokens}), |all| {
            let row = |cells: [&str; 6]| {
                let [id, state, members, label, created, expires] = cells;
                format!(
                    "{id:<12}  {state:<7}  {members:<7}  {label:<16}  {created:<20}  {expires}\n"
                )
            };
            let head = ["ID", "STATE", "MEMBERS", "LABEL", "CREATED", "EXPIRES"];
            let mut table = row(head);
            for token in all["tokens"].as_array().into_iter().flatten() {
                table += &row([
                    &text(token, "id"),
                    &text(token, "state"),
                    &format!("{}/{}", have(token), token["size"]),
                    &text(token, "label"),
                    &time(token, "created_at"),
                    &time(token, "expires_at"),
                ]);
            }
            table
        })
    }

    async fn wait(&self, token: &str, goal: Goal, most: Option<Ttl>) -> Result<(), Failure> {
        let path = format!("/api/v1/tokens/{}/wait", self.operator.id_of(token).await?);
        let ends = most.map(|most| Instant::now() + most.get());
        let goal = if goal == Goal::Full { "full" } else { "first" };
        // Once the service has answered, losing it is waited out: it may just restart.
        let mut seen: Option<(usize, u64)> = None;
        let mut is_lost = false;
        loop {
            let left = ends.map_or(SLICE, |ends| ends.saturating_duration_since(Instant::now()));
            let slice = left.min(SLICE);
            let seconds = slice.as_secs_f64().ceil();
            let query = [("for", goal.to_owned()), ("seconds", format!("{seconds:.0}"))];
            let asking = self.operator.json(Method::GET, &path, &query, None);
            let answer = match seen {
                None => Some(asking.await?),
                Some(_) => match tokio::time::timeout(slice + GRACE, asking).await {
                    Ok(Ok(waited)) => Some(waited),
                    Ok(Err(error)) if !error.may_pass() => return Err(error.into()),
                    Ok(Err(_)) | Err(_) => None,
                },
            };
            let Some(mut waited) = answer else {
                let (have, size) = seen.unwrap_or_default();
                if left.is_zero() {
                    return Err(Failure::Code(TIMED_OUT, Error::Lost { have, size }.into()));
                }
                if !std::mem::replace(&mut is_lost, true) {
                    output::progress("the service does not answer; waiting until it does\n");
                }
                tokio::time::sleep(PAUSE.min(left)).await;
                continue;
            };
            is_lost = false;
            let token = waited["token"].take();
            let (have, size) = (have(&token), token["size"].as_u64().unwrap_or(0));
            match token["state"].as_str() {
                _ if waited["reached"] == true => return self.print(&token, show),
                Some("revoked") => {
                    return Err(Failure::Code(GONE, Error::Revoked { have, size }.into()));
                }
                Some("expired") => {
                    return Err(Failure::Code(EXPIRED, Error::Expired { have, size }.into()));
                }
                _ if left.is_zero() => {
                    return Err(Failure::Code(TIMED_OUT, Error::TimedOut { have, size }.into()));
                }
                _ => {}
            }
            if seen.replace((have, size)) != Some((have, size)) {
                output::progress(&format!("{have} of {size} members have registered\n"));
            }
        }
    }

    async fn timeline(&self, token: Option<&str>) -> Result<(), Failure> {
        let path = match token {
            Some(token) => format!("/api/v1/tokens/{}/timeline", self.operator.id_of(token).await?),
            None => "/api/v1/timeline".to_owned(),
        };
        let entries = self.pages(&path, "entries", Vec::new()).await?;
        self.print(&json!({"entries": entries}), |all| {
            let mut lines = String::new();
            for entry in all["entries"].as_array().into_iter().flatten() {
                let (at, what) = (time(entry, "at"), text(entry, "what"));
                let _ = write!(lines, "{} {at} {} {what}", entry["seq"], text(entry, "token"));
                for name in ["size", "label", "member", "value", "code", "text", "from", "by"] {
                    match &entry[name] {
                        Value::Null => {}
                        Value::String(value) => {
                            let _ = write!(lines, " {name}={}", value.escape_debug());
                        }
                        value => {
                            let _ = write!(lines, " {name}={value}");
                        }
                    }
                }
                if !entry["expires_at"].is_null() {
                    let _ = write!(lines, " expires={}", time(entry, "expires_at"));
                }
                lines.push('\n');
            }
            lines
        })
    }
}

/// What a member says of itself goes to a terminal: nothing in it may steer one.
fn text(value: &Value, name: &str) -> String {
    value[name].as_str().map_or_else(|| "-".to_owned(), |text| text.escape_debug().to_string())
}

fn time(value: &Value, name: &str) -> String {
    value[name].as_u64().map_or_else(|| "-".to_owned(), |millis| UnixMillis(millis).to_string())
}

fn have(token: &Value) -> usize {
    token["founders"].as_array().map_or(0, Vec::len)
}

fn show(token: &Value) -> String {
    let mut lines = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(lines, "{name:<10} {value}");
    };
    line("id", text(token, "id"));
    line("label", text(token, "label"));
    if let Some(prefix) = token["prefix"].as_str() {
        line("below", format!("{prefix}, which is part of its discovery URL"));
    }
    line("state", format!("{}, {} of {}", text(token, "state"), have(token), token["size"]));
    line("protocol", text(token, "protocol"));
    if let Some(port) = token["client_port"].as_u64() {
        line("clients", format!("port {port}"));
    }
    line("created", time(token, "created_at"));
    line("expires", time(token, "expires_at"));
    for (kind, name) in [("founders", "member"), ("surplus", "surplus")] {
        for member in token[kind].as_array().into_iter().flatten() {
            let urls = member["peer_urls"].as_array().into_iter().flatten();
            let urls: Vec<&str> = urls.filter_map(Value::as_str).collect();
            let (id, label) = (text(member, "id"), text(member, "name"));
            let (at, from) = (time(member, "registered_at"), text(member, "from"));
            line(name, format!("{id} {label} {} since {at} from {from}", urls.join(",")));
        }
    }
    if let Some(id) = token["cluster_id"].as_str() {
        line("cluster id", id.to_owned());
    }
    if let Some(whole) = token["initial_cluster"].as_str() {
        line("cluster", whole.escape_debug().to_string());
    }
    lines
}
