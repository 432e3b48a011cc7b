//! Turns a `wasm32-wasip1` command module into a component with the published preview 1 adapter.

use std::borrow::Cow;

use hypervisor_protocol::Rejection;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
};
use wit_component::ComponentEncoder;

use hypervisor_wasm_check::{Inspection, Kind, Refusal, inspect};

/// A component ready for the compiler, and what it is made of.
pub(super) struct Adapted<'a> {
    pub(super) component: Cow<'a, [u8]>,
    pub(super) inspection: Inspection,
}

/// Checks that `program` can run as a command and gives the component to compile.
pub(super) fn command_component(program: &[u8]) -> Result<Adapted<'_>, Refusal> {
    let inspection = inspect(program)?;
    inspection.require_command()?;
    match inspection.kind {
        Kind::Component => Ok(Adapted {
            component: Cow::Borrowed(program),
            inspection,
        }),
        Kind::Preview1Module => {
            let component = adapt(program).map_err(|e| {
                Refusal::new(
                    Rejection::InvalidComponent,
                    format!("the core module cannot be adapted: {e}"),
                )
            })?;
            let adapted = inspect(&component)?;
            adapted.require_command()?;
            Ok(Adapted {
                component: Cow::Owned(component),
                inspection: adapted,
            })
        }
    }
}

fn adapt(module: &[u8]) -> Result<Vec<u8>, String> {
    let encode = || {
        ComponentEncoder::default()
            .validate(true)
            .module(module)?
            .adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
            )?
            .encode()
    };
    encode().map_err(|e| format!("{e:#}"))
}
