//! A seed decides everything.

use noctule_sim::{Options, run};

#[test]
fn a_seed_replays() {
    for seed in [1, 20, 77] {
        assert_eq!(run(seed, Options::default()), run(seed, Options::default()), "seed {seed}");
    }
}

#[test]
fn another_seed_is_another_run() {
    let fingerprint = |seed| run(seed, Options::default()).fingerprint;
    assert_ne!(fingerprint(1), fingerprint(2));
}
