//! Checks of what the host loaded and how it is set.

use hypervisor_protocol::{ContentFormat, HexArray};
use serde::Deserialize;

use super::{Context, ExpectedSubject, Facts};
use crate::binding::Binding;
use crate::log::ComponentLog;
use crate::manifest::{self, FleetKey};
use crate::policy::Components;
use crate::verdict::{CheckId, Recorder};

pub(super) fn verify(
    context: &Context<'_>,
    binding: &Binding,
    facts: Option<&Facts>,
    recorder: &mut Recorder,
) {
    let log = log(context, binding, recorder);
    register(context, binding, facts, log.as_ref(), recorder);
    match &log {
        Some(log) => components(&context.policy.rules.components, log, recorder),
        None => recorder.blocked(CheckId::Log, &[CheckId::Components]),
    }
    manifest(context, binding, recorder);
    compiled(context, binding, recorder);
}

/// The log, if it is the one that the binding names.
fn log(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) -> Option<ComponentLog> {
    let check = recorder
        .check(CheckId::Log)
        .hex("bound_head", binding.log.head)
        .input("bound_count", binding.log.count);
    let Some(bytes) = &context.evidence.log else {
        check.fail("the evidence holds no component log; take it from the host's /attestation");
        return None;
    };
    let log = match ComponentLog::decode(ContentFormat::Cbor, bytes) {
        Ok(log) => log,
        Err(error) => {
            check.fail(format!(
                "{error}; take the log from the host's /attestation"
            ));
            return None;
        }
    };
    let head = log.head();
    let same = check
        .hex("head", head.head)
        .input("count", head.count)
        .require(head == binding.log, || {
            "the log is not the one that the quote binds: entries are missing, moved or altered, or the log is from another time; fetch both from the host again".to_owned()
        });
    same.then_some(log)
}

fn register(
    context: &Context<'_>,
    binding: &Binding,
    facts: Option<&Facts>,
    log: Option<&ComponentLog>,
    recorder: &mut Recorder,
) {
    const ID: [CheckId; 1] = [CheckId::Register];
    let required = context.policy.rules.log.register_required;
    let Some(facts) = facts else {
        recorder.blocked(CheckId::QuoteForm, &ID);
        return;
    };
    let Some(register) = facts.register else {
        let check = recorder.check(CheckId::Register);
        if required {
            check.fail("`log.register_required` is true and SEV-SNP has no such register; set it to false to accept the log by the report data alone");
        } else if binding.register_bound {
            check.fail("the binding claims a register that this hardware does not have; do not rely on this host");
        } else {
            check.not_applicable(
                "this hardware has no register for the log; the report data binds it",
            );
        }
        return;
    };
    let Some(start) = facts.register_start else {
        recorder.blocked(CheckId::Measurements, &ID);
        return;
    };
    let check = recorder
        .check(CheckId::Register)
        .hex("rtmr3", register)
        .hex("start", start)
        .input("register_bound", binding.register_bound);
    if !binding.register_bound {
        if required {
            check.fail("`log.register_required` is true and this host's kernel does not extend RTMR3; run it on Linux 6.16 or later");
        } else {
            check.require(register == start, || {
                "RTMR3 is not as the reference leaves it, and the host does not say that it extended it: something else did; do not rely on this host".to_owned()
            });
        }
        return;
    }
    let Some(log) = log else {
        check.fail("it could not be judged; put `log` right first");
        return;
    };
    if log.register_start() != Some(start) {
        check.fail("the log starts from another value of RTMR3 than the reference: something extended it before the host; do not rely on this host, or correct `tdx.reference.rtmr3`");
        return;
    }
    check.require(log.register() == Some(register), || {
        "RTMR3 is not what the log leads to: the host loaded something that the log does not show; do not rely on this host".to_owned()
    });
}

/// What the names of agents begin with, and of no plugin.
const AGENT: &str = "agent/";

fn components(rules: &Components, log: &ComponentLog, recorder: &mut Recorder) {
    let mut check = recorder.check(CheckId::Components);
    for entry in log.entries() {
        check = check.input("component", format_args!("{} {}", entry.name, entry.digest));
    }
    if rules.any {
        check.skip("`components.any` is true: every component is accepted");
        return;
    }
    let refused = log.entries().iter().find(|entry| {
        let is_agent = entry.name.starts_with(AGENT) && rules.agents;
        !is_agent
            && !rules.allowed.iter().any(|allowed| {
                allowed.digest == entry.digest
                    && allowed.name.as_ref().is_none_or(|name| *name == entry.name)
            })
    });
    match refused {
        None => check.pass(),
        Some(entry) => check.fail(format!(
            "the host loaded `{}` ({}), which the policy does not name; add it to `components.allowed` if it may run, or do not rely on this host",
            entry.name, entry.digest
        )),
    }
}

fn manifest(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let rules = &context.policy.rules.manifest;
    let bound = binding.manifest_digest;
    let check = recorder.check(CheckId::Manifest).hex("bound", bound);
    match &context.evidence.manifest {
        None if rules.any => {
            check.fail("the evidence holds no manifest and the policy names none; take it from the host's /attestation");
        }
        // The digest is what counts; the document only explains it.
        None => check.not_applicable("the evidence holds no manifest; its digest is bound"),
        Some(document) => {
            let digest = manifest::digest(document);
            match manifest::check(document) {
                Err(error) => check.fail(format!("{error}; take it from the host's /attestation")),
                Ok(()) => {
                    let said = manifest::program(document).into_iter();
                    let check = said.fold(check, |check, (name, value)| check.input(name, value));
                    check.hex("digest", digest).require(digest == bound, || {
                        "the manifest is not the one that the quote binds; fetch both from the host again".to_owned()
                    });
                }
            }
        }
    }
    // A fleet's own policy names manifests without what they say of the fleet.
    let is_peer = matches!(context.expected.subject, ExpectedSubject::Peer(_));
    let named = match (bound_manifest(context, binding), is_peer) {
        (_, false) => bound,
        (Some(document), true) => manifest::digest_alone(document).unwrap_or(bound),
        (None, true) => bound,
    };
    let check = recorder.check(CheckId::ManifestAllowed).hex("bound", bound);
    let check = if is_peer {
        check.hex("without_fleet", named)
    } else {
        check
    };
    if rules.any {
        check.skip("`manifest.any` is true: every manifest is accepted");
    } else {
        check.require(rules.allowed.iter().any(|allowed| allowed.0 == named), || {
            "the host is set up in a way that the policy does not name; read the manifest, and add its digest to `manifest.allowed` if it is right".to_owned()
        });
    }
    fleet_key(context, binding, is_peer, recorder);
}

/// The manifest, where it is the one that the quote binds.
fn bound_manifest<'a>(context: &Context<'a>, binding: &Binding) -> Option<&'a Vec<u8>> {
    let document = context.evidence.manifest.as_ref();
    document.filter(|document| manifest::digest(document) == binding.manifest_digest)
}

/// Who may have the key under which the host keeps agents, environments and payments.
fn fleet_key(context: &Context<'_>, binding: &Binding, is_peer: bool, recorder: &mut Recorder) {
    let accepted = &context.policy.rules.manifest.fleet;
    let check = recorder.check(CheckId::FleetKey);
    let Some(document) = bound_manifest(context, binding) else {
        let reason = "without the manifest that is bound nobody knows who has the host's key";
        return match (accepted, is_peer) {
            (None, false) => check.not_applicable(reason),
            _ => check.fail(format!("{reason}; take it from the host's /attestation")),
        };
    };
    let key = match manifest::fleet_key(document) {
        Ok(key) => key,
        Err(error) => return check.fail(error.to_string()),
    };
    let check = check.input("held_by", key);
    match (accepted, key) {
        (_, key) if is_peer => {
            let own = FleetKey::Peers(context.policy.digest);
            check.require(key == own, || {
                "the other host goes by another policy than this one's, and would give the key to others; give both the same file as [fleet] `policy`".to_owned()
            });
        }
        (None, FleetKey::OwnHost) => check.pass(),
        (None, _) => check.skip(format!(
            "agents, environments and payments are kept under a key that is held by {key} (`manifest.fleet`)"
        )),
        (Some(_), FleetKey::OwnHost) => check.pass(),
        (Some(accepted), FleetKey::Peers(policy)) => {
            check.require(accepted.iter().any(|one| one.0 == policy), || {
                "the host shares its key by a policy that yours does not name; read it, and add its SHA-256 to `manifest.fleet` if whom it accepts may have the key".to_owned()
            });
        }
        (Some(_), FleetKey::File) => check.fail(
            "the host's key came from a file, so that whoever has the file has it; do not rely on what this host keeps, or take `manifest.fleet` out of the policy",
        ),
    }
}

/// What this program reads of a manifest.
#[derive(Deserialize)]
struct Plugins {
    #[serde(default)]
    components: Vec<Plugin>,
}

#[derive(Deserialize)]
struct Plugin {
    name: String,
    #[serde(default)]
    compiled_sha384: Option<String>,
}

/// Plugins that run from machine code which only the manifest ties to the component in the log.
fn compiled(context: &Context<'_>, binding: &Binding, recorder: &mut Recorder) {
    let accepted = &context.policy.rules.components.compiled;
    let mut check = recorder.check(CheckId::CompiledCode);
    let Some(document) = bound_manifest(context, binding) else {
        let reason = "without the manifest that is bound nobody knows what plugins run from";
        return match accepted {
            Some(_) => check.fail(format!("{reason}; take it from the host's /attestation")),
            None => check.not_applicable(reason),
        };
    };
    let plugins = match ContentFormat::Cbor.decode::<Plugins>(document) {
        Ok(plugins) => plugins.components,
        Err(_) => {
            return check
                .fail("the manifest names no plugins that this program can read; update it");
        }
    };
    let mut unnamed = Vec::new();
    for Plugin {
        name,
        compiled_sha384,
    } in plugins
    {
        let Some(code) = compiled_sha384 else {
            continue;
        };
        let is_named =
            |list: &Vec<HexArray<48>>| list.iter().any(|named| named.to_string() == code);
        if !accepted.as_ref().is_some_and(is_named) {
            unnamed.push(format!("`{name}`"));
        }
        check = check.input("code", format_args!("{name} {code}"));
    }
    let unnamed = unnamed.join(", ");
    match accepted {
        _ if unnamed.is_empty() => check.pass(),
        Some(_) => check.fail(format!(
            "{unnamed} runs from machine code that the policy does not name; compile the component yourself with `hypervisor-ctl compile`, compare, and add its digest to `components.compiled`, or do not rely on this host"
        )),
        None => check.skip(format!(
            "{unnamed} runs from machine code that was compiled outside the guest: that it was made from the component in the log is its maker's word (`components.compiled`)"
        )),
    }
}
