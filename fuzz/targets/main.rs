//! Fuzz targets. As tests they read their seeds and a thousand inputs at random; `make fuzz` has a fuzzer look for more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a target fails by panicking"
)]

mod agents;
mod evidence;
mod logs;
mod manifests;
mod plugins;
mod programs;
mod quotes;
mod wire;

use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs what reads `input`, which may take `times` as many bytes of memory at once, and 64 KiB for its errors and the like.
///
/// Tests run beside each other and share the count: it is held while fuzzing only.
fn bounded<T>(input: &[u8], times: usize, read: impl FnOnce() -> T) -> T {
    within(input, times, 64 << 10, read)
}

/// The same for what serde reads: for a list it reserves what its length says, up to 1 MiB, and CBOR nests 16 deep.
fn bounded_by_serde<T>(input: &[u8], times: usize, read: impl FnOnce() -> T) -> T {
    within(input, times, 17 << 20, read)
}

fn within<T>(input: &[u8], times: usize, beside: usize, read: impl FnOnce() -> T) -> T {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let read = read();
    if cfg!(fuzzing) {
        let taken = MEMORY.peak_usage().saturating_sub(before);
        let allowed = input.len() * times + beside;
        assert!(
            taken <= allowed,
            "{taken} bytes of memory for {}",
            input.len()
        );
    }
    read
}

macro_rules! targets {
    ($($name:ident => $read:path,)*) => {
        $(
            #[test]
            fn $name() {
                bolero::check!().for_each(|input: &[u8]| $read(input));
            }
        )*
    };
}

targets! {
    bodies => wire::bodies,
    fields => wire::fields,
    streams => wire::streams,
    evidence_documents => evidence::documents,
    verification => evidence::verification,
    quotes => quotes::quotes,
    event_logs => logs::event_logs,
    transparency => logs::transparency,
    components => programs::components,
    images => programs::images,
    manifests => manifests::manifests,
    binary_http => agents::binary_http,
    cards => agents::cards,
    plugin_answers => plugins::payments,
    engine_answers => plugins::engines,
}
