//! Shows environments.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hypervisor_client::ending;
use hypervisor_client::environments::{
    EnvironmentInfo, EnvironmentLog, ExecuteAnswer, LogKind, LogRow, SetupAnswer,
};
use hypervisor_client::payment::Payment;
use serde_json::{Value, json};

use crate::console::{Form, document, note, plain, print};
use crate::output::{Shown, insert_bytes, written};
use crate::{Failure, pay};

/// What came of a setup.
pub(super) fn set_up(form: Form, shown: &Shown<'_>, answer: &SetupAnswer) -> Result<(), Failure> {
    if form == Form::Json {
        let mut members = shown.members();
        members.insert("environment".to_owned(), json!(answer.environment));
        insert_bytes(&mut members, "stdout", &answer.stdout.0);
        return print(|out| document(out, &members));
    }
    printed(shown, &answer.stdout.0)?;
    shown.remarks(false).map_err(written)?;
    match &answer.environment {
        Some(environment) => print(|out| details(out, environment)),
        None => Ok(()),
    }
}

/// What came of a call: the answer on standard output, what it printed on standard error.
pub(super) fn executed(
    form: Form,
    shown: &Shown<'_>,
    answer: &ExecuteAnswer,
    verbose: bool,
) -> Result<(), Failure> {
    if form == Form::Json {
        let value = answer.value.as_deref().map(serde_json::from_str::<Value>);
        let value = value.transpose().map_err(|error| {
            Failure::Input(format!("the handler's answer is not JSON: {error}"))
        })?;
        let mut members = shown.members();
        members.insert("execution".to_owned(), json!(answer.execution));
        members.insert("value".to_owned(), json!(value));
        insert_bytes(&mut members, "stdout", &answer.stdout.0);
        return print(|out| document(out, &members));
    }
    printed(shown, &answer.stdout.0)?;
    if let Some(value) = &answer.value {
        print(|out| writeln!(out, "{}", plain(value)))?;
    }
    shown.remarks(verbose).map_err(written)
}

/// What a handler or a setup printed.
fn printed(shown: &Shown<'_>, bytes: &[u8]) -> Result<(), Failure> {
    match shown.was_shown {
        true => Ok(()),
        false => io::stderr().write_all(bytes).map_err(written),
    }
}

/// An environment as it is now, and what was paid for that.
pub(super) fn changed(
    form: Form,
    info: &EnvironmentInfo,
    payment: Option<&Payment>,
) -> Result<(), Failure> {
    if form == Form::Json {
        let mut shown = json!(info);
        if let (Some(members), Some(payment)) = (shown.as_object_mut(), payment) {
            members.insert("payment".to_owned(), pay::json(payment));
        }
        return print(|out| document(out, &shown));
    }
    if let Some(payment) = payment {
        note(format_args!("{}", pay::text(payment)))?;
    }
    print(|out| details(out, info))
}

fn details(out: &mut dyn Write, info: &EnvironmentInfo) -> io::Result<()> {
    let mut line = |name: &str, value: &str| writeln!(out, "{name:<10}{}", plain(value));
    line("id", &info.id)?;
    if !info.name.is_empty() {
        line("name", &info.name)?;
    }
    line("language", &info.language)?;
    line("bundle", &format!("sha256:{}", info.bundle))?;
    let size = indicatif::BinaryBytes(info.state_bytes);
    line("state", &format!("{size}, sha256:{}", info.state))?;
    line(
        "ends",
        &format!("{}, if it is not used", time(info.expires_at)),
    )?;
    line("", &format!("{} at the latest", time(info.ends_at)))?;
    if !info.outgoing.is_empty() {
        line("outgoing", &info.outgoing.join(", "))?;
    }
    if !info.persistent {
        line("note", "it ends with the host's process")?;
    }
    Ok(())
}

/// A table.
pub(super) fn list(out: &mut dyn Write, list: &[EnvironmentInfo]) -> io::Result<()> {
    if list.is_empty() {
        return writeln!(out, "you have no environments on this host");
    }
    for info in list {
        let size = indicatif::BinaryBytes(info.state_bytes).to_string();
        writeln!(
            out,
            "{}  {:<10}  {:>10}  {}  {}",
            plain(&info.id),
            plain(&info.language),
            size,
            time(info.expires_at),
            plain(&info.name)
        )?;
    }
    Ok(())
}

/// A log, a line each.
pub(super) fn log(out: &mut dyn Write, log: &EnvironmentLog, rows: &[LogRow]) -> io::Result<()> {
    for row in rows {
        let ended = row.exit.as_ref().and_then(ending);
        let ended = ended.unwrap_or_else(|| "ok".to_owned());
        let ended = ended.lines().next().unwrap_or_default();
        writeln!(
            out,
            "{:>6}  {}  {:<9} {:>10}  {}",
            row.sequence,
            time(row.at.div_euclid(1_000_000)),
            kind(row.kind),
            format!("{:.1?}", Duration::from_micros(row.cpu_microseconds)),
            plain(ended)
        )?;
    }
    writeln!(out, "{} rows, the last sha256:{}", log.total, log.head)
}

/// The same as a document.
pub(super) fn log_json(log: &EnvironmentLog, rows: &[LogRow]) -> Value {
    json!({ "rows": rows, "first": log.first, "total": log.total, "head": log.head, "verified": true })
}

fn kind(kind: LogKind) -> &'static str {
    match kind {
        LogKind::Setup => "setup",
        LogKind::Execute => "execute",
        LogKind::Evaluate => "evaluate",
        LogKind::Fork => "fork",
        LogKind::Extend => "extend",
        LogKind::Remove => "remove",
        LogKind::Expire => "expire",
        LogKind::Undo => "undo",
    }
}

/// RFC 3339, UTC. A time that is none is shown as the latest there is.
fn time(seconds: u64) -> String {
    // 9999-12-31T23:59:59Z, the last that RFC 3339 has.
    const LAST: u64 = 253_402_300_799;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds.min(LAST)));
    humantime::format_rfc3339_seconds(at.unwrap_or_else(SystemTime::now)).to_string()
}
