use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::admission::{Refusal, UnixMillis};
use crate::token::TokenPath;

/// Refusals kept for one token; the oldest goes first.
const REFUSALS: usize = 16;
/// Tokens of which anything is kept; the one that was quiet for the longest goes first.
const TOKENS: usize = 4096;

/// Refusals of late, for the page: in memory, bounded, gone after a restart. The registry's timeline
/// keeps them for operators; a page must not cost a query.
#[derive(Debug)]
pub(super) struct Recent {
    tokens: Mutex<Tokens>,
    /// Counts all changes, so that open pages look again.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Tokens {
    notes: HashMap<TokenPath, Notes>,
    /// Counts what was noted; the token with the smallest number was quiet for the longest.
    clock: u64,
}

/// What is kept of one token.
#[derive(Debug, Default)]
struct Notes {
    refusals: VecDeque<Refused>,
    touched: u64,
}

/// A registration that was refused, as often as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) at: UnixMillis,
    pub(super) from: Option<IpAddr>,
    /// The id under which the node wanted to register, as it was sent.
    pub(super) id: String,
    pub(super) code: &'static str,
    /// Names the cure too.
    pub(super) text: String,
    pub(super) times: u32,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { tokens: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// Notes a refusal. A node that tries the same again and again takes one place.
    pub(super) fn refused(
        &self,
        path: &TokenPath,
        id: &str,
        refusal: &Refusal,
        from: Option<IpAddr>,
        at: UnixMillis,
    ) {
        const SHOWN_CHARACTERS: usize = 32;
        let id: String = id.chars().take(SHOWN_CHARACTERS).collect();
        let (code, text) = (refusal.code(), refusal.to_string());
        self.note(path, |notes| {
            let same = |held: &Refused| held.id == id && held.text == text && held.from == from;
            let before = notes.refusals.iter().position(same);
            let before = before.and_then(|at| notes.refusals.remove(at));
            let times = before.map_or(1, |held| held.times.saturating_add(1));
            notes.refusals.push_front(Refused { at, from, id, code, text, times });
            notes.refusals.truncate(REFUSALS);
        });
    }

    fn note(&self, path: &TokenPath, write: impl FnOnce(&mut Notes)) {
        let mut tokens = self.tokens.lock();
        tokens.clock += 1;
        let clock = tokens.clock;
        let notes = tokens.notes.entry(path.clone()).or_default();
        notes.touched = clock;
        write(notes);
        if tokens.notes.len() > TOKENS {
            tokens.forget_the_quiet();
        }
        drop(tokens);
        self.changes.send_modify(|count| *count += 1);
    }

    /// The refusals of one token, the newest first.
    pub(super) fn refusals(&self, path: &TokenPath) -> Vec<Refused> {
        let tokens = self.tokens.lock();
        let notes = tokens.notes.get(path).into_iter();
        notes.flat_map(|notes| &notes.refusals).cloned().collect()
    }

    /// Changes whenever anything was noted of any token.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Tokens {
    /// Drops the quieter half, so that this is rarely done.
    fn forget_the_quiet(&mut self) {
        let mut touched: Vec<u64> = self.notes.values().map(|notes| notes.touched).collect();
        let middle = touched.len() / 2;
        let (_, &mut median, _) = touched.select_nth_unstable(middle);
        self.notes.retain(|_, notes| notes.touched >= median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Token;

    fn refuse(recent: &Recent, path: &TokenPath, id: usize, at: u64) {
        recent.refused(path, &id.to_string(), &Refusal::Expired, None, UnixMillis(at));
    }

    #[test]
    fn a_stubborn_node_takes_one_place_and_many_nodes_a_bounded_number() {
        let (recent, path) = (Recent::new(), TokenPath::short(&Token::draw()));
        for at in 1..=5 {
            refuse(&recent, &path, 1, at);
        }
        let refusals = recent.refusals(&path);
        assert_eq!(refusals.len(), 1);
        assert_eq!((refusals[0].times, refusals[0].at), (5, UnixMillis(5)));
        for id in 2..100 {
            refuse(&recent, &path, id, 10);
        }
        let refusals = recent.refusals(&path);
        assert_eq!((refusals.len(), refusals[0].id.as_str()), (REFUSALS, "99"));
    }

    #[test]
    fn the_quiet_tokens_are_forgotten_first() {
        let recent = Recent::new();
        let paths: Vec<_> = (0..=TOKENS).map(|_| TokenPath::short(&Token::draw())).collect();
        for path in &paths {
            refuse(&recent, path, 1, 1);
        }
        assert_eq!(recent.refusals(&paths[0]).len(), 0);
        assert_eq!(recent.refusals(&paths[TOKENS]).len(), 1);
        let kept = recent.tokens.lock().notes.len();
        assert!((TOKENS / 2..=TOKENS).contains(&kept), "{kept}");
    }
}
