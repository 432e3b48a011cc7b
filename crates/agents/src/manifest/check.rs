//! The bounds of a manifest's values.

use hypervisor_egress::{OriginPattern, PatternError};

use super::{Environment, Manifest, ManifestLimits, Written, tool};
use crate::error::ManifestError;

/// Most bytes of a manifest.
pub const MAX_TEXT: usize = 64 << 10;

/// Most characters of a description.
pub const MAX_DESCRIPTION: usize = 2000;

/// Most characters of a version.
pub const MAX_VERSION: usize = 64;

/// Most skills.
pub const MAX_SKILLS: usize = 32;

/// Most characters of a skill.
pub const MAX_SKILL: usize = 100;

/// Most requests that one instance serves.
pub const MAX_REUSE: u32 = 1024;

/// Most origins that an agent may send requests to.
pub const MAX_OUTGOING: usize = 64;

/// Most characters of an account.
const MAX_ACCOUNT: usize = 128;

/// Most characters of a media type.
const MAX_MEDIA_TYPE: usize = 128;

/// Most characters of a price.
const MAX_PRICE: usize = 128;

/// Most characters of a manifest's own text in a message.
const MAX_SHOWN: usize = 64;

/// The refusal of a value.
pub(super) fn wrong(key: impl Into<String>, message: impl Into<String>) -> ManifestError {
    ManifestError::Value(key.into(), message.into())
}

/// Text of a manifest for a message: cut, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short.escape_debug().to_string()
}

/// Checks every value.
pub(super) fn manifest(written: Written) -> Result<Manifest, ManifestError> {
    // First, so that its values are erased where another key is refused.
    let environment = Environment::read(written.environment)?;
    let name = required("name", written.name)?;
    let description = required("description", written.description)?;
    let version = required("version", written.version)?;
    let name = name
        .parse()
        .map_err(|error| wrong("name", format!("{error}")))?;
    text("description", &description, MAX_DESCRIPTION, |c| c == '\n')?;
    is_version(&version)?;
    skills(&written.skills)?;
    if let Some(price) = &written.price {
        // What it is worth, the payment component knows.
        text("price", price, MAX_PRICE, |_| false)?;
    }
    written.pay_to.as_deref().map_or(Ok(()), account)?;
    written.media_type.as_deref().map_or(Ok(()), media_type)?;
    outgoing(&written.outgoing)?;
    limits(&written.limits)?;
    Ok(Manifest {
        name,
        description,
        version,
        world: written.world,
        skills: written.skills,
        private: written.private,
        price: written.price,
        pay_to: written.pay_to,
        media_type: written.media_type,
        reuse: reuse(written.reuse)?,
        outgoing: written.outgoing,
        environment,
        limits: written.limits,
        tool: written.tool.map(tool::Written::checked).transpose()?,
    })
}

fn required(key: &'static str, value: Option<String>) -> Result<String, ManifestError> {
    value.ok_or(ManifestError::Missing(key))
}

/// 1 to `maximum` characters, none of them a control character but those allowed.
pub(super) fn text(
    key: &str,
    value: &str,
    maximum: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), ManifestError> {
    let length = value.chars().count();
    if !(1..=maximum).contains(&length) {
        let message = format!("{length} characters, it may have 1 to {maximum}");
        return Err(wrong(key, message));
    }
    match value.chars().find(|c| c.is_control() && !allowed(*c)) {
        None => Ok(()),
        Some(c) => Err(wrong(key, format!("it holds the control character {c:?}"))),
    }
}

fn is_version(version: &str) -> Result<(), ManifestError> {
    text("version", version, MAX_VERSION, |_| false)?;
    let foreign = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-'));
    match version.chars().find(foreign) {
        None => Ok(()),
        Some(c) => {
            let message = format!("it holds {c:?}; it may hold A-Z, a-z, 0-9, ., + and -");
            Err(wrong("version", message))
        }
    }
}

fn skills(skills: &[String]) -> Result<(), ManifestError> {
    if skills.len() > MAX_SKILLS {
        let message = format!("{} of them, at most {MAX_SKILLS}", skills.len());
        return Err(wrong("skills", message));
    }
    skills
        .iter()
        .enumerate()
        .try_for_each(|(at, skill)| text(&format!("skills[{at}]"), skill, MAX_SKILL, |_| false))
}

fn account(account: &str) -> Result<(), ManifestError> {
    if (1..=MAX_ACCOUNT).contains(&account.len()) && account.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        let message =
            format!("an account is 1 to {MAX_ACCOUNT} visible ASCII characters without spaces");
        Err(wrong("pay_to", message))
    }
}

fn media_type(media_type: &str) -> Result<(), ManifestError> {
    let is_known = media_type.split_once('/').is_some_and(|(kind, more)| {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
        let more = more.split(';').next().unwrap_or_default();
        !kind.is_empty() && !more.is_empty() && kind.bytes().chain(more.bytes()).all(is_token)
    });
    text("media_type", media_type, MAX_MEDIA_TYPE, |_| false)?;
    match is_known && media_type.is_ascii() {
        true => Ok(()),
        false => Err(wrong("media_type", "write it like text/plain")),
    }
}

fn reuse(reuse: Option<i64>) -> Result<u32, ManifestError> {
    let Some(reuse) = reuse else {
        return Ok(1);
    };
    u32::try_from(reuse)
        .ok()
        .filter(|reuse| (1..=MAX_REUSE).contains(reuse))
        .ok_or_else(|| wrong("reuse", format!("must be 1 to {MAX_REUSE}")))
}

fn outgoing(origins: &[String]) -> Result<(), ManifestError> {
    if origins.len() > MAX_OUTGOING {
        let message = format!("{} of them, at most {MAX_OUTGOING}", origins.len());
        return Err(wrong("outgoing", message));
    }
    let is_listable = |origin: &str| {
        ["http://", "https://"]
            .iter()
            .any(|it| origin.starts_with(it))
    };
    let error = |(at, origin): (usize, &String)| {
        let error = match origin.parse::<OriginPattern>() {
            Ok(_) if is_listable(origin) => return None,
            Ok(_) => PatternError::Scheme,
            Err(error) => error,
        };
        Some((at, error))
    };
    match origins.iter().enumerate().find_map(error) {
        None => Ok(()),
        Some((at, error)) => {
            let message = format!("{error}; write it like `https://api.example.org`");
            Err(wrong(format!("outgoing[{at}]"), message))
        }
    }
}

fn limits(limits: &ManifestLimits) -> Result<(), ManifestError> {
    let zeros = [
        ("limits.cpu", limits.cpu.is_some_and(|it| it.is_zero())),
        ("limits.wall", limits.wall.is_some_and(|it| it.is_zero())),
        ("limits.memory", limits.memory.is_some_and(|it| it.0 == 0)),
        ("limits.output", limits.output.is_some_and(|it| it.0 == 0)),
    ];
    match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
        None => Ok(()),
        Some((key, _)) => Err(wrong(key, "it must be above 0")),
    }
}
