//! Member lists that were damaged: what is taken prints as something that is taken again.

use std::collections::BTreeSet;

use super::InitialCluster;
use crate::fuzz::Fuzz;

const ROUNDS: u64 = 50_000;
const SEEDS: [&str; 8] = [
    "n1=http://10.0.0.1:2380",
    "n1=http://10.0.0.1:2380,n2=http://10.0.0.2:2380,n3=http://10.0.0.3:2380",
    "n1=http://10.0.0.1:2380,n1=https://node-1.example:2380,n2=http://[fd00::1]:2380",
    "infra0=https://infra0.example.com:12380,infra1=https://infra1.example.com:12380",
    "a=b=http://10.0.0.1:1",
    "=http://10.0.0.1:2380,,",
    "n1=unix://localhost:2380",
    "n1=HTTP://Host:02380/",
];
const DISLIKED: &[u8] = b"=,:/[]%@?# \t\n\x000-_.~\xc3\xa9";

#[test]
fn damaged_lists_are_refused_or_survive_printing() {
    let mut fuzz = Fuzz::new("member lists", ROUNDS).with_disliked(DISLIKED);
    let seeds = SEEDS.map(|seed| seed.as_bytes().to_vec());
    let mut taken = 0_u64;
    while fuzz.goes_on() {
        let bytes = fuzz.damaged(&seeds);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Ok(list) = text.parse::<InitialCluster>() else { continue };
        taken += 1;
        let context = || format!("{}: {text:?} -> {list}", fuzz.place());
        let printed = list.to_string();
        let again: InitialCluster =
            printed.parse().unwrap_or_else(|error| panic!("{error}: {}", context()));
        assert_eq!(again, list, "{}", context());
        assert_eq!(again.to_string(), printed, "{}", context());
        assert!(list.members().all(|(_, urls)| !urls.is_empty()), "{}", context());
        // Ids follow from the URLs as they are spelled, and from nothing else.
        let ids: BTreeSet<_> = list.roster("token").members.into_keys().collect();
        for (name, urls) in list.members() {
            assert!(urls.iter().all(|url| text.contains(url.as_str())), "{}", context());
            assert!(urls.is_sorted(), "{}", context());
            assert!(ids.contains(&list.member_id(name, "token").unwrap()), "{}", context());
        }
        assert_eq!(list.cluster_id("token"), again.cluster_id("token"), "{}", context());
    }
    assert!(taken > fuzz.round() / 20, "{taken} of {}", fuzz.round());
}
