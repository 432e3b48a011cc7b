//! Programs may run if their SHA-256 is on the operator's list, `rules.txt`: one digest a line, `#` for comments.

use exports::hypervisor::plugin::policy::{Action, Decision, ErrorCode, Guest};

wit_bindgen::generate!({ path: "wit", world: "component", generate_all });

export!(Policy);

struct Policy;

impl Guest for Policy {
    /// Called before anything is carried out. What is not clearly allowed is denied.
    fn authorize(rules: Vec<u8>, action: Action) -> Result<Decision, ErrorCode> {
        let subject: String = action
            .subject
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(if listed(&rules)?.contains(&subject) {
            Decision::Allow
        } else {
            Decision::Deny(format!("the program {subject} is not on the list"))
        })
    }

    /// Called before rules are taken into use.
    fn check(rules: Vec<u8>) -> Result<(), ErrorCode> {
        listed(&rules).map(drop)
    }
}

/// The digests on the list, in lower case. A list with a mistake decides nothing.
fn listed(rules: &[u8]) -> Result<Vec<String>, ErrorCode> {
    let mut listed = Vec::new();
    for (number, line) in String::from_utf8_lossy(rules).lines().enumerate() {
        let digest = line.split('#').next().unwrap_or_default().trim();
        if digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            listed.push(digest.to_ascii_lowercase());
        } else if !digest.is_empty() {
            let line = number + 1;
            return Err(ErrorCode::InvalidRules(format!(
                "line {line}: not a SHA-256 in hexadecimal"
            )));
        }
    }
    Ok(listed)
}
