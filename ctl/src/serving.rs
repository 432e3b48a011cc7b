//! `status`, `top`, `logs`, `agents`, `fleet`, `drain` and `level`: what an operator asks of a host that is serving.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use hypervisor::config::Config;
use hypervisor::parts::{load_config, runtime};
use hypervisor_ctl::error::Error;
use hypervisor_ctl::operator::{self, Admin, AdminUrl, TlsFiles};
use hypervisor_ctl::output::{json, plain, written};
use hypervisor_ctl::overview;
use hypervisor_protocol::AgentInfo;

use crate::args::{AdminAccess, AgentsCommand, Cli, Drain, FleetCommand, Logs, Output, Top};

/// Time between two questions of a command that waits.
const PAUSE: Duration = Duration::from_millis(500);
/// Clears a terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// The admin port that the command line names, or the configuration.
pub(crate) fn admin(cli: &Cli, access: &AdminAccess) -> Result<Admin, Error> {
    let config = load_config(cli.config.as_deref())?;
    let url = match &access.admin {
        Some(url) => url.clone(),
        None => of_config(&config)?,
    };
    let token = match &access.token_file {
        // A socket asks for none.
        _ if url.is_socket() => None,
        Some(file) => Some(operator::token(file)?),
        // The configuration may be another host's: that one then says that the token is missing.
        None => Some(config.admin_token_file())
            .filter(|file| file.exists())
            .map(|file| operator::token(&file))
            .transpose()?,
    };
    let tls = &access.tls;
    let files = TlsFiles {
        ca: tls.tls_ca.clone(),
        identity: tls.tls_certificate.clone().zip(tls.tls_key.clone()),
    };
    Admin::new(url, token, &files)
}

fn of_config(config: &Config) -> Result<AdminUrl, Error> {
    let place = config.admin_place()?.ok_or(Error::NoAdminPort)?;
    Ok(match config.admin.tls.certificate.as_os_str().is_empty() {
        true => AdminUrl::Plain(place),
        false => AdminUrl::Tls(place.to_string()),
    })
}

/// Whether the host is ready.
pub(crate) fn status(cli: &Cli, access: &AdminAccess, output: Output) -> Result<bool, Error> {
    let admin = admin(cli, access)?;
    let status = runtime()?.block_on(admin.status())?;
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(&mut out, &status),
        Output::Text => overview::print(&mut out, &status),
    })?;
    Ok(status.reason.is_none())
}

/// Refreshes on a terminal; elsewhere it is told once.
pub(crate) fn top(cli: &Cli, access: &AdminAccess, asked: &Top) -> Result<(), Error> {
    let admin = admin(cli, access)?;
    let is_terminal = io::stdout().is_terminal();
    runtime()?.block_on(async {
        loop {
            let status = admin.status().await?;
            let mut text = Vec::new();
            if is_terminal {
                text.extend_from_slice(CLEAR.as_bytes());
            }
            written(overview::top(&mut text, &status))?;
            written(io::stdout().lock().write_all(&text))?;
            if !is_terminal {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(asked.interval) => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    })
}

pub(crate) fn logs(cli: &Cli, access: &AdminAccess, asked: &Logs) -> Result<(), Error> {
    let admin = admin(cli, access)?;
    runtime()?.block_on(async {
        let mut got = admin.logs(0).await?;
        let surplus = got.lines.len().saturating_sub(asked.lines);
        got.lines.drain(..surplus);
        loop {
            let mut out = io::stdout().lock();
            for line in &got.lines {
                written(match asked.output {
                    Output::Text => writeln!(out, "{}", plain(line)),
                    Output::Json => json(&mut out, line),
                })?;
            }
            written(out.flush())?;
            drop(out);
            if !asked.follow {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
            got = admin.logs(got.next).await?;
        }
    })
}

pub(crate) fn fleet(
    cli: &Cli,
    access: &AdminAccess,
    command: Option<&FleetCommand>,
    output: Output,
) -> Result<(), Error> {
    let admin = admin(cli, access)?;
    let mut out = io::stdout().lock();
    if let Some(FleetCommand::Rotate) = command {
        let key = runtime()?.block_on(admin.rotate())?;
        return written(match output {
            Output::Json => json(&mut out, &serde_json::json!({ "key": key })),
            Output::Text => writeln!(out, "the fleet's next key: {}", plain(&key)),
        });
    }
    let fleet = runtime()?.block_on(admin.fleet())?;
    written(match output {
        Output::Json => json(&mut out, &fleet),
        Output::Text => overview::fleet(&mut out, &fleet),
    })
}

pub(crate) fn agents(
    cli: &Cli,
    access: &AdminAccess,
    command: Option<&AgentsCommand>,
    output: Output,
) -> Result<(), Error> {
    let admin = admin(cli, access)?;
    let mut out = io::stdout().lock();
    match command {
        None => {
            let status = runtime()?.block_on(admin.status())?;
            written(match output {
                Output::Json => json(&mut out, &status.owners),
                Output::Text => overview::owners(&mut out, &status),
            })
        }
        Some(AgentsCommand::Remove { agent }) => {
            let removed = runtime()?.block_on(admin.remove(agent))?;
            written(match (output, &removed) {
                (Output::Json, removed) => json(&mut out, removed),
                (Output::Text, Some(AgentInfo { address, .. })) => {
                    writeln!(out, "{} is taken down", plain(address))
                }
                (Output::Text, None) => writeln!(out, "deleted from the store"),
            })
        }
        Some(AgentsCommand::RemoveEnvironments { owner }) => {
            let removed = runtime()?.block_on(admin.remove_environments(owner))?;
            written(match output {
                Output::Json => json(&mut out, &removed),
                Output::Text => writeln!(out, "environments removed: {removed}"),
            })
        }
    }
}

/// Whether the host has gone, or is as it was asked to be.
pub(crate) fn drain(cli: &Cli, access: &AdminAccess, asked: &Drain) -> Result<bool, Error> {
    let admin = admin(cli, access)?;
    let say = |words: &str| written(writeln!(io::stdout(), "{words}"));
    runtime()?.block_on(async {
        if asked.leave {
            admin.leave_drain().await?;
            say("the host is ready again")?;
            return Ok(true);
        }
        admin.drain(!asked.stay).await?;
        if asked.stay {
            say("the host is not ready any more, and answers; `hypervisor-ctl drain --leave` takes it back")?;
            return Ok(true);
        }
        if asked.no_wait {
            say("the host ends when what is under way has ended")?;
            return Ok(true);
        }
        let began = Instant::now();
        let mut said = None;
        // It has gone when it does not answer any more.
        while let Ok(status) = admin.status().await {
            let slots = status.in_use.iter().find(|it| it.name == "slots");
            let slots = slots.map_or(0, |it| it.used);
            if said.replace(slots) != Some(slots) {
                say(&format!("draining: {slots} executions under way"))?;
            }
            if began.elapsed() >= asked.timeout {
                say("the host is still there; it goes on draining")?;
                return Ok(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
        say("the host has ended")?;
        Ok(true)
    })
}

pub(crate) fn level(
    cli: &Cli,
    access: &AdminAccess,
    directives: Option<&str>,
    output: Output,
) -> Result<(), Error> {
    let admin = admin(cli, access)?;
    let level = runtime()?.block_on(async {
        match directives {
            Some(directives) => admin.set_level(directives).await,
            None => admin.status().await.map(|status| status.level),
        }
    })?;
    let mut out = io::stdout().lock();
    written(match output {
        Output::Json => json(&mut out, &level),
        Output::Text => writeln!(out, "{}", plain(&level)),
    })
}
