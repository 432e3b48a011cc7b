//! `hv verify --card`.

use std::io::{self, Write};
use std::process::ExitCode;

use hypervisor_client::Error;
use hypervisor_client::attest::{Assurance, Policy, Status};
use hypervisor_client::card::{Vouched, verify_card};
use hypervisor_client::protocol::HexArray;
use serde_json::json;

use super::Form;
use crate::console::{document, plain, print};
use crate::memory::Memory;
use crate::output::attested;
use crate::{Failure, VERIFICATION_FAILED};

/// Fetches a card with all that vouches for it, and says who does.
pub(super) async fn verify(
    url: &str,
    policy: &Policy,
    (form, verbose): (Form, bool),
) -> Result<ExitCode, Failure> {
    let memory = Memory::read()?;
    let policy = memory.applied_to(policy);
    let vouched = verify_card(url, &policy).await;
    if let Err(Error::Attestation(refusal)) = &vouched {
        memory.explain(&policy, refusal.verdict())?;
        if let (Form::Json, Some(verdict)) = (form, refusal.verdict()) {
            print(|out| document(out, &verdict.to_ear()))?;
            crate::console::note(format_args!("{}", plain(&refusal.to_string())))?;
            return Ok(ExitCode::from(VERIFICATION_FAILED));
        }
    }
    let vouched = vouched?;
    memory.remember(&policy, &vouched.verdict)?;
    print(|out| match form {
        Form::Text => sentences(out, url, &vouched, verbose),
        Form::Json => document(
            out,
            &json!({
                "card": url,
                "name": vouched.card.name(),
                "version": vouched.card.version(),
                "signer": vouched.signer.to_string(),
                "component": HexArray(vouched.component),
                "component_names": vouched.names,
                "evidence": vouched.verdict.to_ear(),
            }),
        ),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn sentences(out: &mut dyn Write, url: &str, vouched: &Vouched, verbose: bool) -> io::Result<()> {
    let Vouched {
        card,
        signer,
        verdict,
        component,
        names,
    } = vouched;
    let name = card.name().unwrap_or("without a name");
    let version = card.version().unwrap_or("no version");
    writeln!(
        out,
        "The card of {} ({}) at {} is signed by the key {signer}.",
        plain(name),
        plain(version),
        plain(url)
    )?;
    writeln!(
        out,
        "The component {}, SHA-384 {}, vouches for that card, that key and a nonce made here.",
        plain(&names.join(", ")),
        HexArray(*component)
    )?;
    let checks = attested::count(verdict, Status::Pass);
    let host = match verdict.assurance() {
        Assurance::Simulated => {
            "is what the policy wants, SIMULATED: this proves nothing about hardware"
        }
        _ => "is what the policy wants",
    };
    writeln!(
        out,
        "The host that it runs in {host} ({checks} checks passed)."
    )?;
    match verbose {
        true => write!(out, "{verdict}"),
        false => Ok(()),
    }
}
