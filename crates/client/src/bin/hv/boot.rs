//! What a guest booted, by the log of its firmware.

use hypervisor_client::attest::boot_log::{BootLog, Event};
use hypervisor_client::attest::policy::BOOT_REGISTERS;
use hypervisor_client::attest::tdx::TdxQuote;
use hypervisor_client::attest::{Evidence, RawQuote};
use hypervisor_client::protocol::HexArray;

use crate::console::plain;

/// The most characters of what an event says.
const WORDS: usize = 120;

/// The log of evidence, and whether it leads to RTMR0, RTMR1 and RTMR2 of the quote; why it can not be read.
fn log(evidence: &Evidence) -> Option<Result<(BootLog, [bool; BOOT_REGISTERS]), String>> {
    let log = BootLog::parse(evidence.boot_log.as_ref()?);
    let RawQuote::Tdx(quote) = &evidence.quote else {
        return None;
    };
    let quoted = TdxQuote::parse(quote).ok()?.report.rtmr;
    Some(log.map_err(|error| error.to_string()).map(|log| {
        let replayed = log.registers();
        let mut pairs = replayed.iter().zip(&quoted);
        let leads = [(); BOOT_REGISTERS].map(|()| pairs.next().is_some_and(|(a, b)| a == b));
        (log, leads)
    }))
}

/// A line for each event that a register of the quote proves, and a remark about the others.
pub(crate) fn lines(evidence: &Evidence) -> Vec<String> {
    let (log, leads) = match log(evidence) {
        None => return vec!["boot  the evidence holds no boot log".to_owned()],
        Some(Err(reason)) => return vec![format!("boot  {reason}")],
        Some(Ok(log)) => log,
    };
    let mut lines = Vec::new();
    for (register, leads) in leads.into_iter().enumerate() {
        if !leads {
            lines.push(format!(
                "boot  RTMR{register}: the log does not lead to this register of the quote, so its events are not shown"
            ));
            continue;
        }
        let events = log.of(register);
        lines.extend(events.map(|event| format!("boot  RTMR{register}  {}", line(event))));
    }
    if leads.contains(&true) {
        lines.push(
            "boot  the registers prove the digests; text after `?` is the log's own word"
                .to_owned(),
        );
    }
    lines
}

/// An event in one line.
pub(crate) fn line<const N: usize>(event: &Event<N>) -> String {
    let digest = HexArray(event.digest);
    let mark = match event.is_bound() {
        true => "",
        false => "? ",
    };
    let words = words(event);
    let words = match words.as_str() {
        "" => String::new(),
        words => format!("  {mark}{words}"),
    };
    format!("{}  {digest}{words}", event.type_name())
}

fn words<const N: usize>(event: &Event<N>) -> String {
    let words: String = event.words().chars().take(WORDS).collect();
    plain(&words).to_string()
}

/// `events` of `[[tdx.reference]]`, where there is a log and it leads to all three registers; else nothing.
pub(crate) fn policy(evidence: &Evidence) -> String {
    let Some(Ok((log, [true, true, true]))) = log(evidence) else {
        return String::new();
    };
    let mut text = "\
# What was booted, event by event, so that a refusal can name the event that differs. Leave a register out above, and its events decide:
# then an event may have `any = true` in the place of its digest, such as tables of firmware that depend on the memory's size.
events = [
"
    .to_owned();
    for register in 0..BOOT_REGISTERS {
        for event in log.of(register) {
            text.push_str(&self::event("rtmr", register, event));
        }
    }
    text.push_str("]\n");
    text
}

/// An event as a policy names it.
pub(crate) fn event<const N: usize>(kind: &str, register: usize, event: &Event<N>) -> String {
    format!(
        "    {{ {kind} = {register}, type = \"{}\", digest = \"{}\", about = {} }},\n",
        event.type_name(),
        HexArray(event.digest),
        toml::Value::from(words(event))
    )
}
