//! Shows agents.

use std::io::{self, Write};

use hypervisor_client::protocol::{AgentInfo, AgentWorld, Found};

use crate::console::plain;

/// Most characters of a description in a list.
const SUMMARY: usize = 60;

/// One line: what it is.
pub(crate) fn title(info: &AgentInfo) -> String {
    let private = if info.private { "private " } else { "" };
    let title = format!(
        "{} {}, a {private}{}",
        info.name,
        info.version,
        world(info.world)
    );
    plain(&title).into_owned()
}

/// Where anyone can reach it; nothing where only its owner may.
pub(crate) fn url(server: &str, info: &AgentInfo) -> Option<String> {
    (!info.private).then(|| format!("{}{}", server.trim_end_matches('/'), info.path))
}

/// All that is known of it.
pub(crate) fn details(out: &mut dyn Write, server: &str, info: &AgentInfo) -> io::Result<()> {
    let mut line = |name: &str, value: &str| {
        let value = plain(value);
        let mut rows = value.lines();
        writeln!(out, "{name:<12}{}", rows.next().unwrap_or_default())?;
        rows.try_for_each(|row| writeln!(out, "{:<12}{row}", ""))
    };
    line("description", &info.description)?;
    line("address", &info.address)?;
    match url(server, info) {
        Some(url) => line("url", &url)?,
        None => line("url", "none: it is private, and its owner calls it sealed")?,
    }
    if !info.skills.is_empty() {
        line("skills", &info.skills.join(", "))?;
    }
    line("price", info.price.as_deref().unwrap_or("free"))?;
    line("digest", &format!("sha256:{}", info.digest))?;
    line("", &format!("sha384:{}", info.sha384))?;
    for origin in &info.outgoing {
        line("outgoing", origin)?;
    }
    for import in &info.imports {
        let version = match &import.host_version {
            Some(version) if !import.name.ends_with(&format!("@{version}")) => {
                format!("  (the host has {version})")
            }
            _ => String::new(),
        };
        line(&import.standing, &format!("{}{version}", import.name))?;
    }
    line("reuse", &reuse(info.reuse))?;
    let restart = match (&info.note, info.persistent) {
        (Some(note), true) => format!("survives it: {note}"),
        (Some(note), false) => format!("does not survive it: {note}"),
        (None, true) => "survives it".to_owned(),
        (None, false) => "does not survive it".to_owned(),
    };
    line("restart", &restart)
}

fn reuse(requests: u32) -> String {
    match requests {
        0 | 1 => "each request has an instance of its own".to_owned(),
        many => format!("an instance serves {many} requests, one after the other"),
    }
}

/// A line for each.
pub(crate) fn list(out: &mut dyn Write, agents: &[AgentInfo]) -> io::Result<()> {
    let rows = agents.iter().map(|info| {
        [
            plain(reference(info)).into_owned(),
            plain(&info.version).into_owned(),
            world(info.world).to_owned(),
            if info.private { "private" } else { "public" }.to_owned(),
            plain(info.price.as_deref().unwrap_or("free")).into_owned(),
            summary(&info.description),
        ]
    });
    let rows: Vec<[String; 6]> = rows.collect();
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What a search found.
pub(crate) fn found(out: &mut dyn Write, agents: &[Found]) -> io::Result<()> {
    for found in agents {
        let price = found.price.as_deref().unwrap_or("free");
        writeln!(
            out,
            "{}",
            plain(&format!("{}  {}  {price}", found.address, found.version))
        )?;
        for line in plain(&found.description).lines() {
            writeln!(out, "    {line}")?;
        }
        if !found.skills.is_empty() {
            writeln!(out, "    skills: {}", plain(&found.skills.join(", ")))?;
        }
        if !found.deployed {
            let name = plain(&found.name);
            writeln!(out, "    not deployed: hv deploy --registered {name}")?;
        }
    }
    Ok(())
}

/// The shortest name that reaches it: its own, unless that is another's.
fn reference(info: &AgentInfo) -> &str {
    let path = info.path.strip_prefix("/agents/");
    let path = path.and_then(|path| path.strip_suffix('/'));
    match path {
        Some(path) if path == info.name => &info.name,
        _ => &info.address,
    }
}

fn world(world: AgentWorld) -> &'static str {
    match world {
        AgentWorld::Service => "service",
        AgentWorld::Command => "command",
    }
}

fn summary(description: &str) -> String {
    let line = plain(description.lines().next().unwrap_or_default()).into_owned();
    match line.char_indices().nth(SUMMARY) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
