//! What components of the operator's answer the host with, by WIT.

use hypervisor_fuzz_kit::plugin::{self, Outcome, Settlement};
use hypervisor_fuzz_kit::runtime::{self, Answers, Failure, ScriptError};
use hypervisor_protocol::environment::{self, EvaluateAnswer, ExecuteAnswer};
use hypervisor_protocol::{Exit, Report};

use crate::bounded;

/// An answer is read, kept, and told to more than one.
const TIMES: usize = 16;

/// What a payment component says of a payment, held against it; the answer that asks for one.
pub(crate) fn payments(bytes: &[u8]) {
    let Ok((payment, offers, settlement, challenge)) = plugin::given(bytes) else {
        return;
    };
    assert_eq!(plugin::there_and_back(&payment), payment);
    assert_eq!(
        plugin::outcome(&payment, None),
        Outcome::Unknown(Box::new(payment.clone()))
    );
    match plugin::outcome(&payment, Some(settlement.clone())) {
        Outcome::Settled { headers, .. } => {
            let Settlement::Settled(receipt) = settlement else {
                panic!("nobody said so: {settlement:?}");
            };
            assert_eq!(
                (receipt.id, receipt.amount),
                (payment.id.clone(), payment.amount.clone())
            );
            kept(&headers);
        }
        Outcome::Failed { headers } => {
            assert!(matches!(settlement, Settlement::Failed(_)));
            kept(&headers);
        }
        // What it is settled with may be another by now, and nothing else of it.
        Outcome::Unknown(doubt) => {
            let state = payment.state.clone();
            assert_eq!(plugin::Payment { state, ..*doubt }, payment);
        }
    }
    if plugin::is_offered(&offers, &payment) {
        let mut offers = offers.iter();
        assert!(offers.any(|it| it.amount == payment.amount && it.network == payment.id.chain));
    }
    if let Settlement::Failed(failure) = plugin::given(bytes).unwrap().2 {
        let word = plugin::word(&failure.reason);
        let is_code = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        assert!(word.len() <= 80 && word.bytes().all(is_code));
    }
    let body = challenge.body.clone();
    if let Some(response) = plugin::challenged(challenge) {
        assert!(response.status().is_client_error());
        assert_eq!(response.body(), &body);
        let headers = response.headers();
        assert_eq!(headers["cache-control"], "no-store");
        // The connection is the host's.
        for own in [
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
        ] {
            assert!(!headers.contains_key(own), "{own}");
        }
        assert!(headers.len() <= 65);
    }
}

/// No more is kept than a client could be told.
fn kept(headers: &plugin::Fields) {
    let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
    assert!(headers.len() <= 64 && bytes.sum::<usize>() <= 64 << 10);
}

/// What policies, scripts and environments say: what everybody reads of it, what their operator does, and what goes into a report.
pub(crate) fn engines(bytes: &[u8]) {
    let Ok(answers) = runtime::given(bytes) else {
        return;
    };
    bounded(bytes, TIMES, || told(answers));
}

fn told(answers: Answers) {
    let reason = runtime::reason(&answers.reason);
    assert!(answers.reason.starts_with(&reason) && reason.chars().count() <= 1_000);

    let failure = Failure::from(answers.failure);
    // Callers read which error it is, and no word of it.
    let bare = match &failure {
        Failure::Rules(_) => Failure::Rules(String::new()),
        Failure::Offer(_) => Failure::Offer(String::new()),
        Failure::Unavailable(_) => Failure::Unavailable(String::new()),
        _ => Failure::Internal(None),
    };
    assert_eq!(
        (failure.to_string(), failure.class(), failure.place()),
        (bare.to_string(), bare.class(), None)
    );
    let explained = failure.explained();
    let refused = runtime::of_rules(&failure, &answers.written);
    for told in [explained, refused] {
        assert!(told.chars().count() < 20_000, "it is told at any length");
    }
    for line in answers.written.iter().flat_map(|it| runtime::lines(it)) {
        assert!(!line.is_empty() && !line.contains('\n') && line.chars().count() <= 1_001);
    }

    let error = answers.error.clone();
    let (exit, fault) = runtime::ended(answers.error);
    match (&exit, error) {
        (Exit::Ok, ScriptError::Exit(0)) => {}
        (Exit::Code { code }, ScriptError::Exit(said)) => {
            assert!(*code == u32::from(said) && *code != 0);
        }
        (Exit::Code { code: 1 }, ScriptError::InvalidSource(of) | ScriptError::Uncaught(of)) => {
            assert_eq!(fault, Some(of));
        }
        (Exit::Trap { reason }, ScriptError::InternalError(_)) => {
            assert!(reason.chars().count() <= 2_001);
        }
        (exit, error) => panic!("{error:?} became {exit:?}"),
    }
    let report = Report::new(exit, b"program", [9; 32].into());
    let written = report.encode().unwrap();
    assert_eq!(Report::decode(&written).unwrap(), report);

    let execution = ExecuteAnswer {
        value: answers.value.clone(),
        ..ExecuteAnswer::default()
    };
    let written = environment::encode(&execution).unwrap();
    assert_eq!(
        environment::decode::<ExecuteAnswer>(&written).unwrap(),
        execution
    );
    let turn = EvaluateAnswer {
        value: answers.value,
        ..EvaluateAnswer::default()
    };
    let written = environment::encode(&turn).unwrap();
    assert_eq!(
        environment::decode::<EvaluateAnswer>(&written).unwrap(),
        turn
    );
}
