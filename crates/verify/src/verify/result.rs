//! Checks of results and statements.

use hypervisor_protocol::ContentFormat;

use super::{Context, ExpectedSubject};
use crate::binding::{Binding, Subject};
use crate::merkle::InclusionProof;
use crate::statement::Statement;
use crate::verdict::{CheckId, Recorder};

pub(super) fn verify(
    context: &Context<'_>,
    binding: &Binding,
    recorder: &mut Recorder,
) -> Option<Statement> {
    result(context, binding, recorder);
    let check = recorder.check(CheckId::Statement);
    let Some(bytes) = &context.evidence.statement else {
        check.not_applicable("the evidence holds no statement");
        return None;
    };
    match Statement::verify(bytes, &binding.identity_public_key) {
        Ok(statement) => {
            check.hex("component", statement.component).pass();
            Some(statement)
        }
        Err(error) => {
            check.fail(format!("{error}; ask the component for a new one"));
            None
        }
    }
}

fn result(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let ExpectedSubject::Result { commitment } = &context.expected.subject else {
        recorder.not_applicable(&[CheckId::Result], "the evidence is not about a result");
        return;
    };
    let Subject::ResultBatch { results } = &binding.subject else {
        recorder.blocked(CheckId::Purpose, &[CheckId::Result]);
        return;
    };
    let check = recorder
        .check(CheckId::Result)
        .input("commitment", commitment)
        .hex("root", results.root)
        .input("count", results.count);
    let Some(bytes) = &context.evidence.inclusion else {
        check.fail("the evidence has no proof that the result is in the batch; ask the host for evidence of this result");
        return;
    };
    let root = InclusionProof::decode(ContentFormat::Cbor, bytes)
        .and_then(|proof| proof.root_of(commitment));
    match root {
        Ok(root) => {
            check.require(root == *results, || {
                "the result is not in the batch that the quote is over: it is of another session or was altered; discard it".to_owned()
            });
        }
        Err(error) => check.fail(format!("{error}; discard the result")),
    }
}
