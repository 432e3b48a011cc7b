//! Programs that nobody wrote. `make fuzz TARGET=differential` makes and runs more of them.

use hypervisor_tests::differential::{Bare, End, Tally, host, next};

/// `programs 0 48`.
const PROGRAMS: &[u8] = include_bytes!("../../vectors/programs/first");

#[tokio::test]
async fn programs_that_nobody_wrote_end_as_they_do_in_the_bare_engine() {
    let (host, bare, mut tally) = (host(), Bare::default(), Tally::default());
    let session = host.session().await;
    let mut programs = PROGRAMS;
    while let Some((seed, program)) = next(&mut programs).unwrap() {
        tally.compare(&bare, &session, seed, &program).await;
    }
    assert_eq!(tally.differ, []);
    // They end in many ways, or nothing much is compared.
    let agreed = |is: fn(&End) -> bool| tally.agreed.keys().any(is);
    assert!(agreed(|end| matches!(end, End::Returned(_))), "{tally:?}");
    assert!(agreed(|end| matches!(end, End::Trapped(_))), "{tally:?}");
    assert!(agreed(|end| matches!(end, End::Limit(_))), "{tally:?}");
}
