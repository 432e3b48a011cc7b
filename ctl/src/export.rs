//! `telemetry`: exporting what a serving host measures.

use std::io::{self, Write};

use hypervisor::parts::runtime;
use hypervisor_ctl::error::Error;
use hypervisor_ctl::output::plain;
use hypervisor_ctl::telemetry::{Exporter, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::{Cli, Telemetry};
use crate::serving;

pub(crate) fn telemetry(cli: &Cli, asked: &Telemetry) -> Result<(), Error> {
    let settings = Settings::read(&|name| std::env::var(name).ok())?;
    let say = |words: &str| {
        let _ = writeln!(io::stderr(), "{}", plain(words));
    };
    if settings.is_idle() {
        say(
            "nothing is to be exported, as OTEL_SDK_DISABLED or OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER say",
        );
        return Ok(());
    }
    let exporter = Exporter::new(serving::admin(cli, &asked.access)?, settings)?;
    runtime()?.block_on(async {
        if asked.once {
            return exporter.once(&say).await;
        }
        let (stop, stopped) = watch::channel(false);
        let mut terminated = signal(SignalKind::terminate()).map_err(|source| Error::Io {
            what: "waiting for signals",
            source,
        })?;
        let told = async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminated.recv() => {}
            }
            stop.send_replace(true);
        };
        tokio::join!(exporter.run(stopped, &say), told);
        Ok(())
    })
}
