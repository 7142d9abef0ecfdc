use super::*;

/// etcd 3.5.30 and 3.6.14 refuse these; some only 3.6 knows.
#[test]
fn what_etcd_refuses_is_refused() {
    let persist = "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint";
    let pair = "KeyFile and CertFile must both be present[key: , cert: /c]";
    let sink = "open sink \"\": open : no such file or directory; --log-outputs takes stderr, \
        stdout, default and names of files";
    let multi = "multi logoutput for \"default\" is not supported yet; `default` is stderr";
    for (line, text) in [
        (
            "--experimental-enable-lease-checkpoint-persist",
            "setting experimental-enable-lease-checkpoint-persist requires experimental-enable-lease-checkpoint",
        ),
        ("--feature-gates=LeaseCheckpointPersist=true", persist),
        ("--feature-gates=AllAlpha=true,LeaseCheckpoint=false", persist),
        (
            "--feature-gates=CompactHashCheck=true --experimental-compact-hash-check-enabled=false",
            "cannot specify both flags: --experimental-compact-hash-check-enabled=false and \
             --feature-gates=CompactHashCheck=true at the same time, please just use \
             --feature-gates=CompactHashCheck=true",
        ),
        (
            "--compact-hash-check-time=5m --experimental-compact-hash-check-time=5m",
            "cannot set --experimental-compact-hash-check-time and --compact-hash-check-time at the \
             same time, please use --compact-hash-check-time only",
        ),
        (
            "--experimental-corrupt-check-time=5m --corrupt-check-time=5m",
            "cannot set --experimental-corrupt-check-time and --corrupt-check-time at the same time, \
             please use --corrupt-check-time only",
        ),
        (
            "--experimental-compact-hash-check-time=0s",
            "--experimental-compact-hash-check-time must be >0 (set to 0s); without \
             --feature-gates=CompactHashCheck=true nothing is compared",
        ),
        (
            "--compact-hash-check-time=-1s",
            "--compact-hash-check-time must be >0 (set to -1s); without \
             --feature-gates=CompactHashCheck=true nothing is compared",
        ),
        (
            "--max-learners=-1",
            "membership: too many learner members in cluster; --max-learners=-1 is less than none",
        ),
        (
            "--enable-distributed-tracing --distributed-tracing-sampling-rate=1000001",
            "distributed tracing configurition is not valid: (tracing sampling rate must be less than 1000000)",
        ),
        (
            "--max-concurrent-streams=4294967296",
            "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: \
             parsing \"4294967296\": value out of range",
        ),
        ("--log-outputs=", sink),
        ("--log-outputs=stderr,", sink),
        ("--log-outputs=default,stderr", multi),
        ("--peer-cert-file=/c", pair),
        ("--config-file=/nope1 --config-file=/nope2", "open /nope2: no such file or directory"),
    ] {
        assert_eq!(problems(line, &[]), [text], "{line}");
    }
}

#[test]
fn what_goes_together_is_taken() {
    for line in [
        "--feature-gates=LeaseCheckpointPersist=true,LeaseCheckpoint=true",
        "--experimental-enable-lease-checkpoint-persist --experimental-enable-lease-checkpoint",
        "--feature-gates=AllAlpha=true",
        "--distributed-tracing-sampling-rate=1000001",
        "--max-concurrent-streams=4294967295",
        "--log-outputs=default,default",
        "--log-outputs=stderr,stdout",
        "--max-learners=0",
    ] {
        settings(line, &[]);
    }
}

/// Left to the bootstrap, because a member with data does not need the list.
#[test]
fn an_empty_list_of_founders_has_nobody_in_it() {
    assert_eq!(static_ids(&settings("--initial-cluster=", &[])), [""; 0]);
    assert_eq!(static_ids(&settings("", &[("ETCD_INITIAL_CLUSTER", "")])).len(), 1);
}
