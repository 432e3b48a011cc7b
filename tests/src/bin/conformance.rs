//! Runs programs of test262 inside the JavaScript component and in the bare engine, prints both rates, and fails where the component's
//! is worse: `conformance SUITE ENGINE DIFFERENCES RESULTS [PREFIX]`, or `conformance --record SUITE ENGINE MANIFEST FILE`.
//!
//! SUITE is a folder of programs, ENGINE the program of `tests/native`, DIFFERENCES the list of programs that may fail inside, with reasons,
//! RESULTS a folder for what failed in words, and PREFIX the beginning of the names that are run. `--record` runs the bare engine alone, and
//! notes the line by which its MANIFEST takes it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use hypervisor_tests::Host;
use hypervisor_tests::conformance::{
    Corpus, Differences, Error, Outcomes, engine_of, inside, is_pass, native, recorded,
};

/// The host as operators get it, with time for the longest programs.
const CONFIG: &str = "[limits]\ncpu = '60s'\nwall = '2m'\n";

/// What is listed by name of programs that nobody expected to differ.
const LISTED: usize = 200;

fn main() -> Result<ExitCode, Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--record", suite, engine, manifest, file] => {
            let programs = Corpus::read(suite.as_ref())?.programs("")?;
            let outcomes = native(engine.as_ref(), &programs, 2, |_| {})?;
            write(
                file.as_ref(),
                &recorded(&engine_of(manifest.as_ref())?, &outcomes),
            )?;
            say(&format!("{} recorded\n", outcomes.len()))?;
            Ok(ExitCode::SUCCESS)
        }
        [suite, engine, differences, results] => {
            compare(suite, engine, differences, results.as_ref(), "")
        }
        [suite, engine, differences, results, prefix] => {
            compare(suite, engine, differences, results.as_ref(), prefix)
        }
        _ => Err(Error::Content(
            "conformance SUITE ENGINE DIFFERENCES RESULTS [PREFIX]".to_owned(),
        )),
    }
}

fn compare(
    suite: &str,
    engine: &str,
    differences: &str,
    results: &Path,
    prefix: &str,
) -> Result<ExitCode, Error> {
    let differences = Differences::read(differences.as_ref())?;
    let corpus = Corpus::read(suite.as_ref())?;
    let programs = corpus.programs(prefix)?;
    say(&format!("{} runs of programs that apply\n", programs.len()))?;
    for (reason, count) in corpus.skipped() {
        say(&format!("{count} files left out: {reason}\n"))?;
    }
    let at_once = std::thread::available_parallelism().map_or(2, usize::from);

    let began = Instant::now();
    let bare = native(engine.as_ref(), &programs, at_once, told("engine"))?;
    say(&rate("the engine by itself", &bare, began))?;
    write(&results.join("native.txt"), &in_words(&bare))?;

    let began = Instant::now();
    let host = Host::logging(
        "error",
        &format!(
            "{CONFIG}[environments]\nsetup = true\n[runtime.javascript]\n{}",
            hypervisor_tests::programs::javascript_plugin()
        ),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Content(format!("async runtime: {error}")))?;
    let within = runtime.block_on(inside(
        host.url(),
        &programs,
        2 * at_once,
        told("component"),
    ))?;
    say(&rate("inside the component", &within, began))?;
    write(&results.join("inside.txt"), &in_words(&within))?;

    verdict(&bare, &within, &differences, prefix.is_empty())
}

fn verdict(
    bare: &Outcomes,
    within: &Outcomes,
    differences: &Differences,
    is_whole: bool,
) -> Result<ExitCode, Error> {
    let passed = |outcomes: &Outcomes, name: &str| outcomes.get(name).is_some_and(|it| is_pass(it));
    let better = bare
        .keys()
        .filter(|name| !passed(bare, name) && passed(within, name))
        .count();
    let worse: Vec<&str> = bare
        .keys()
        .map(String::as_str)
        .filter(|name| passed(bare, name) && !passed(within, name))
        .collect();
    let (known, new): (Vec<&str>, Vec<&str>) = worse
        .iter()
        .partition(|name| differences.reason(name).is_some());
    let reasons: BTreeSet<_> = known
        .iter()
        .filter_map(|name| differences.reason(name))
        .collect();
    say(&format!(
        "{better} pass inside alone; {} pass in the engine alone, {} of them as listed:\n",
        worse.len(),
        known.len()
    ))?;
    for reason in reasons {
        let of = known
            .iter()
            .filter(|name| differences.reason(name) == Some(reason));
        say(&format!("{:6}  {reason}\n", of.count()))?;
    }
    for name in new.iter().take(LISTED) {
        let outcome = within.get(*name).map_or("not run", String::as_str);
        say(&format!("WORSE   {name}: {outcome}\n"))?;
    }
    let unused = differences.unused(&worse);
    for name in unused.iter().filter(|_| is_whole) {
        say(&format!("listed, and no worse: {name}\n"))?;
    }
    Ok(match new.is_empty() {
        true => ExitCode::SUCCESS,
        false => {
            say(&format!(
                "conformance: {} programs are worse inside, and not listed\n",
                new.len()
            ))?;
            ExitCode::FAILURE
        }
    })
}

fn rate(who: &str, outcomes: &Outcomes, began: Instant) -> String {
    let passed = outcomes.values().filter(|it| is_pass(it)).count();
    let percent = 100.0 * passed as f64 / outcomes.len().max(1) as f64;
    let seconds = began.elapsed().as_secs();
    format!(
        "{who}: {passed} of {} pass, {percent:.2} %, in {seconds} s\n",
        outcomes.len()
    )
}

/// What did not pass, with what it said.
fn in_words(outcomes: &Outcomes) -> String {
    let failed = outcomes.iter().filter(|(_, outcome)| !is_pass(outcome));
    failed
        .map(|(name, outcome)| format!("{name}: {outcome}\n"))
        .collect()
}

/// Tells on standard error how far it is.
fn told(who: &'static str) -> impl Fn(usize) {
    move |count| {
        if count.is_multiple_of(5000) {
            // Nobody may be listening.
            let _ = writeln!(std::io::stderr(), "{who}: {count}");
        }
    }
}

fn say(text: &str) -> Result<(), Error> {
    let mut output = std::io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    written.map_err(|source| Error::File {
        path: "standard output".into(),
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(path, text))
        .map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })
}
