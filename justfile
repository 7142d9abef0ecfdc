# Each recipe is one plain command; `just check` runs what a change must pass.

check: fmt clippy doc tidy deny test

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --all-targets --all-features -- -D warnings

doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --no-deps --document-private-items

tidy:
    cargo test --test tidy

deny:
    cargo deny check

test:
    cargo test

# Replays one seed of the simulator: `just sim 42`.
sim SEED:
    QUORATE_SIM_SEED={{SEED}} cargo test --lib sim:: -- --nocapture

# Rewrites the golden files; review the result as a diff.
golden:
    UPDATE_GOLDENFILES=1 cargo test

# Asks a real etcd and dnsmasq what the recorded answers are from; fails when they drifted.
differential:
    SUBJECT=etcd cargo test --test it differential
    SUBJECT=dnsmasq cargo test --test it dnsmasq

bench *ARGS:
    cargo bench --bench quorate -- {{ARGS}}

lab *ARGS:
    cargo run --release -- lab up {{ARGS}}

image:
    docker build -t quorate .

ci:
    .ci/run
