//! How often may be asked, and how many may wait.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use parking_lot::Mutex;
use prometheus::IntGauge;
use tracing::info;

use super::{Service, request_id};
use crate::admission::codes;
use crate::token::TokenPath;

/// Askers that are remembered; beyond that those that were quiet are forgotten, and if that is not
/// enough, newcomers share one allowance.
const REMEMBERED: usize = 65_536;

/// So many in a unit of time, at once or spread over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    unit: char,
}

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a number, a slash and s, min or h are expected, such as 60/min, or `off`")]
pub struct RateError;

impl Rate {
    /// What `--new-rate` is unless given.
    pub const NEW: Self = Self { count: NonZeroU32::new(60).expect("60 is not 0"), unit: 'm' };

    /// What `--token-rate` is unless given: far above what a thousand nodes that start at once ask of
    /// one token, and low enough that one token cannot take a large machine for itself.
    pub const TOKEN: Self =
        Self { count: NonZeroU32::new(50_000).expect("50,000 is not 0"), unit: 's' };

    fn quota(self) -> Quota {
        let unit = match self.unit {
            's' => Duration::from_secs(1),
            'm' => Duration::from_secs(60),
            _ => Duration::from_secs(3600),
        };
        // More than a thousand million a second would be a period of nothing.
        let period = (unit / self.count.get()).max(Duration::from_nanos(1));
        Quota::with_period(period).expect("the period is not zero").allow_burst(self.count)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            's' => "s",
            'm' => "min",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (count, unit) = text.split_once('/').ok_or(RateError)?;
        let unit = match unit {
            "s" | "sec" => 's',
            "m" | "min" => 'm',
            "h" | "hour" => 'h',
            _ => return Err(RateError),
        };
        Ok(Self { count: count.parse().map_err(|_reason| RateError)?, unit })
    }
}

/// Who asks for new tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    Key(String),
    Address(IpAddr),
    /// Everybody for whom there is no room.
    Crowd,
}

/// How often quiet askers are forgotten at most: it takes a look at all of them.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Allowances by asker, in bounded memory.
#[derive(Debug)]
pub(super) struct Limiter<K: std::hash::Hash + Eq + Clone> {
    held: DefaultKeyedRateLimiter<K>,
    forgot: Mutex<Option<Instant>>,
}

impl<K: std::hash::Hash + Eq + Clone> Limiter<K> {
    fn new(rate: Rate) -> Self {
        Self { held: RateLimiter::dashmap(rate.quota()), forgot: Mutex::default() }
    }

    /// How long to wait, if it is too soon.
    fn check(&self, asker: &K, crowd: &K) -> Result<(), Duration> {
        let mut asker = asker;
        if self.held.len() >= REMEMBERED {
            self.forget();
            if self.held.len() >= REMEMBERED {
                asker = crowd;
            }
        }
        self.held
            .check_key(asker)
            .map_err(|early| early.wait_time_from(DefaultClock::default().now()))
    }
}

impl<K: std::hash::Hash + Eq + Clone> Limiter<K> {
    fn forget(&self) {
        let mut forgot = self.forgot.lock();
        if forgot.is_none_or(|at| at.elapsed() >= FORGET_EVERY) {
            *forgot = Some(Instant::now());
            drop(forgot);
            self.held.retain_recent();
            self.held.shrink_to_fit();
        }
    }
}

/// How many may wait at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaiterLimits {
    pub total: usize,
    pub per_token: usize,
}

impl Default for WaiterLimits {
    fn default() -> Self {
        Self { total: 100_000, per_token: 4096 }
    }
}

/// Everything that limits askers.
#[derive(Debug)]
pub(super) struct Gate {
    new: Option<Limiter<Asker>>,
    tokens: Option<Limiter<u64>>,
    waiters: Waiters,
}

impl Gate {
    pub(super) fn new(
        new_rate: Option<Rate>,
        token_rate: Option<Rate>,
        limits: WaiterLimits,
        gauge: IntGauge,
    ) -> Self {
        Self {
            new: new_rate.map(Limiter::new),
            tokens: token_rate.map(Limiter::new),
            waiters: Waiters { limits, gauge, held: Mutex::default() },
        }
    }

    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}

/// Those who wait, counted by token.
#[derive(Debug)]
pub(super) struct Waiters {
    limits: WaiterLimits,
    gauge: IntGauge,
    held: Mutex<(usize, HashMap<TokenPath, usize>)>,
}

/// One who waits, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    service: Service,
    path: TokenPath,
}

impl Waiters {
    fn enter(&self, path: &TokenPath) -> bool {
        let mut held = self.held.lock();
        let here = held.1.get(path).copied().unwrap_or(0);
        if held.0 >= self.limits.total || here >= self.limits.per_token {
            return false;
        }
        held.0 += 1;
        held.1.insert(path.clone(), here + 1);
        self.gauge.inc();
        true
    }

    fn leave(&self, path: &TokenPath) {
        let mut held = self.held.lock();
        held.0 -= 1;
        if let Some(here) = held.1.get_mut(path) {
            *here -= 1;
            if *here == 0 {
                held.1.remove(path);
            }
        }
        drop(held);
        self.gauge.dec();
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.service.0.gate.waiters.leave(&self.path);
    }
}

/// How long somebody is held for whom there is no room, before it is told so. A node that hears 503
/// asks again after two seconds, then after four.
const HOLD: Duration = Duration::from_secs(2);

impl Service {
    /// A place to wait, if there is one now or a little later.
    pub(super) async fn waiter(&self, path: &TokenPath) -> Option<Waiter> {
        let waiter = || Waiter { service: self.clone(), path: path.clone() };
        if self.0.gate.waiters().enter(path) {
            return Some(waiter());
        }
        tokio::time::sleep(HOLD).await;
        if self.0.gate.waiters().enter(path) {
            return Some(waiter());
        }
        self.metrics().refused(codes::TOO_MANY_WAITERS);
        None
    }

    /// Lets a request for a token pass, holding it back when there are too many of them. Whoever
    /// would be held for too long is told to come again later.
    pub(super) async fn pace(&self, path: &TokenPath) -> Result<(), Duration> {
        let Some(limiter) = &self.0.gate.tokens else { return Ok(()) };
        let bits = path.id_bits();
        let Err(early) = limiter.check(&bits, &u64::MAX) else { return Ok(()) };
        if early <= HOLD {
            tokio::time::sleep(early).await;
            if limiter.check(&bits, &u64::MAX).is_ok() {
                return Ok(());
            }
        } else {
            tokio::time::sleep(HOLD).await;
        }
        self.metrics().refused(codes::TOKEN_BUSY);
        Err(early)
    }

    /// Who asks for a token, if it may.
    ///
    /// `known` is one that has logged in otherwise; the machine itself needs no key either.
    pub(super) fn asker(
        &self,
        headers: &HeaderMap,
        from: Option<IpAddr>,
        known: bool,
    ) -> Result<Asker, TurnedAway> {
        if let Some(keys) = &self.config().new_keys {
            if let Some(name) = keys.bearer(headers) {
                return Ok(Asker::Key(name.to_string()));
            }
            if !known && !from.is_some_and(|address| address.is_loopback()) {
                return Err(self.turned_away(TurnedAway::NoKey, from));
            }
        }
        Ok(from.map_or(Asker::Crowd, |address| Asker::Address(network(address))))
    }

    /// Counts a token that is about to be made against the allowance of whoever asks.
    pub(super) fn spend(&self, asker: &Asker) -> Result<(), TurnedAway> {
        let Some(limiter) = &self.0.gate.new else { return Ok(()) };
        limiter.check(asker, &Asker::Crowd).map_err(|early| {
            let from = if let Asker::Address(address) = asker { Some(*address) } else { None };
            self.turned_away(TurnedAway::TooFast { seconds: early.as_secs() + 1 }, from)
        })
    }

    fn turned_away(&self, why: TurnedAway, from: Option<IpAddr>) -> TurnedAway {
        self.metrics().refused(why.code());
        info!(
            request.id = request_id::current(),
            client.address = from.map(tracing::field::display),
            refusal.code = why.code(),
            "token refused"
        );
        why
    }
}

/// Why somebody gets no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TurnedAway {
    #[error("a key is needed to make tokens here: send `Authorization: Bearer KEY`")]
    NoKey,
    #[error("too many tokens were asked for from here; try again in {seconds} s")]
    TooFast { seconds: u64 },
}

impl TurnedAway {
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::NoKey => codes::UNAUTHORIZED,
            Self::TooFast { .. } => codes::TOO_FAST,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::NoKey => StatusCode::UNAUTHORIZED,
            Self::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The header that belongs to the status.
    pub(super) fn header(self) -> (HeaderName, HeaderValue) {
        match self {
            Self::NoKey => (header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            Self::TooFast { seconds } => (header::RETRY_AFTER, HeaderValue::from(seconds)),
        }
    }
}

/// Whoever has an IPv6 address has the other 2^64 of its network as well.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_printed() {
        for (text, printed) in [("60/min", "60/min"), ("5/s", "5/s"), ("1000/hour", "1000/h")] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), printed);
        }
        assert_eq!(Rate::NEW.to_string(), "60/min");
        for wrong in ["", "60", "0/min", "-1/s", "60/day", "x/s", "99999999999/s"] {
            assert_eq!(wrong.parse::<Rate>(), Err(RateError), "{wrong}");
        }
    }

    #[test]
    fn askers_have_allowances_of_their_own_and_then_share_one() {
        let limiter = Limiter::new("2/h".parse().unwrap());
        let address = |n: u32| Asker::Address(IpAddr::V4(std::net::Ipv4Addr::from(n)));
        let asks = |asker: &Asker| limiter.check(asker, &Asker::Crowd).is_ok();
        assert_eq!([1; 3].map(|n| asks(&address(n))), [true, true, false]);
        assert!(asks(&address(2)));
        for n in 10..u32::try_from(REMEMBERED).unwrap() + 10 {
            asks(&address(n));
        }
        assert!(limiter.held.len() <= REMEMBERED + 1);
        let strangers = [1, 2, 3].map(|n| asks(&address(1_000_000 + n)));
        assert!(!strangers[2], "{strangers:?}");
        assert!(limiter.held.len() <= REMEMBERED + 1, "memory is bounded");
    }

    #[test]
    fn an_ipv6_network_is_one_asker() {
        let address = |text: &str| network(text.parse().unwrap());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("10.0.0.1"), address("10.0.0.2"));
    }
}
