//! How a run ended, in a line for people.

use std::time::Duration;

use hypervisor_protocol::{Exit, LimitKind, Rejection};

/// How a program ended that did not end by itself; none where it did, with whatever code. Part of the text may come from the
/// guest.
pub fn ending(exit: &Exit) -> Option<String> {
    Some(match exit {
        Exit::Ok | Exit::Code { .. } => return None,
        Exit::Trap { reason } => format!("the program trapped: {reason}"),
        Exit::Limit {
            which,
            used,
            allowed,
        } => {
            format!(
                "stopped at the limit of {which}: {} of {}",
                quantity(*which, *used),
                quantity(*which, *allowed)
            )
        }
        Exit::Denied { reason } => format!("denied by the host's policy: {reason}"),
        Exit::Rejected { problem, detail } if detail.is_empty() => rejection(*problem).to_owned(),
        Exit::Rejected { problem, detail } => format!("{}: {detail}", rejection(*problem)),
    })
}

fn rejection(problem: Rejection) -> &'static str {
    match problem {
        Rejection::InvalidManifest => "the host refuses the manifest",
        Rejection::NotOwner => "this owner's key does not allow it",
        Rejection::NameTaken => "the name belongs to somebody else",
        Rejection::UnknownAgent => "there is no such agent",
        Rejection::UnknownProgram => "the host does not keep this program",
        Rejection::WrongDigest => "the agent is not the component that was asked for",
        Rejection::TooManyAgents => "the host takes no more agents",
        Rejection::InvalidRequest => "the host cannot read the request that was sealed",
        _ => "the host cannot run this program",
    }
}

fn quantity(which: LimitKind, amount: u64) -> String {
    match which {
        LimitKind::Cpu | LimitKind::Wall | LimitKind::CompileTime => {
            format!("{:.1?}", Duration::from_micros(amount))
        }
        LimitKind::Table | LimitKind::Instances | LimitKind::Handles => amount.to_string(),
        LimitKind::Price => format!("{amount} of the asset's smallest unit"),
        _ => indicatif::BinaryBytes(amount).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_ended_by_itself_needs_no_words() {
        assert_eq!(ending(&Exit::Ok), None);
        assert_eq!(ending(&Exit::Code { code: 3 }), None);
    }

    #[test]
    fn a_limit_is_named_with_units() {
        let exit = Exit::Limit {
            which: LimitKind::Memory,
            used: 64 << 20,
            allowed: 64 << 20,
        };
        let text = ending(&exit).unwrap();
        assert_eq!(
            text,
            "stopped at the limit of memory: 64.00 MiB of 64.00 MiB"
        );
    }

    #[test]
    fn a_rejection_says_what_and_why() {
        let rejected = |problem, detail: &str| {
            let detail = detail.to_owned();
            ending(&Exit::Rejected { problem, detail }).unwrap()
        };
        assert_eq!(
            rejected(Rejection::InvalidManifest, "unknown key `nam`"),
            "the host refuses the manifest: unknown key `nam`"
        );
        assert_eq!(
            rejected(Rejection::UnknownAgent, ""),
            "there is no such agent"
        );
    }
}
