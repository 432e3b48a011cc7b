//! Clocks that stand still and chance that is none: instances that are made ready with them are alike.

use std::time::Duration;

use wasmtime_wasi::random::Deterministic;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtxBuilder};

/// The moment: the first second of 2026.
const NOW: Duration = Duration::from_secs(1_767_225_600);

struct Still;

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        NOW
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

/// Puts them in. Nothing of a user's may run before others take their place.
pub(super) fn set(wasi: &mut WasiCtxBuilder) {
    let bytes = || Deterministic::new((0..=u8::MAX).collect());
    wasi.wall_clock(Still)
        .monotonic_clock(Still)
        .secure_random(bytes())
        .insecure_random(bytes())
        .insecure_random_seed(0);
}
