//! One execution of a command: a fresh instance of a component that exports `wasi:cli/run`.

use hypervisor_protocol::Rejection;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::guest::Guest;
use super::outcome::{Exit, Inputs, Outcome};
use super::outgoing::Chain;
use super::sandbox::Sandboxes;

/// `argv[0]` of every program.
const PROGRAM_NAME: &str = "program";

/// Runs a command to its end or to a limit. `sha384` is that of its component. Dropping the future stops the guest.
pub(super) async fn run(
    pre: &CommandPre<Guest>,
    sandboxes: &Sandboxes,
    sha384: [u8; 48],
    inputs: Inputs,
    chain: Chain,
) -> Outcome {
    let argv: Vec<String> = std::iter::once(PROGRAM_NAME.to_owned())
        .chain(inputs.arguments)
        .collect();
    let mut sandbox = sandboxes.make(&argv);
    sandbox.set_stdin(inputs.stdin);
    sandbox.set_program(Some(sha384));
    sandbox.set_chain(chain);
    sandbox.set_budget(inputs.budget);
    sandbox.set_tap(inputs.tap);
    let ended = sandbox.call(async |store| {
        let command = pre.instantiate_async(&mut *store).await?;
        command.wasi_cli_run().call_run(store).await
    });
    let exit = match ended.await {
        Ok(Ok(())) => Exit::Ok,
        Ok(Err(())) => Exit::Code { code: 1 },
        Err(exit) => exit,
    };
    sandbox.finish(exit)
}

/// WASI passes arguments as strings, and C programs end them at a zero byte: anything else is refused, not altered.
pub fn arguments_from_bytes(arguments: Vec<Vec<u8>>) -> Result<Vec<String>, Exit> {
    let mut argv = Vec::with_capacity(arguments.len());
    for (index, argument) in arguments.into_iter().enumerate() {
        let refuse = |what: &str| Exit::Rejected {
            problem: Rejection::InvalidArgument,
            detail: format!(
                "argument {} {what}; pass binary data on standard input",
                index.saturating_add(1)
            ),
        };
        let text = String::from_utf8(argument)
            .map_err(|_| refuse("is not UTF-8, and WASI passes arguments as strings"))?;
        if text.contains('\0') {
            return Err(refuse("contains a zero byte"));
        }
        argv.push(text);
    }
    Ok(argv)
}
