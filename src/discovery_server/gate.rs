// How often may be asked, and how many may wait.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use prometheus::IntGauge;

use super::answer::text;
use super::{Service, router};
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
enum Asker {
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
        let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
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
        let bits = path.public_id().bits();
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

    /// Whether this request may make a token; the answer if it may not.
    pub(super) fn admit_new(&self, request: &Request<Body>) -> Result<(), Box<Response<Body>>> {
        let from = router::client(request.extensions());
        let key = match &self.config().new_keys {
            Some(keys) => match keys.bearer(request.headers()) {
                Some(name) => Some(name),
                None if from.is_some_and(|address| address.is_loopback()) => None,
                None => return Err(Box::new(self.no_key())),
            },
            None => None,
        };
        let Some(limiter) = &self.0.gate.new else { return Ok(()) };
        let asker = match (key, from) {
            (Some(name), _) => Asker::Key(name.to_string()),
            (None, Some(address)) => Asker::Address(network(address)),
            (None, None) => Asker::Crowd,
        };
        limiter.check(&asker, &Asker::Crowd).map_err(|early| Box::new(self.too_fast(early)))
    }

    fn no_key(&self) -> Response<Body> {
        self.metrics().refused(codes::UNAUTHORIZED);
        let line = "a key is needed to make tokens here: send `Authorization: Bearer KEY`";
        let line = format!("{}: {line}\n", codes::UNAUTHORIZED);
        let mut response = text(StatusCode::UNAUTHORIZED, line);
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        response
    }

    fn too_fast(&self, early: Duration) -> Response<Body> {
        self.metrics().refused(codes::TOO_FAST);
        let seconds = early.as_secs() + 1;
        let line = format!(
            "{}: too many tokens were asked for from here; try again in {seconds} s\n",
            codes::TOO_FAST
        );
        let mut response = text(StatusCode::TOO_MANY_REQUESTS, line);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
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
