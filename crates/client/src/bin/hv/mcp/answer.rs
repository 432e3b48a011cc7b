//! What came of a tool, as a model reads it: text, and the same with names.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use hypervisor_client::agents::ServiceAnswer;
use hypervisor_client::environments::EvaluateAnswer;
use hypervisor_client::payment::Payment;
use hypervisor_client::protocol::Exit;
use hypervisor_client::{Error, Execution, ending};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::{Map, Value, json};

use crate::desk::Trouble;
use crate::{Failure, pay};

/// Most bytes of an output that are passed on.
const MOST: usize = 256 << 10;
/// Most bytes of an image that are: a cut one is of no use.
const MOST_OF_AN_IMAGE: usize = 4 << 20;

/// An answer that is being put together.
struct Draft {
    content: Vec<ContentBlock>,
    remarks: Vec<String>,
    members: Map<String, Value>,
    is_truncated: bool,
    is_error: bool,
}

/// Of a run.
pub(super) fn of_run(execution: &Execution, payment: Option<&Payment>) -> CallToolResult {
    let mut draft = Draft::new(execution, payment);
    draft.output("stdout", &execution.result);
    draft.ended("the program", execution)
}

/// Of a turn.
pub(super) fn of_turn(
    answer: &EvaluateAnswer,
    execution: &Execution,
    payment: Option<&Payment>,
    is_new: bool,
) -> CallToolResult {
    let mut draft = Draft::new(execution, payment);
    draft.output("stdout", &answer.stdout.0);
    if let Some(value) = &answer.value {
        draft.output("value", value.as_bytes());
    }
    draft.insert("kept", json!(answer.kept));
    if is_new {
        draft.remark(
            "the session had ended, so this ran in a new one: what was defined before is gone",
        );
    }
    if !answer.kept {
        draft.remark("the session is as it was before this code");
    }
    draft.ended("the code", execution)
}

/// Of a call of a service. A status of 400 or above is an error.
pub(super) fn of_service(answer: &ServiceAnswer, payment: Option<&Payment>) -> CallToolResult {
    let mut draft = Draft::new(&answer.execution, payment);
    if let Some(response) = &answer.response {
        let status = response.status();
        draft.insert("status", json!(status.as_u16()));
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type
            .and_then(|it| it.to_str().ok())
            .unwrap_or_default();
        draft.insert("content_type", json!(media_type));
        match media_type.starts_with("image/") && response.body().len() <= MOST_OF_AN_IMAGE {
            true => draft.image(media_type, response.body()),
            false => draft.output("body", response.body()),
        }
        if status.as_u16() >= 400 {
            draft.is_error = true;
            draft.remark(&format!("the agent answered {status}"));
        }
    }
    draft.ended("the agent", &answer.execution)
}

/// Of what the tools of this command tell by themselves.
pub(super) fn of_text(text: String, value: Value) -> CallToolResult {
    let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
    result.structured_content = Some(value);
    result
}

/// Of what has no answer: in words, and by a name.
pub(super) fn of_trouble(trouble: &Trouble) -> CallToolResult {
    let (exit, reason) = (trouble.name(), trouble.to_string());
    let mut result = CallToolResult::error(vec![ContentBlock::text(reason.clone())]);
    result.structured_content = Some(json!({ "exit": exit, "reason": reason }));
    result
}

impl Trouble {
    fn name(&self) -> &'static str {
        match self {
            Self::Failed(failure) if failure.is_verification_failure() => "verification-failed",
            Self::Failed(Failure::Client(Error::Refused(_))) => "refused",
            Self::Failed(_) | Self::Ended => "failed",
            Self::Price { .. } => "payment-required",
            Self::Arguments(_) => "invalid-arguments",
        }
    }
}

impl Draft {
    fn new(execution: &Execution, payment: Option<&Payment>) -> Self {
        let report = &execution.report;
        let mut draft = Self {
            content: Vec::new(),
            remarks: Vec::new(),
            members: Map::new(),
            is_truncated: report.stdout_truncated || report.stderr_truncated,
            is_error: false,
        };
        draft.exit(&report.exit);
        draft.insert("attested", json!(execution.attestation.is_some()));
        if let Some(payment) = payment.filter(|payment| **payment != Payment::NotAsked) {
            draft.insert("payment", pay::json(payment));
            draft.remark(&pay::text(payment));
        }
        draft
    }

    fn insert(&mut self, name: &str, value: Value) {
        self.members.insert(name.to_owned(), value);
    }

    fn remark(&mut self, text: &str) {
        self.remarks.push(format!("[{text}]"));
    }

    /// How it ended, by name.
    fn exit(&mut self, exit: &Exit) {
        self.is_error = *exit != Exit::Ok;
        let name = match exit {
            Exit::Ok => "ok",
            Exit::Code { code } => {
                self.insert("code", json!(code));
                "code"
            }
            Exit::Trap { reason } => {
                self.insert("reason", json!(reason));
                "trap"
            }
            Exit::Limit {
                which,
                used,
                allowed,
            } => {
                let limit = json!({ "name": which, "used": used, "allowed": allowed });
                self.insert("limit", limit);
                "limit"
            }
            Exit::Denied { reason } => {
                self.insert("reason", json!(reason));
                "denied"
            }
            Exit::Rejected { problem, detail } => {
                self.insert("problem", json!(problem));
                self.insert("reason", json!(detail));
                "rejected"
            }
        };
        self.insert("exit", json!(name));
    }

    /// An output under its name; alone in its piece of the content, so that it is what it was.
    fn output(&mut self, name: &str, bytes: &[u8]) {
        let (text, is_cut) = text(bytes);
        if !text.is_empty() {
            self.content.push(ContentBlock::text(text.clone()));
        }
        if is_cut {
            self.cut(name, bytes.len());
        }
        if std::str::from_utf8(bytes).is_err() {
            self.remark(&format!(
                "{name} is not all UTF-8 text: {} bytes",
                bytes.len()
            ));
            let first = bytes.get(..MOST).unwrap_or(bytes);
            self.insert(&format!("{name}_base64"), json!(STANDARD.encode(first)));
        }
        self.insert(name, json!(text));
    }

    fn cut(&mut self, name: &str, whole: usize) {
        self.is_truncated = true;
        self.remark(&format!("{name} is cut: the first {MOST} of {whole} bytes"));
    }

    fn image(&mut self, media_type: &str, bytes: &[u8]) {
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let image = ContentBlock::image(STANDARD.encode(bytes), media_type);
        self.content.push(image);
    }

    /// The answer, with what was written to standard error and how `what` ended.
    fn ended(mut self, what: &str, execution: &Execution) -> CallToolResult {
        let report = &execution.report;
        let (stderr, is_cut) = text(&report.stderr.0);
        if !stderr.is_empty() {
            let shown = format!("standard error:\n{stderr}");
            self.content.push(ContentBlock::text(shown));
        }
        self.insert("stderr", json!(stderr));
        if is_cut {
            self.cut("stderr", report.stderr.0.len());
        }
        if report.stdout_truncated {
            self.remark("the host cut standard output at its limit");
        }
        if report.stderr_truncated {
            self.remark("the host cut standard error at its limit");
        }
        match (&report.exit, ending(&report.exit)) {
            (Exit::Code { code }, _) => self.remark(&format!("{what} exited with code {code}")),
            (_, Some(words)) => self.remark(&words),
            _ => {}
        }
        self.insert("truncated", json!(self.is_truncated));
        if self.content.is_empty() && self.remarks.is_empty() {
            self.remark(&format!("{what} wrote nothing"));
        }
        if !self.remarks.is_empty() {
            self.content
                .push(ContentBlock::text(self.remarks.join("\n")));
        }
        let mut result = match self.is_error {
            true => CallToolResult::error(self.content),
            false => CallToolResult::success(self.content),
        };
        result.structured_content = Some(Value::Object(self.members));
        result
    }
}

/// The beginning of an output as text, and whether there is more of it. No character is cut in two.
fn text(bytes: &[u8]) -> (String, bool) {
    let Some(first) = bytes.get(..MOST).filter(|first| first.len() < bytes.len()) else {
        return (lossy(bytes).into_owned(), false);
    };
    let whole = match std::str::from_utf8(first) {
        Err(error) if error.error_len().is_none() => {
            first.get(..error.valid_up_to()).unwrap_or_default()
        }
        _ => first,
    };
    (lossy(whole).into_owned(), true)
}

fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests;
