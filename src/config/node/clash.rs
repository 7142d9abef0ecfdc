//! Settings that are fine by themselves and contradict each other, as etcd 3.6 sees it.

use super::values::Values;
use super::{Problem, gates};

/// Gates and the flags that they had before.
pub(super) const OLDER: [(&str, &str); 6] = [
    ("StopGRPCServiceOnDefrag", "experimental-stop-grpc-service-on-defrag"),
    ("InitialCorruptCheck", "experimental-initial-corrupt-check"),
    ("CompactHashCheck", "experimental-compact-hash-check-enabled"),
    ("TxnModeWriteWithSharedBuffer", "experimental-txn-mode-write-with-shared-buffer"),
    ("LeaseCheckpoint", "experimental-enable-lease-checkpoint"),
    ("LeaseCheckpointPersist", "experimental-enable-lease-checkpoint-persist"),
];
/// Traces are counted per this many requests.
const MAX_SAMPLING_RATE: u64 = 1_000_000;

/// Checks gates against the flags they had before and against each other.
pub(super) fn features(values: &Values, problems: &mut Vec<Problem>) {
    let text = values.text("feature-gates");
    for (gate, older) in OLDER.iter().filter(|(_, older)| values.is_given(older)) {
        let (flag, said) = (values.bool(older), gates::said(&text, gate));
        if let Some(on) = said {
            problems.push(Problem::of(&["feature-gates", older], format!(
                "cannot specify both flags: --{older}={flag} and --feature-gates={gate}={on} at \
                 the same time, please just use --feature-gates={gate}={on}"
            )));
        }
    }
    let is_on = |name: &str| {
        let older = OLDER.iter().any(|(gate, older)| *gate == name && values.bool(older));
        older || gates::said(&text, name).unwrap_or_else(|| gates::is_on(&text, "AllAlpha"))
    };
    if is_on("LeaseCheckpointPersist") && !is_on("LeaseCheckpoint") {
        let persist = "experimental-enable-lease-checkpoint-persist";
        problems.push(Problem::of(
            &["feature-gates", "experimental-enable-lease-checkpoint-persist"],
            if values.bool(persist) {
                format!("setting {persist} requires experimental-enable-lease-checkpoint")
            } else {
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
             LeaseCheckpoint"
                    .to_owned()
            },
        ));
    }
}

/// Checks numbers that etcd refuses when it uses them.
pub(super) fn numbers(values: &Values, problems: &mut Vec<Problem>) {
    let learners = values.int("max-learners");
    if learners < 0 {
        problems.push(Problem::of(&["max-learners"], format!(
            "membership: too many learner members in cluster; --max-learners={learners} is less \
             than none"
        )));
    }
    if values.bool("enable-distributed-tracing")
        && values.uint("distributed-tracing-sampling-rate") > MAX_SAMPLING_RATE
    {
        problems.push(Problem::of(
            &["distributed-tracing-sampling-rate"],
            "distributed tracing configurition is not valid: (tracing sampling rate must be less \
             than 1000000)",
        ));
    }
}
