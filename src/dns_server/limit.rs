use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use super::Network;

/// Clients that are told apart; two that share a place share its limit.
const PLACES: usize = 1 << 14;
/// Bytes of answers for a byte of questions. Nothing in advance: the sum holds at any moment, and
/// whoever is new and asks for more comes over TCP.
const FOR_ONE: i64 = 3;
/// The most that unused allowance adds up to.
const SAVED: i64 = 4096;
/// A client that was away so long is a new one.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// Keeps strangers from using this server against others: whoever forges the address of a victim
/// can neither have many answers sent to it, nor more than three times what he sends himself.
///
/// It is about datagrams without a good cookie; a client that is cut short comes back over TCP.
#[derive(Debug)]
pub(super) struct Limiter {
    exempt: Vec<Network>,
    /// Answers per second for a network of clients; none is no limit.
    rate: Option<u32>,
    keys: (u64, u64),
    places: Box<[Mutex<Place>]>,
    start: Instant,
}

#[derive(Debug, Default, Clone, Copy)]
struct Place {
    client: u64,
    seen: Duration,
    bytes: i64,
    /// Thousandths of answers.
    answers: u64,
    dropped_last: bool,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// Only its header and question, with the request to come over TCP.
    Slip,
    Drop,
}

impl Limiter {
    pub(super) fn new(exempt: Vec<Network>, rate: Option<u32>) -> Self {
        Self {
            exempt,
            rate,
            keys: (rand::random(), rand::random()),
            places: std::iter::repeat_with(Mutex::default).take(PLACES).collect(),
            start: Instant::now(),
        }
    }

    /// Whether an answer of `answered` bytes to a question of `asked` bytes may be sent.
    pub(super) fn judge(&self, client: IpAddr, asked: usize, answered: usize) -> Verdict {
        let Some(rate) = self.rate else { return Verdict::Send };
        if client.is_loopback() || self.exempt.iter().any(|network| network.contains(client)) {
            return Verdict::Send;
        }
        self.judge_at(client, rate, asked, answered, self.start.elapsed())
    }

    fn judge_at(
        &self,
        client: IpAddr,
        rate: u32,
        asked: usize,
        answered: usize,
        now: Duration,
    ) -> Verdict {
        let client = self.hash(client);
        let index = usize::try_from(client % PLACES as u64).expect("there are few places");
        let mut place = self.places[index].lock();
        let burst = u64::from(rate) * 1000;
        let away = now.saturating_sub(place.seen);
        if place.seen.is_zero() || place.client != client && away > FORGOTTEN {
            *place = Place { client, answers: burst, ..Place::default() };
        } else {
            let earned = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
            place.answers =
                place.answers.saturating_add(earned.saturating_mul(rate.into())).min(burst);
        }
        place.seen = now.max(Duration::from_nanos(1));
        let (asked, answered) = (asked.min(1 << 16) as i64, answered.min(1 << 16) as i64);
        place.bytes = (place.bytes + asked * FOR_ONE).min(SAVED);
        let verdict = if place.answers >= 1000 && place.bytes >= answered {
            Verdict::Send
        } else if place.dropped_last || place.answers >= 1000 {
            Verdict::Slip
        } else {
            Verdict::Drop
        };
        place.answers = place.answers.saturating_sub(1000);
        place.dropped_last = verdict == Verdict::Drop;
        match verdict {
            Verdict::Send => place.bytes -= answered,
            // As long as its question.
            Verdict::Slip => place.bytes = (place.bytes - asked).max(0),
            Verdict::Drop => {}
        }
        verdict
    }

    /// Of the network that one owner usually has: 24 bits, or 56 of the long ones.
    fn hash(&self, client: IpAddr) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        match client.to_canonical() {
            IpAddr::V4(address) => hasher.write(&address.octets()[..3]),
            IpAddr::V6(address) => hasher.write(&address.octets()[..7]),
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger() -> IpAddr {
        [198, 51, 100, 7].into()
    }

    #[test]
    fn strangers_get_three_bytes_for_one() {
        let limiter = Limiter::new(Vec::new(), Some(1_000_000));
        let (mut sent, mut asked) = (0, 0);
        for number in 0..400 {
            let now = Duration::from_millis(10 * number + 1);
            asked += 70;
            sent += match limiter.judge_at(stranger(), 1_000_000, 70, 1232, now) {
                Verdict::Send => 1232,
                Verdict::Slip => 70,
                Verdict::Drop => 0,
            };
            assert!(sent <= 3 * asked, "{sent} for {asked}");
        }
        assert!(sent > 2 * asked, "{sent} for {asked}");
    }

    #[test]
    fn the_first_answers_come_whole_and_many_are_cut() {
        let limiter = Limiter::new(Vec::new(), Some(10));
        let now = Duration::from_secs(1);
        let verdicts: Vec<Verdict> =
            (0..20).map(|_| limiter.judge_at(stranger(), 10, 70, 90, now)).collect();
        assert_eq!(verdicts[..10], [Verdict::Send; 10]);
        assert_eq!(verdicts[10..14], [Verdict::Drop, Verdict::Slip, Verdict::Drop, Verdict::Slip]);
        let later = now + Duration::from_millis(100);
        assert_eq!(limiter.judge_at(stranger(), 10, 70, 90, later), Verdict::Send);
        // Others have nothing to do with it.
        assert_eq!(limiter.judge_at([192, 0, 2, 1].into(), 10, 70, 90, now), Verdict::Send);
    }

    #[test]
    fn loopback_and_allowed_networks_are_not_limited() {
        let limiter = Limiter::new(vec!["198.51.100.0/24".parse().unwrap()], Some(1));
        for client in [stranger(), [127, 0, 0, 1].into()] {
            for _ in 0..50 {
                assert_eq!(limiter.judge(client, 40, 1232), Verdict::Send);
            }
        }
        let limited =
            (0..50).filter(|_| limiter.judge([192, 0, 2, 1].into(), 40, 90) != Verdict::Send);
        assert!(limited.count() > 40);
        let unlimited = Limiter::new(Vec::new(), None);
        assert_eq!(unlimited.judge(stranger(), 40, 65535), Verdict::Send);
    }
}
