use std::panic;

use super::{Sabotage, run};

/// Seeds of an ordinary test run: some thirty seconds of one core.
const SEEDS: u64 = 2000;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}=`{text}` is no number")))
}

/// Runs a seed, taking a panic for what it is: a violated invariant.
fn outcome(
    seed: u64,
    sabotage: Sabotage,
    story: &mut Vec<String>,
) -> Result<super::Summary, String> {
    panic::catch_unwind(panic::AssertUnwindSafe(|| run(seed, sabotage, story)))
        .unwrap_or_else(|_| Err("panicked, see above".to_owned()))
}

#[test]
fn clusters_keep_their_promises() {
    if let Some(seed) = variable("QUORATE_SIM_SEED") {
        let mut story = Vec::new();
        let outcome = outcome(seed, Sabotage::None, &mut story);
        for line in story {
            println!("{line}");
        }
        println!("{outcome:?}");
        assert!(outcome.is_ok(), "seed {seed} fails");
        return;
    }
    let (first, seeds) = match variable("QUORATE_SIM_SEEDS") {
        Some(seeds) => (u64::from(std::process::id()) << 32, seeds),
        None => (0, SEEDS),
    };
    let (mut answered, mut operations) = (0, 0);
    let mut counted = [0; 9];
    for seed in first..first + seeds {
        match outcome(seed, Sabotage::None, &mut Vec::new()) {
            Ok(summary) => {
                answered += summary.answered;
                operations += summary.operations;
                let more = [
                    summary.installed_snapshots,
                    summary.given_up,
                    summary.denied,
                    summary.compacted,
                    summary.renewed,
                    summary.checkpointed,
                    summary.expired,
                    summary.watched,
                    summary.missed,
                ];
                counted.iter_mut().zip(more).for_each(|(sum, one)| *sum += one);
            }
            Err(error) => panic!(
                "{error}\nreplay with: QUORATE_SIM_SEED={seed} cargo test --lib sim:: -- --nocapture"
            ),
        }
    }
    let named = [
        "snapshots",
        "given up",
        "denied",
        "compactions",
        "renewals",
        "checkpoints",
        "expired",
        "watched",
        "missed",
    ];
    let named: Vec<_> = named.iter().zip(counted).collect();
    println!("{seeds} seeds, {operations} operations, {answered} answered, {named:?}");
    // A simulation in which nothing happens proves nothing.
    assert!(answered * 2 > operations, "{answered} of {operations} operations were answered");
    assert!(named.iter().all(|(_, count)| *count > 0), "{named:?}");
}

#[test]
fn one_seed_is_one_run() {
    for seed in 0..3 {
        let runs = [0, 1].map(|_| {
            let mut story = Vec::new();
            (run(seed, Sabotage::None, &mut story), story)
        });
        assert_eq!(runs[0], runs[1]);
    }
}

/// The first complaint about a broken rule within some seeds.
fn complaint(sabotage: Sabotage, seeds: u64) -> String {
    let fails = |seed| outcome(seed, sabotage, &mut Vec::new()).err();
    let (seed, complaint) = (0..seeds)
        .find_map(|seed| Some((seed, fails(seed)?)))
        .unwrap_or_else(|| panic!("{sabotage:?} went unnoticed"));
    println!("{sabotage:?} at seed {seed}: {complaint}");
    complaint
}

#[test]
fn reads_without_a_read_index_are_noticed() {
    let complaint = complaint(Sabotage::ReadLocally, 50);
    assert!(complaint.starts_with("linearizability"), "{complaint}");
}

#[test]
fn a_leader_that_does_not_ask_is_noticed() {
    let complaint = complaint(Sabotage::LeadBlindly, 200);
    assert!(complaint.starts_with("read indexes"), "{complaint}");
}

#[test]
fn acknowledging_before_the_disk_is_noticed() {
    complaint(Sabotage::AcknowledgeEarly, 200);
}

#[test]
fn leases_by_the_clock_of_an_old_leader_are_noticed() {
    let complaint = complaint(Sabotage::TrustClocks, 2000);
    assert!(complaint.starts_with("leases"), "{complaint}");
}

#[test]
fn requests_that_outlive_their_clients_are_noticed() {
    let complaint = complaint(Sabotage::NeverForget, 50);
    assert!(complaint.starts_with("patience"), "{complaint}");
}

#[test]
fn forgotten_votes_are_noticed() {
    complaint(Sabotage::ForgetVotes, 200);
}
