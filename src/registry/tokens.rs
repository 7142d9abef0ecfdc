use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::packed::Packed;
use crate::admission::{Founding, Registered};
use crate::token::TokenPath;

/// How many tokens that changed last are held as nodes ask for them: at most twice as many.
const RECENT: usize = 512;

/// All tokens, and the ways to find one.
///
/// Most of them rest, so they are packed. Those that changed last are held unpacked as well: they are
/// the ones that nodes wait for and that change next.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_age: BTreeMap<u64, Packed>,
    /// The bits of the public id, and when the token was made. Different paths may have the same.
    by_id: BTreeSet<(u64, u64)>,
    /// The same of tokens made by hand, under the public id of what their paths end in.
    by_end: BTreeSet<(u64, u64)>,
    recent: Recent,
}

/// Two generations of tokens; when the young one has [`RECENT`] it becomes the old one.
#[derive(Debug, Default)]
struct Recent {
    young: HashMap<TokenPath, Arc<Founding>>,
    old: HashMap<TokenPath, Arc<Founding>>,
}

impl Tokens {
    pub(super) fn get(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.recent.get(path).or_else(|| self.at(path).map(Arc::new))
    }

    /// The token with this public id; of two with the same, the one that came last.
    pub(super) fn by_id(&self, bits: u64) -> Option<Arc<Founding>> {
        let (_, created) = self.by_id.range((bits, 0)..=(bits, u64::MAX)).next_back()?;
        let founding = self.by_age.get(created)?.unpack(*created);
        Some(Arc::new(founding))
    }

    /// The tokens made by hand whose paths end in one with this public id, the last one first.
    pub(super) fn by_end(&self, bits: u64) -> impl Iterator<Item = Founding> {
        let same = self.by_end.range((bits, 0)..=(bits, u64::MAX)).rev();
        same.filter_map(|(_, created)| Some(self.by_age.get(created)?.unpack(*created)))
    }

    /// Shows a token as it is now.
    pub(super) fn put(&mut self, founding: Arc<Founding>) {
        self.store(&founding);
        self.recent.put(founding);
    }

    /// Takes in a token that is not new; `false` if there was one with its path.
    pub(super) fn store(&mut self, founding: &Founding) -> bool {
        let created = founding.created_index;
        let known = self.by_age.insert(created, Packed::of(founding)).is_some();
        if known {
            return false;
        }
        let before = self.at(&founding.path);
        if let Some(before) = &before {
            self.take(before);
        }
        self.by_id.insert((founding.path.id_bits(), created));
        if let Some(end) = end_bits(&founding.path) {
            self.by_end.insert((end, created));
        }
        before.is_none()
    }

    /// Adds a member to the token made at this index; `false` if that cannot be.
    pub(super) fn add(&mut self, created: u64, registered: &Registered, is_founder: bool) -> bool {
        self.by_age.get_mut(&created).is_some_and(|token| token.add(registered, is_founder))
    }

    pub(super) fn remove(&mut self, path: &TokenPath) -> Option<Arc<Founding>> {
        let founding = self.get(path)?;
        self.recent.remove(path);
        self.take(&founding);
        Some(founding)
    }

    /// All tokens made after `after`, oldest first, with when they were made.
    pub(super) fn later(&self, after: u64) -> impl Iterator<Item = (u64, &Packed)> {
        let later = self.by_age.range((Bound::Excluded(after), Bound::Unbounded));
        later.map(|(created, token)| (*created, token))
    }

    fn at(&self, path: &TokenPath) -> Option<Founding> {
        let bits = path.id_bits();
        let same = self.by_id.range((bits, 0)..=(bits, u64::MAX));
        let mut same = same.filter_map(|(_, at)| Some(self.by_age.get(at)?.unpack(*at)));
        same.find(|founding| founding.path == *path)
    }

    fn take(&mut self, founding: &Founding) {
        self.by_age.remove(&founding.created_index);
        self.by_id.remove(&(founding.path.id_bits(), founding.created_index));
        if let Some(end) = end_bits(&founding.path) {
            self.by_end.remove(&(end, founding.created_index));
        }
    }
}

fn end_bits(path: &TokenPath) -> Option<u64> {
    path.end().map(|token| token.public_id().bits())
}

impl FromIterator<Founding> for Tokens {
    fn from_iter<I: IntoIterator<Item = Founding>>(all: I) -> Self {
        let mut tokens = Self::default();
        for founding in all {
            tokens.store(&founding);
        }
        tokens
    }
}

impl Recent {
    fn get(&self, path: &TokenPath) -> Option<Arc<Founding>> {
        self.young.get(path).or_else(|| self.old.get(path)).cloned()
    }

    fn put(&mut self, founding: Arc<Founding>) {
        if self.young.len() >= RECENT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(founding.path.clone(), founding);
    }

    fn remove(&mut self, path: &TokenPath) {
        self.young.remove(path);
        self.old.remove(path);
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::admission::{ClusterSize, State, UnixMillis};
    use crate::membership::MemberId;

    fn path(number: u64) -> TokenPath {
        TokenPath::stored(format!("/{number:032x}"))
    }

    fn member(index: u64) -> Arc<Registered> {
        let address = match index % 3 {
            0 => None,
            1 => Some("192.0.2.7".parse().unwrap()),
            _ => Some("2001:db8::7".parse().unwrap()),
        };
        Arc::new(Registered {
            key: MemberId(u64::MAX - index),
            value: format!("n{index}=http://10.0.0.{}:2380", index % 250),
            index,
            at: UnixMillis(1_700_000_000_000 + index),
            from: address,
        })
    }

    fn founding(number: u64, created_index: u64) -> Founding {
        Founding {
            path: path(number),
            size: ClusterSize::stored(3).unwrap(),
            label: None,
            created_index,
            index: created_index,
            created_at: UnixMillis(1_700_000_000_000),
            expires_at: UnixMillis(1_700_600_000_000),
            revoked_at: None,
            noted: 0,
            expiry_recorded: false,
            client_port: None,
            first_entry: 7,
            founders: Vec::new(),
            surplus: Vec::new(),
        }
    }

    /// Everything that a token says, for comparison.
    fn said(founding: &Founding) -> String {
        format!("{founding:?} {}", founding.path.as_str())
    }

    #[test]
    fn a_packed_token_says_what_it_said() {
        let plain = founding(1, 4);
        let full = Founding {
            label: Some("prod".parse().unwrap()),
            index: 9,
            revoked_at: Some(UnixMillis(1_700_000_900_000)),
            noted: 64,
            expiry_recorded: true,
            client_port: Some(12379),
            founders: vec![member(5), member(6), member(7)],
            surplus: vec![member(8), member(9)],
            ..founding(2, 4)
        };
        let odd = Founding {
            expires_at: UnixMillis(u64::MAX),
            founders: vec![member(u64::from(u32::MAX) * 5)],
            index: u64::from(u32::MAX) * 5,
            ..founding(3, 4)
        };
        for token in [plain, full, odd] {
            let packed = Packed::of(&token);
            assert_eq!(said(&packed.unpack(4)), said(&token));
            for moment in [UnixMillis(0), token.expires_at] {
                assert_eq!(packed.state(moment), token.state(moment));
            }
        }
    }

    #[test]
    fn members_can_be_added_one_by_one_until_the_token_is_full() {
        let mut tokens = Tokens::default();
        assert!(tokens.store(&founding(1, 4)));
        for index in 5..8 {
            assert!(tokens.add(4, &member(index), true));
            assert!(tokens.add(4, &member(index + 10), false));
        }
        let held = tokens.get(&path(1)).unwrap();
        assert_eq!(held.founders, [5, 6, 7].map(member));
        assert_eq!(held.surplus, [15, 16, 17].map(member));
        assert_eq!((held.index, held.state(UnixMillis(0))), (17, State::Full));
        assert!(!tokens.add(4, &member(8), true), "a fourth of three founders");
        assert!(!tokens.add(5, &member(8), true), "there is no such token");
        assert!(!tokens.store(&founding(1, 20)), "its path is taken");
    }

    #[test]
    fn tokens_by_hand_are_found_by_the_secret_they_end_in() {
        let mut tokens = Tokens::default();
        let secret = format!("{:032x}", 7);
        let bits = secret.parse::<crate::token::Token>().unwrap().public_id().bits();
        let found = |tokens: &Tokens| -> Vec<u64> {
            tokens.by_end(bits).map(|held| held.created_index).collect()
        };
        let by_hand = |prefix: &str, created| {
            let path = TokenPath::raw([prefix, secret.as_str()]).unwrap();
            Arc::new(Founding { path, ..founding(7, created) })
        };
        tokens.put(Arc::new(founding(7, 4)));
        assert!(found(&tokens).is_empty(), "nothing stands before that one");
        tokens.put(by_hand("discovery", 5));
        tokens.put(by_hand("other", 6));
        // It changes, and is made again after its first life.
        tokens.put(by_hand("other", 6));
        tokens.put(by_hand("discovery", 9));
        assert_eq!(found(&tokens), [9, 6]);
        tokens.remove(&by_hand("other", 6).path);
        assert_eq!(found(&tokens), [9]);
    }

    /// The same as a plain list of tokens, whatever rests and whatever changed lately.
    #[test]
    fn tokens_are_found_as_in_a_list() {
        let mut random = SmallRng::seed_from_u64(7);
        let mut tokens = Tokens::default();
        let mut model: HashMap<u64, Founding> = HashMap::new();
        for index in 4..8 * RECENT as u64 {
            let number = random.random_range(0..4 * RECENT as u64);
            match (random.random_range(0..8), model.get(&number).cloned()) {
                (0, held) => {
                    let removed = tokens.remove(&path(number));
                    assert_eq!(removed.as_deref().map(said), held.as_ref().map(said));
                    model.remove(&number);
                }
                // Made again after its first life.
                (1, _) | (_, None) => {
                    tokens.put(Arc::new(founding(number, index)));
                    model.insert(number, founding(number, index));
                }
                (_, Some(mut held)) => {
                    held.surplus.push(member(index));
                    held.index = index;
                    tokens.put(Arc::new(held.clone()));
                    model.insert(number, held);
                }
            }
            let asked = random.random_range(0..4 * RECENT as u64);
            let expected = model.get(&asked).map(said);
            assert_eq!(tokens.get(&path(asked)).as_deref().map(said), expected);
            assert_eq!(tokens.by_id(path(asked).id_bits()).as_deref().map(said), expected);
        }
        let mut listed: Vec<_> = model.values().collect();
        listed.sort_by_key(|held| held.created_index);
        let all = tokens.later(0).map(|(created, token)| said(&token.unpack(created)));
        assert!(all.eq(listed.into_iter().map(said)));
    }
}
