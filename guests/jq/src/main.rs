//! A useful program as an agent: the jq language, on the jaq crates.
//!
//! ```text
//! hv run target/guests/jq.wasm --stdin catalogue.json -- -c '.items[] | {name, price}'
//! ```
//!
//! The whole input is in memory while it runs: 16 MB of small JSON objects take about 220 MB.
//!
//! Exit codes are jq's: 2 for a usage error or input that is not JSON, 3 for a filter that does not
//! compile, 5 for an error at run time; `halt` and `--exit-status` set others. A component says more
//! than success or failure through `exit-with-code` of `wasi:cli/exit`, which `std::process::exit`
//! does not call on this target.

mod filter;
mod options;

use std::env;
use std::fmt::Display;
use std::io::{self, BufWriter, Read, Write};
use std::iter;

use filter::{Filter, Output};
use jaq_json::{Val, read, write};
use jaq_std::input::{Inputs, RcIter};
use options::{Options, USAGE};

const USAGE_ERROR: u8 = 2;
const COMPILE_ERROR: u8 = 3;
const RUN_TIME_ERROR: u8 = 5;

/// Large outputs leave in few host calls.
const OUTPUT_BUFFER: usize = 64 * 1024;

fn main() {
    let _ = log::set_logger(&Messages).map(|()| log::set_max_level(log::LevelFilter::Debug));
    let code = run();
    if code != 0 {
        wasip2::cli::exit::exit_with_code(code);
    }
}

fn run() -> u8 {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) if options.help => {
            let _ = io::stdout().write_all(USAGE.as_bytes());
            return 0;
        }
        Ok(options) => options,
        Err(error) => {
            complain(format_args!("jq: error: {error}\n{USAGE}"));
            return USAGE_ERROR;
        }
    };
    let variables = match variables(&options) {
        Ok(variables) => variables,
        Err(error) => {
            complain(format_args!("jq: error: {error}"));
            return USAGE_ERROR;
        }
    };
    let filter = match Filter::compile(&options.filter, variables) {
        Ok(filter) => filter,
        Err(errors) => {
            for error in &errors {
                complain(format_args!("jq: error: {error}"));
            }
            let plural = if errors.len() == 1 { "" } else { "s" };
            complain(format_args!("jq: {} compile error{plural}", errors.len()));
            return COMPILE_ERROR;
        }
    };

    let mut text = Vec::new();
    if let Err(error) = io::stdin().lock().read_to_end(&mut text) {
        complain(format_args!("jq: error: reading standard input: {error}"));
        return USAGE_ERROR;
    }
    let inputs = RcIter::new(inputs(&text, &options));
    let mut out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
    let status = process(&options, &filter, &inputs, &mut out);
    match status.and_then(|status| out.flush().map(|()| status)) {
        Ok(status) => status,
        Err(error) => {
            complain(format_args!("jq: error: writing output: {error}"));
            USAGE_ERROR
        }
    }
}

/// `--arg`, `--argjson`, and `$ENV`, which is empty here.
fn variables(options: &Options) -> Result<Vec<(String, Val)>, String> {
    let mut variables = vec![("$ENV".to_owned(), Val::obj(Default::default()))];
    for variable in &options.variables {
        let value = if variable.is_json {
            read::parse_single(variable.value.as_bytes())
                .map_err(|error| format!("{}: not JSON: {error}", variable.name))?
        } else {
            Val::from(variable.value.clone())
        };
        variables.push((variable.name.clone(), value));
    }
    Ok(variables)
}

/// The values on standard input, parsed as they are asked for; after an error there are no more.
fn inputs<'a>(
    text: &'a [u8],
    options: &Options,
) -> Box<dyn Iterator<Item = Result<Val, String>> + 'a> {
    let values: Box<dyn Iterator<Item = Result<Val, String>> + 'a> =
        match (options.raw_input, options.slurp) {
            (true, true) => return Box::new(iter::once(Ok(Val::utf8_str(text.to_vec())))),
            (true, false) => {
                let text = text.strip_suffix(b"\n").unwrap_or(text);
                let lines = (!text.is_empty()).then(|| text.split(|byte| *byte == b'\n'));
                return Box::new(
                    lines
                        .into_iter()
                        .flatten()
                        .map(|line| Ok(Val::utf8_str(line.to_vec()))),
                );
            }
            (false, _) => Box::new(read::parse_many(text).map(|value| {
                value.map_err(|error| format!("standard input is not JSON: {error}"))
            })),
        };
    if options.slurp {
        let array = values.collect::<Result<Vec<_>, _>>();
        return Box::new(iter::once(array.map(|values| Val::Arr(values.into()))));
    }
    let mut values = Some(values);
    Box::new(iter::from_fn(move || {
        let value = values.as_mut()?.next();
        if !matches!(value, Some(Ok(_))) {
            values = None;
        }
        value
    }))
}

/// Runs the filter on every input and writes what it gives; returns the exit code.
fn process(
    options: &Options,
    filter: &Filter,
    inputs: Inputs<'_, Val>,
    out: &mut impl Write,
) -> io::Result<u8> {
    let mut status = 0;
    let mut last = None;
    let null = options.null_input.then_some(Ok(Val::Null));
    let rest = (!options.null_input).then_some(inputs);

    for input in null.into_iter().chain(rest.into_iter().flatten()) {
        let input = match input {
            Ok(input) => input,
            Err(error) => {
                complain(format_args!("jq: error: {error}"));
                return Ok(USAGE_ERROR);
            }
        };
        for output in filter.run(input, inputs) {
            match output {
                Output::Value(value) => {
                    print(options, &value, out)?;
                    last = Some(value);
                }
                Output::Error(Val::TStr(text)) => {
                    complain(format_args!(
                        "jq: error: {}",
                        String::from_utf8_lossy(&text)
                    ));
                    status = RUN_TIME_ERROR;
                    break;
                }
                Output::Error(value) => {
                    complain(format_args!("jq: error (not a string): {value}"));
                    status = RUN_TIME_ERROR;
                    break;
                }
                // An exit code is a byte, as everywhere.
                Output::Halt(code) => return Ok(code as u8),
            }
        }
    }

    Ok(match last {
        _ if status != 0 || !options.exit_status => status,
        None => 4,
        Some(Val::Null | Val::Bool(false)) => 1,
        Some(_) => 0,
    })
}

fn print(options: &Options, value: &Val, out: &mut impl Write) -> io::Result<()> {
    match value {
        Val::TStr(text) if options.raw_output || options.join_output => out.write_all(text)?,
        _ => {
            let format = write::Pp {
                indent: (!options.compact).then(|| "  ".to_owned()),
                sort_keys: options.sort_keys,
                // jq puts a space after the colon where it indents.
                sep_space: !options.compact,
                ..write::Pp::default()
            };
            write::write(out, &format, 0, value)?;
        }
    }
    if options.join_output {
        Ok(())
    } else {
        out.write_all(b"\n")
    }
}

/// A line on standard error; where that is cut short by a limit there is nothing left to do.
fn complain(message: impl Display) {
    let _ = writeln!(io::stderr(), "{message}");
}

/// Where `debug` and `stderr` of the filter write.
struct Messages;

impl log::Log for Messages {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        match record.level() {
            // `stderr` and `halt_error`: as it is, without a newline.
            log::Level::Error => {
                let _ = write!(io::stderr(), "{}", record.args());
            }
            _ => complain(format_args!("[\"DEBUG:\",{}]", record.args())),
        }
    }

    fn flush(&self) {}
}
