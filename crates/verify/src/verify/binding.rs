//! Checks of the binding: that the quote is over it, and that it is about us, now.

use super::{Context, ExpectedSubject, Facts};
use crate::binding::{Backend, Binding};
use crate::evidence::{Evidence, RawQuote};
use crate::report_data::ReportData;
use crate::verdict::{CheckId, Recorder};

pub(super) fn form(evidence: &Evidence, recorder: &mut Recorder) -> Option<Binding> {
    let check = recorder
        .check(CheckId::BindingForm)
        .input("bytes", evidence.binding.len());
    match Binding::of(evidence) {
        Ok(binding) => {
            check.pass();
            Some(binding)
        }
        Err(error) => {
            check.fail(format!(
                "{error}; ask the host for evidence again, and do not rely on this one"
            ));
            None
        }
    }
}

pub(super) fn verify(
    context: &Context<'_>,
    binding: &Binding,
    facts: Option<&Facts>,
    recorder: &mut Recorder,
) {
    report_data(context, facts, recorder);
    let (found, wanted) = (
        binding.subject.purpose(),
        context.expected.subject.purpose(),
    );
    recorder
        .check(CheckId::Purpose)
        .input("found", found)
        .input("expected", wanted)
        .require(found == wanted, || {
            format!("the quote was made for the purpose {found}; ask for evidence for {wanted}")
        });
    backend(context, binding, recorder);
    nonce(context, binding, recorder);
    age(context, recorder);
    session(context, binding, recorder);
    identity(context, binding, recorder);
    tls(context, binding, recorder);
}

fn report_data(context: &Context<'_>, facts: Option<&Facts>, recorder: &mut Recorder) {
    let Some(facts) = facts else {
        recorder.blocked(CheckId::QuoteForm, &[CheckId::ReportData]);
        return;
    };
    // Over the bytes that came, so that one binding has one encoding.
    let recomputed = ReportData::of_encoded(&context.evidence.binding);
    let check = recorder
        .check(CheckId::ReportData)
        .input("quoted", facts.report_data);
    match recomputed {
        Ok(recomputed) => {
            check
                .input("recomputed", recomputed)
                .require(recomputed == facts.report_data, || {
                    "the quote is not over this binding: one of them was exchanged; ask the host for evidence again and do not use its keys".to_owned()
                });
        }
        Err(error) => check.fail(format!("{error}; ask the host for evidence again")),
    }
}

fn backend(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let fits = match &context.evidence.quote {
        RawQuote::Tdx(_) => matches!(binding.backend, Backend::Tdx | Backend::Simulated),
        RawQuote::SevSnp { .. } => binding.backend == Backend::SevSnp,
    };
    recorder
        .check(CheckId::Backend)
        .input("backend", binding.backend)
        .require(fits, || {
            format!(
                "the quote is not of the kind that {} makes; do not rely on this host",
                binding.backend
            )
        });
}

fn is_result(context: &Context<'_>) -> bool {
    matches!(context.expected.subject, ExpectedSubject::Result { .. })
}

fn nonce(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let mut check = recorder.check(CheckId::Nonce);
    if let Some(found) = &binding.nonce {
        check = check.input("found", found);
    }
    match (&context.expected.challenge, &binding.nonce) {
        (Some(challenge), found) => {
            let check = check.input("expected", &challenge.nonce);
            match found {
                Some(found) if *found == challenge.nonce => check.pass(),
                Some(_) => check.fail(
                    "the evidence answers another nonce, so it may be old; ask again with a new nonce",
                ),
                None => check.fail(
                    "the evidence holds no nonce, so it may be old; ask again and send a nonce",
                ),
            }
        }
        (None, _) if is_result(context) => {
            check.not_applicable("a result's commitment is fresh by itself");
        }
        (None, _) if !context.policy.rules.freshness.nonce_required => {
            check.skip("`freshness.nonce_required` is false: the evidence may be of any age");
        }
        (None, _) => check.fail(
            "the policy wants a nonce and the verifier has none; make 32 random bytes and ask again with them",
        ),
    }
}

fn age(context: &Context<'_>, recorder: &mut Recorder) {
    let freshness = &context.policy.rules.freshness;
    let check = recorder
        .check(CheckId::Age)
        .input("maximum_seconds", freshness.max_age.as_secs());
    match &context.expected.challenge {
        Some(challenge) => {
            let check = check
                .input("nonce_made_at", challenge.made_at)
                .input("now", context.now);
            match context.now.checked_sub(challenge.made_at) {
                Some(age) if age <= freshness.max_age.as_secs() => check.pass(),
                Some(age) => check.fail(format!(
                    "the nonce is {age} seconds old; ask again with a new nonce, or raise `freshness.max_age`"
                )),
                None => check.fail(
                    "the nonce was made in the future; check the verifier's clock and ask again",
                ),
            }
        }
        None if is_result(context) => {
            check.not_applicable("a result's commitment is fresh by itself");
        }
        None if !freshness.nonce_required => {
            check.skip("`freshness.nonce_required` is false: without a nonce there is no age");
        }
        None => check.fail("without a nonce there is no age; ask again with one"),
    }
}

fn session(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    const IDS: [CheckId; 3] = [CheckId::SessionKey, CheckId::SessionId, CheckId::ClientKey];
    let expected = match &context.expected.subject {
        ExpectedSubject::Session {
            session_public_key,
            session_id,
            client_public_key,
        } => Some((session_public_key, session_id, client_public_key)),
        ExpectedSubject::Peer(peer) => {
            Some((&peer.own_public_key, &peer.exchange, &peer.other_public_key))
        }
        ExpectedSubject::Result { .. } | ExpectedSubject::Identity => None,
    };
    let Some((session_public_key, session_id, client_public_key)) = expected else {
        recorder.not_applicable(&IDS, "the evidence is not about a session");
        return;
    };
    let is_for_it = binding.subject.purpose() == context.expected.subject.purpose();
    let Some((found_key, found_id, found_client)) = binding.subject.ends().filter(|_| is_for_it)
    else {
        recorder.blocked(CheckId::Purpose, &IDS);
        return;
    };
    recorder
        .check(CheckId::SessionKey)
        .input("attested", found_key)
        .input("in_use", session_public_key)
        .require(found_key == session_public_key, || {
            "the key that was offered is not the attested one, so someone stands between; do not send anything under it".to_owned()
        });
    recorder
        .check(CheckId::SessionId)
        .input("attested", found_id)
        .input("in_use", session_id)
        .require(found_id == session_id, || {
            "the evidence is of another session; open a new one and verify its own evidence"
                .to_owned()
        });
    recorder
        .check(CheckId::ClientKey)
        .input("attested", found_client)
        .input("own", client_public_key)
        .require(found_client == client_public_key, || {
            "the session was made for another client's key; open one with your own".to_owned()
        });
}

fn identity(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let found = &binding.identity_public_key;
    let check = recorder
        .check(CheckId::IdentityKey)
        .input("attested", found);
    match &context.expected.identity_public_key {
        Some(known) => {
            check.input("known", known).require(found == known, || {
                "this is another host, or the host has restarted; verify its identity again before relying on it".to_owned()
            });
        }
        None => check.not_applicable("no identity key is known yet; this evidence tells it"),
    }
}

fn tls(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let mut check = recorder.check(CheckId::TlsKey);
    if let Some(key) = binding.tls_key {
        check = check.hex("attested", key);
    }
    let Some(connection) = context.expected.connection else {
        return check.not_applicable("the evidence was not fetched over TLS");
    };
    let check = check.hex("in_use", connection.key);
    match binding.tls_key {
        Some(key) if key == connection.key => check.pass(),
        Some(_) => check.fail(
            "TLS of this connection does not end in the host: its key is another than the one that the evidence names; connect to the host itself, or do without its [tls]",
        ),
        None if connection.trusted => check.not_applicable(
            "the evidence names no key: TLS ends with whoever has the certificate, before the host",
        ),
        None => check.fail(
            "nobody that this machine knows vouches for the certificate, and the evidence does not name its key; connect by another way, or let the host end TLS itself ([tls])",
        ),
    }
}
