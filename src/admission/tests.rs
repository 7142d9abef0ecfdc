use std::sync::Arc;

use super::*;
use crate::membership::{InitialCluster, MemberId};
use crate::token::TokenPath;
use crate::v2::ErrorCode;

const NOW: UnixMillis = UnixMillis(1_000_000);
const SURPLUS: usize = 64;

fn path() -> TokenPath {
    TokenPath::short(&"6c007a14875d53d9bf0ef5a6fc0257c8".parse().unwrap())
}

fn door() -> Door {
    Door { public_url: "http://127.0.0.1:8087".into(), ..Door::default() }
}

/// The id a node computes that was given this spelling of the URL.
fn id_with(value: &str, url: &str) -> String {
    let member: InitialCluster = value.parse().unwrap();
    let (name, _) = member.members().next().unwrap();
    member.member_id(name, url).unwrap().to_string()
}

fn id_of(value: &str) -> String {
    id_with(value, &path().discovery_url(&door().public_url))
}

fn application(value: &str) -> Application {
    Application::check(&id_of(value), value, &path(), &door()).unwrap()
}

/// A token of three with these founders and late comers.
fn founding(founders: &[&str], surplus: &[&str]) -> Founding {
    let mut index = 4;
    let mut register = |value: &&str| {
        index += 1;
        let Application { key, value, .. } = application(value);
        Arc::new(Registered { key, value, index, at: NOW, from: None })
    };
    let founders: Vec<_> = founders.iter().map(&mut register).collect();
    let surplus: Vec<_> = surplus.iter().map(&mut register).collect();
    Founding {
        path: path(),
        size: ClusterSize::DEFAULT,
        label: None,
        created_index: 4,
        index,
        created_at: NOW,
        expires_at: UnixMillis(2_000_000),
        revoked_at: None,
        noted: 0,
        expiry_recorded: false,
        client_port: None,
        first_entry: 1,
        founders,
        surplus,
    }
}

const ONE: &str = "n1=http://127.0.0.1:3001";
const TWO: &str = "n2=http://127.0.0.1:3002";
const THREE: &str = "n3=http://127.0.0.1:3003";
const FOUR: &str = "n4=http://127.0.0.1:3004";

fn refused(founding: &Founding, value: &str) -> Refusal {
    decide(founding, &application(value), SURPLUS, NOW).unwrap_err()
}

#[test]
fn the_first_three_found_and_the_third_seals() {
    let found = |seals| Ok(Decision::Found { seals });
    assert_eq!(decide(&founding(&[], &[]), &application(ONE), SURPLUS, NOW), found(false));
    assert_eq!(decide(&founding(&[ONE], &[]), &application(TWO), SURPLUS, NOW), found(false));
    assert_eq!(decide(&founding(&[ONE, TWO], &[]), &application(THREE), SURPLUS, NOW), found(true));
}

#[test]
fn an_identical_repeat_resumes_while_the_token_is_open() {
    let founding = founding(&[ONE, TWO], &[]);
    let decision = decide(&founding, &application(TWO), SURPLUS, NOW).unwrap();
    assert_eq!(decision, Decision::Resume(Arc::clone(&founding.founders[1])));
}

#[test]
fn another_name_under_the_same_id_is_refused() {
    let refusal = refused(&founding(&[ONE], &[]), "other=http://127.0.0.1:3001");
    assert_eq!((refusal.code(), refusal.v2()), ("Q1032", ErrorCode::PeerAddressExists));
    assert!(refusal.to_string().contains(ONE), "{refusal}");
}

#[test]
fn a_founder_that_returns_after_the_token_is_full_learns_how_to_be_replaced() {
    let refusal = refused(&founding(&[ONE, TWO, THREE], &[]), TWO);
    assert_eq!((refusal.code(), refusal.v2()), ("Q1033", ErrorCode::PeerAddressExists));
    let text = refusal.to_string();
    assert!(text.contains(&format!("member remove {}", id_of(TWO))), "{text}");
    assert!(text.contains("member add n2 --peer-urls=http://127.0.0.1:3002"), "{text}");
}

#[test]
fn names_and_urls_of_founders_are_their_own() {
    let founding = founding(&[ONE, TWO], &[]);
    let cases = [
        ("n1=http://127.0.0.1:3009", "Q1030", "`n1`"),
        (
            "n3=http://127.0.0.1:3002,n3=http://127.0.0.1:3009",
            "Q1031",
            "`http://127.0.0.1:3002` is held by member",
        ),
    ];
    for (value, code, text) in cases {
        let refusal = refused(&founding, value);
        assert_eq!((refusal.code(), refusal.v2()), (code, ErrorCode::PeerAddressExists));
        assert!(refusal.to_string().contains(text), "{refusal}");
    }
}

#[test]
fn late_comers_are_recorded_up_to_a_bound() {
    let full = founding(&[ONE, TWO, THREE], &[]);
    assert_eq!(decide(&full, &application(FOUR), SURPLUS, NOW), Ok(Decision::RecordSurplus));
    // The name of a founder is no reason: "full" is what makes etcd fall back to a proxy.
    let same_name = application("n1=http://127.0.0.1:3009");
    assert_eq!(decide(&full, &same_name, SURPLUS, NOW), Ok(Decision::RecordSurplus));

    let late = founding(&[ONE, TWO, THREE], &[FOUR]);
    let again = decide(&late, &application(FOUR), SURPLUS, NOW).unwrap();
    assert_eq!(again, Decision::Resume(Arc::clone(&late.surplus[0])));
    assert_eq!(refused(&late, "other=http://127.0.0.1:3004").code(), "Q1032");

    let values: Vec<String> =
        (0..SURPLUS).map(|n| format!("s{n}=http://127.0.0.1:{}", 4000 + n)).collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    assert_eq!(refused(&founding(&[ONE, TWO, THREE], &values), FOUR).code(), "Q1034");
}

#[test]
fn an_expired_token_is_not_found() {
    let founding = founding(&[ONE], &[]);
    let refusal = decide(&founding, &application(TWO), SURPLUS, UnixMillis(2_000_000)).unwrap_err();
    assert_eq!((refusal.code(), refusal.v2()), ("Q1002", ErrorCode::InvalidField));
    assert_eq!(founding.state(UnixMillis(1_999_999)), State::Open);
}

#[test]
fn values_that_would_hurt_the_others_are_refused() {
    let long_name = format!("{}=http://127.0.0.1:3001", "n".repeat(129));
    let many: Vec<String> = (0..=16).map(|n| format!("n=http://h:{}", 3000 + n)).collect();
    let many = many.join(",");
    let long = format!("n1=http://{}:1", "h".repeat(2048));
    let cases = [
        (long.as_str(), "Q1010"),
        ("garbage", "Q1011"),
        ("n2=", "Q1011"),
        ("n1=http://127.0.0.1:3001/", "Q1011"),
        ("n1=http://127.0.0.1", "Q1011"),
        ("n1=ftp://127.0.0.1:3001", "Q1011"),
        ("", "Q1012"),
        (",", "Q1012"),
        ("n1=http://127.0.0.1:3001,n2=http://127.0.0.1:3002", "Q1012"),
        ("=http://127.0.0.1:3001", "Q1013"),
        ("a\nb=http://127.0.0.1:3001", "Q1013"),
        (&long_name, "Q1013"),
        (&many, "Q1014"),
        ("n1=http://h:1,n1=http://h:1", "Q1015"),
        ("n1=http://0.0.0.0:2380", "Q1016"),
        ("n1=http://[::]:2380", "Q1016"),
        ("n1=http://[::ffff:0.0.0.0]:2380", "Q1016"),
        ("n1=http://169.254.3.4:2380", "Q1016"),
        ("n1=http://[fe80::1]:2380", "Q1016"),
        ("n1=http://224.0.0.1:2380", "Q1016"),
        ("n1=http://255.255.255.255:2380", "Q1016"),
        ("n1=http://10.0.0.1:0", "Q1016"),
    ];
    for (value, code) in cases {
        let refusal = Application::check("1", value, &path(), &door()).unwrap_err();
        assert_eq!(refusal.code(), code, "{value}: {refusal}");
        assert_eq!(refusal.v2(), ErrorCode::InvalidField);
        assert!(refusal.to_string().len() < 1500, "{refusal}");
    }
}

#[test]
fn a_name_with_a_comma_is_shown_in_two() {
    let refused = |value| Application::check("1", value, &path(), &door()).unwrap_err().to_string();
    assert_eq!(
        refused("infra,0=http://10.0.0.1:2380"),
        "the value `infra,0=http://10.0.0.1:2380` is no member list `name=url`: `infra` has no URL; \
         check --name, which must have no `,`, and --initial-advertise-peer-urls"
    );
    assert!(refused("n1= ").contains("`n1= ` has no URL"));
    // The first mistake counts.
    let refused = refused("n1=ftp://h:1,n2");
    assert!(refused.contains("unixs: ftp://h:1; check --name"), "{refused}");
}

#[test]
fn honest_values_are_taken() {
    for value in [
        "n1=http://127.0.0.1:3001,n1=http://127.0.0.1:3009",
        "n1=https://infra0.example.test:2380",
        "n1=http://[::1]:2380",
        "n 1é&=http://10.0.0.1:2380",
    ] {
        let taken = Application::check(&id_of(value), value, &path(), &door());
        assert_eq!(taken.unwrap().value, value);
    }
}

#[test]
fn keys_have_the_printed_form_of_an_id() {
    let canonical = id_of(ONE);
    for key in
        ["", "xyz", "0", "+1", "_config", &canonical.to_uppercase(), &format!("0{canonical}")]
    {
        let refusal = Application::check(key, ONE, &path(), &door()).unwrap_err();
        assert_eq!(refusal.code(), "Q1020", "{key}");
    }
}

/// Both nodes would find all their peers and then run two clusters.
#[test]
fn another_spelling_of_the_discovery_url_is_named() {
    let token = path();
    let token = token.as_str();
    let door =
        Door { host: Some("discovery.lan:8087".into()), query: Some("team=a".into()), ..door() };
    for used in [
        format!("http://localhost:8087{token}"),
        format!("http://[::1]:8087{token}"),
        format!("http://127.0.0.1:8087{token}/"),
        format!("http://127.0.0.1:8087/{token}"),
        format!("https://127.0.0.1:8087{token}"),
        format!("http://discovery.lan:8087{token}"),
        format!("http://discovery.lan:8087{token}/"),
        format!("http://127.0.0.1:8087{token}?team=a"),
    ] {
        let key = id_with(ONE, &used);
        let refusal = Application::check(&key, ONE, &path(), &door).unwrap_err();
        assert_eq!(refusal.code(), "Q1021", "{used}");
        let text = refusal.to_string();
        assert!(text.contains(&used), "{text}");
        assert!(text.contains(&format!("--discovery http://127.0.0.1:8087{token}")), "{text}");
        assert!(text.contains(&key) && text.contains(&id_of(ONE)), "{text}");
    }
    let key = id_with(ONE, "http://somewhere.else/T");
    let refusal = Application::check(&key, ONE, &path(), &door).unwrap_err();
    assert_eq!(refusal.code(), "Q1022");
    assert!(refusal.to_string().contains(&id_of(ONE)), "{refusal}");
}

#[test]
fn a_token_belongs_to_the_protocol_of_its_first_registration() {
    let token = path().token().unwrap().to_owned();
    let v3 = Door { protocol: Protocol::V3, ..door() };
    let by_v3 =
        |value: &str| Application::check(&id_with(value, &token), value, &path(), &v3).unwrap();
    let of_v2 = founding(&[ONE], &[]);
    assert_eq!(of_v2.protocol(), Some(Protocol::V2));
    let mut of_v3 = founding(&[], &[]);
    assert_eq!(of_v3.protocol(), None);
    let Application { key, value, .. } = by_v3(ONE);
    of_v3.founders.push(Arc::new(Registered { key, value, index: 5, at: NOW, from: None }));
    assert_eq!(of_v3.protocol(), Some(Protocol::V3));
    assert_eq!(decide(&of_v3, &by_v3(TWO), SURPLUS, NOW), Ok(Decision::Found { seals: false }));

    let url = format!("`--discovery http://127.0.0.1:8087/{token}`");
    let bare = format!("`--discovery-token {token}`");
    let refusals = [
        (refused(&of_v3, TWO), format!("started with {bare}, this node with {url}")),
        (
            decide(&of_v2, &by_v3(TWO), SURPLUS, NOW).unwrap_err(),
            format!("started with {url}, this node with {bare}"),
        ),
    ];
    for (refusal, text) in refusals {
        assert_eq!(refusal.code(), "Q1023");
        assert!(refusal.to_string().contains(&text), "{refusal}");
    }
}

#[test]
fn a_v3_id_follows_from_the_bare_token() {
    let token = path().token().unwrap().to_owned();
    let v3 = Door { protocol: Protocol::V3, ..door() };
    let check = |salt: &str| Application::check(&id_with(ONE, salt), ONE, &path(), &v3);
    assert_eq!(check(&token).unwrap().key.to_string(), id_with(ONE, &token));
    for used in [format!("{token}/"), format!("/{token}"), path().discovery_url(&door().public_url)]
    {
        let refusal = check(&used).unwrap_err();
        assert_eq!(refusal.code(), "Q1021", "{used}");
        let text = refusal.to_string();
        assert!(text.contains(&format!("follows from {used}:")), "{text}");
        assert!(text.contains(&format!("--discovery-token {token}")), "{text}");
    }
    assert_eq!(check("another").unwrap_err().code(), "Q1022");
}

#[test]
fn a_default_port_is_another_spelling() {
    let door = Door { public_url: "http://discovery.example".into(), ..Door::default() };
    let key = id_with(ONE, &path().discovery_url("http://discovery.example:80"));
    let refusal = Application::check(&key, ONE, &path(), &door).unwrap_err();
    assert_eq!(refusal.code(), "Q1021");
}

#[test]
fn events_are_the_first_registrations_of_founders() {
    let founding = founding(&[ONE, TWO, THREE], &[FOUR]);
    let event = |index| founding.event_since(index).map(|held| held.index);
    assert_eq!([event(0), event(5), event(6), event(7)], [Some(5), Some(5), Some(6), Some(7)]);
    assert_eq!(event(8), None, "a late comer is no event");
}

#[test]
fn the_static_list_is_complete_or_absent() {
    assert_eq!(founding(&[ONE, TWO], &[]).initial_cluster(), None);
    let whole = founding(&[THREE, ONE, TWO], &[FOUR]).initial_cluster().unwrap();
    assert_eq!(whole.to_string(), [ONE, TWO, THREE].join(","));
    let ids: Vec<MemberId> = whole.roster("t").members.into_keys().collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn sizes_labels_and_life_spans_are_read_or_refused_with_a_sentence() {
    for (text, size) in [("1", 1), ("3", 3), ("03", 3), ("9", 9)] {
        assert_eq!(ClusterSize::parse(text, 9).unwrap().get(), size);
    }
    for text in ["0", "-1", "10", "18446744073709551616", "-", "", "abc", "3.0", "0x3", " 3", "+3"]
    {
        let error = ClusterSize::parse(text, 9).unwrap_err().to_string();
        assert!(error.contains(&format!("`{text}`")) && error.contains("1 to 9"), "{error}");
    }
    for text in ["prod", "a", "a-1", "0db"] {
        assert_eq!(text.parse::<Label>().unwrap().as_str(), text);
    }
    for text in ["", "-a", "a-", "A", "a.b", "a_b", "0123456789ab", "ns", &"a".repeat(64)] {
        assert!(text.parse::<Label>().is_err(), "{text}");
    }
    for (text, seconds) in [("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
        assert_eq!(text.parse::<Ttl>().unwrap().get().as_secs(), seconds);
    }
    assert_eq!("1h30m".parse::<Ttl>().unwrap().get().as_secs(), 5400);
    for text in ["", "0s", "5", "h", "1x", "-1s", "99999999999999999999d", "4000d", "1h 2m"] {
        assert!(text.parse::<Ttl>().is_err(), "{text}");
    }
}
