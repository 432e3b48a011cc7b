//! Manual pages and completions, as packages and people get them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use hypervisor_tests::host::binary;

fn run(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(binary(program))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    output
}

/// The commands that `--help` lists, `help` left out.
fn listed(program: &str, path: &[String]) -> Vec<String> {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = String::from_utf8(run(program, &arguments).stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:");
    commands
        .skip(1)
        .take_while(|line| !line.is_empty())
        // What a description continues on is indented further.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// Checks that this command and all below it have a page, and counts them.
fn pages(program: &str, path: &[String], folder: &Path) -> usize {
    let mut name = vec![program.to_owned()];
    name.extend_from_slice(path);
    let page = folder.join(format!("{}.1", name.join("-")));
    let text = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("no {}", page.display()));
    assert!(text.contains(".SH SYNOPSIS"), "{text}");
    let below = listed(program, path).into_iter().map(|next| {
        let mut path = path.to_vec();
        path.push(next);
        pages(program, &path, folder)
    });
    1 + below.sum::<usize>()
}

#[test]
fn every_command_has_a_manual_page_and_nothing_else_has() {
    for (program, of) in [
        ("hv", vec!["hv"]),
        ("hypervisor-ctl", vec!["hypervisor-ctl", "hypervisor"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        run(program, &["manual", folder.path().to_str().unwrap()]);
        let known: usize = of.iter().map(|it| pages(it, &[], folder.path())).sum();
        let files = std::fs::read_dir(folder.path()).unwrap();
        let written = files.filter(|file| {
            let name = file.as_ref().unwrap().file_name();
            Path::new(&name).extension().is_some_and(|it| it == "1")
        });
        assert_eq!(written.count(), known, "pages of {program}");
    }
}

#[test]
fn the_hosts_page_names_its_flags_and_not_what_it_starts_itself_as() {
    let folder = tempfile::tempdir().unwrap();
    run(
        "hypervisor-ctl",
        &["manual", folder.path().to_str().unwrap()],
    );
    let page = std::fs::read_to_string(folder.path().join("hypervisor.1")).unwrap();
    for word in ["listening", "HYPERVISOR_CONFIG"] {
        assert!(page.contains(word), "no {word} in:\n{page}");
    }
    assert!(!page.contains("worker"), "{page}");
}

#[test]
fn completions_of_bash_parse_and_offer_what_is_listed() {
    for program in ["hv", "hypervisor-ctl"] {
        let script = run(program, &["completions", "bash"]).stdout;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        std::fs::write(&file, &script).unwrap();
        // As readline asks: what may follow the program's name.
        let asked = format!(
            ". {file}; function=$(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             COMP_WORDS=({program} ''); COMP_CWORD=1; $function {program} '' {program}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file = file.display()
        );
        let bash = Command::new("bash").args(["-c", &asked]).output().unwrap();
        assert_eq!(bash.stderr, b"");
        let offered = String::from_utf8(bash.stdout).unwrap();
        let offered: Vec<&str> = offered.lines().collect();
        for command in listed(program, &[]) {
            assert!(
                offered.contains(&command.as_str()),
                "{command}: {offered:?}"
            );
        }
        for hidden in ["manual", "compile-worker"] {
            assert!(!offered.contains(&hidden), "{offered:?}");
        }
    }
}
