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
    for (template, commands) in [
        (
            "rust",
            "  cd weather\n  cargo build --release --target wasm32-wasip2\n  \
             hv deploy target/wasm32-wasip2/release/agent.wasm\n",
        ),
        (
            "python",
            "  cd weather\n  sh build.sh\n  hv deploy agent.wasm\n",
        ),
        (
            "js",
            "  cd weather && npm install\n  npm run build\n  hv deploy agent.wasm\n",
        ),
    ] {
        let output = hv(folder.path(), &["--template", template, "weather"]);
        assert_eq!(
            text(&output.stdout),
            format!("wrote weather; next:\n\n{commands}")
        );
        std::fs::remove_dir_all(folder.path().join("weather")).unwrap();
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
