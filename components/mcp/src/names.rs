//! What the tools are called that agents are.
//!
//! A reference is `name` or `name.owner`. Names of tools are of `A-Z a-z 0-9 _ -` and at most 64 long, which every client takes; so the
//! dot is written as `_`, which no name of an agent has, and where that is too long the name is cut and the owner kept.

use front::names::is_reference;

/// The longest name of a tool that clients take.
pub const LONGEST_TOOL: usize = 64;

/// The name of the tool that the agent with this reference is; none for what is no reference.
pub fn tool(reference: &str) -> Option<String> {
    if !is_reference(reference) {
        return None;
    }
    let Some((name, owner)) = reference.split_once('.') else {
        return Some(reference.to_owned());
    };
    let room = LONGEST_TOOL.saturating_sub(owner.len()).saturating_sub(1);
    let name: String = name.chars().take(room).collect();
    Some(format!("{name}_{owner}")).filter(|tool| tool.len() <= LONGEST_TOOL && !name.is_empty())
}

/// The reference of the agent whose tool has this name; none where the name was cut, or is no agent's.
pub fn reference(tool: &str) -> Option<String> {
    let reference = tool.replacen('_', ".", 1);
    is_reference(&reference).then_some(reference)
}

/// Whether a name may have been cut.
pub fn may_be_cut(tool: &str) -> bool {
    tool.len() == LONGEST_TOOL && tool.contains('_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::builtin::Builtin;

    const OWNER: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_name_is_its_own_tool_and_an_address_has_an_underscore() {
        assert_eq!(tool("weather").as_deref(), Some("weather"));
        assert_eq!(tool("a.operator").as_deref(), Some("a_operator"));
        assert_eq!(tool(&format!("a-b.{OWNER}")), Some(format!("a-b_{OWNER}")));
        let long = tool(&format!("{}.{OWNER}", "a".repeat(63))).unwrap();
        assert_eq!(long.len(), LONGEST_TOOL);
        assert!(long.ends_with(&format!("_{OWNER}")) && may_be_cut(&long));
        assert_eq!(reference("a_operator").as_deref(), Some("a.operator"));
    }

    #[test]
    fn what_is_no_reference_is_no_tool() {
        for text in [
            "", ".", "a.", ".a", "A", "a b", "a/b", "a.b.c", "-a", "a-", "é", "a_b", "a:1", "a@b",
        ] {
            assert_eq!(tool(text), None, "{text}");
        }
    }

    #[test]
    fn no_agent_is_called_as_a_tool_of_the_fronts_own() {
        for own in Builtin::ALL {
            assert!(!is_reference(own.name()));
            // Owners are `operator`, or 32 hex digits.
            let owner = own.name().split_once('_').unwrap().1;
            assert!(owner != "operator" && owner.len() != OWNER.len());
        }
    }

    proptest! {
        #[test]
        fn a_tool_has_a_name_that_clients_take_and_leads_back(text in "[a-z0-9.-]{1,70}") {
            if let Some(tool) = tool(&text) {
                prop_assert!((1..=LONGEST_TOOL).contains(&tool.len()));
                prop_assert!(tool.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
                prop_assert!(may_be_cut(&tool) || reference(&tool).as_deref() == Some(&*text));
            }
        }

        #[test]
        fn any_text_is_judged(text in ".{0,80}") {
            let _ = (tool(&text), reference(&text), may_be_cut(&text));
        }
    }
}
