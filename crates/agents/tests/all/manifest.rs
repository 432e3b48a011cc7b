//! Manifests: what is read, what is refused, and what no message or `Debug` shows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::time::Duration;

use bytesize::ByteSize;
use hypervisor_agents::manifest::{MAX_ENVIRONMENT, MAX_TEXT};
use hypervisor_agents::{Manifest, ManifestError, ManifestLimits};
use hypervisor_protocol::AgentWorld;
use proptest::prelude::*;

const FULL: &str = r#"
name = "weather"
description = "Tells the weather of a city."
version = "1.0.0"
world = "service"
skills = ["weather", "forecast"]
private = true
price = "0.01 USDC"
pay_to = "0x0000000000000000000000000000000000000001"
reuse = 16
outgoing = ["https://api.example.org", "https://*.example.com", "http://echo.agent.internal", "http://127.0.0.1:8081", "http://[::1]:80"]
[environment]
API_KEY = "hunter2"
_x9 = ""
[limits]
cpu = "5s"
wall = "30s"
memory = "64 MiB"
output = "1 MiB"
"#;

const LEAST: &str = "name = 'a'\ndescription = 'b'\nversion = '1'\n";

fn parse(text: &str) -> Result<Manifest, ManifestError> {
    Manifest::parse(text.as_bytes())
}

/// The message about the least manifest with these lines after it.
fn refused(lines: &str) -> String {
    parse(&format!("{LEAST}{lines}")).unwrap_err().to_string()
}

/// The message about a manifest in which one of the required keys is another.
fn refused_with(key: &str, value: &str) -> String {
    let text: String = LEAST
        .lines()
        .map(|line| match line.split_once(" = ") {
            Some((k, _)) if k == key => format!("{key} = {value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    parse(&text).unwrap_err().to_string()
}

#[test]
fn every_key_is_read() {
    let manifest = parse(FULL).unwrap();
    assert_eq!(manifest.name.as_str(), "weather");
    assert_eq!(manifest.description, "Tells the weather of a city.");
    assert_eq!(manifest.version, "1.0.0");
    assert_eq!(manifest.world, Some(AgentWorld::Service));
    assert_eq!(manifest.skills, ["weather", "forecast"]);
    assert!(manifest.private);
    assert_eq!(manifest.price.as_deref(), Some("0.01 USDC"));
    assert!(manifest.pay_to.unwrap().starts_with("0x"));
    assert_eq!(manifest.reuse, 16);
    assert_eq!(manifest.outgoing.len(), 5);
    assert_eq!(manifest.environment["API_KEY"], "hunter2");
    assert_eq!(
        manifest.limits,
        ManifestLimits {
            cpu: Some(Duration::from_secs(5)),
            wall: Some(Duration::from_secs(30)),
            memory: Some(ByteSize::mib(64)),
            output: Some(ByteSize::mib(1)),
        }
    );
}

#[test]
fn three_keys_are_enough() {
    let manifest = parse(LEAST).unwrap();
    assert_eq!(manifest.world, None);
    assert!(manifest.skills.is_empty() && manifest.outgoing.is_empty());
    assert!(!manifest.private && manifest.environment.is_empty());
    assert_eq!((manifest.price, manifest.pay_to), (None, None));
    assert_eq!(manifest.reuse, 1);
    assert_eq!(manifest.limits, ManifestLimits::default());
}

#[test]
fn a_missing_key_is_named() {
    for key in ["name", "description", "version"] {
        let text: String = LEAST
            .lines()
            .filter(|line| !line.starts_with(key))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(
            parse(&text).unwrap_err().to_string(),
            format!("the manifest has no `{key}`; every agent has one")
        );
    }
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_name() {
    assert_eq!(
        refused("skils = []"),
        "the manifest: unknown key `skils`; did you mean `skills`?"
    );
    assert_eq!(
        refused("[limits]\nmemroy = '1 MiB'"),
        "the manifest: unknown key `limits.memroy`; did you mean `limits.memory`?"
    );
    assert_eq!(refused("zzz = 1"), "the manifest: unknown key `zzz`");
}

#[test]
fn an_unknown_key_is_shown_short_and_without_control_characters() {
    let message = refused(&format!("\"\\u001b[31m{}\" = 1", "k".repeat(10_000)));
    assert!(message.len() < 200, "{message}");
    assert!(!message.contains('\u{1b}'), "{message}");
}

#[test]
fn a_wrong_type_names_the_line_and_the_key() {
    let message = refused("private = 'yes'");
    assert!(message.contains("line 4"), "{message}");
    assert!(message.contains("private"), "{message}");
    let message = refused("[limits]\ncpu = 5");
    assert!(message.contains("line 5"), "{message}");
    assert!(message.contains("limits.cpu"), "{message}");
    let message = refused("skills = ['a', 1]");
    assert!(message.contains("skills"), "{message}");
}

#[test]
fn a_value_of_the_wrong_form_is_repeated_short_and_without_control_characters() {
    for line in [
        format!("world = \"\\u001b[31m{}\"", "w".repeat(10_000)),
        format!("[limits]\nmemory = \"\\u001b[31m{}\"", "m".repeat(10_000)),
        format!("[limits]\ncpu = \"\\u001b[31m{}\"", "m".repeat(10_000)),
    ] {
        let message = refused(&line);
        assert!(message.len() < 400, "{message}");
        assert!(!message.contains('\u{1b}'), "{message}");
    }
}

#[test]
fn what_is_not_toml_names_the_line() {
    assert!(refused("this is not").contains("line 4"));
    assert!(refused("name = 'again'").contains("line 4"));
}

#[test]
fn text_is_bounded_before_it_is_read() {
    let fill = |length: usize| {
        let mut text = LEAST.to_owned();
        text.push('#');
        text.extend(std::iter::repeat_n('x', length - text.len()));
        text
    };
    assert!(parse(&fill(MAX_TEXT)).is_ok());
    assert!(matches!(
        parse(&fill(MAX_TEXT + 1)),
        Err(ManifestError::TooLarge { .. })
    ));
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let error = Manifest::parse(b"name = '\xff'").unwrap_err();
    assert_eq!(error, ManifestError::NotUtf8(8));
}

#[test]
fn deep_nesting_is_refused() {
    refused(&format!("skills = {}", "[".repeat(30_000)));
    refused(&format!("x = {}1", "{a=".repeat(20_000)));
    refused(&format!("{}a = 1", "a.".repeat(30_000)));
}

#[test]
fn names_are_names() {
    assert!(refused_with("name", "'Weather'").starts_with("the manifest: name: a name holds 'W'"));
    assert!(refused_with("name", "'../weather'").contains("name: a name holds '.'"));
}

#[test]
fn descriptions_have_1_to_2000_characters_and_line_breaks() {
    let described = |text: &str| parse(&LEAST.replace("'b'", text));
    assert!(described(&format!("'{}'", "ß".repeat(2000))).is_ok());
    assert!(described("\"two\\nlines\"").is_ok());
    assert_eq!(
        refused_with("description", &format!("'{}'", "ß".repeat(2001))),
        "the manifest: description: 2001 characters, it may have 1 to 2000"
    );
    assert!(refused_with("description", "''").contains("0 characters"));
    for control in ["\\u001b", "\\u0000", "\\t", "\\r", "\\u0085"] {
        let message = refused_with("description", &format!("\"a{control}b\""));
        assert!(message.contains("control character"), "{message}");
    }
}

#[test]
fn versions_have_1_to_64_of_letters_digits_and_three_signs() {
    for version in ["1", "1.0.0-rc.1+build.5", &"9".repeat(64)] {
        assert!(parse(&LEAST.replace("'1'", &format!("'{version}'"))).is_ok());
    }
    for version in ["", "1 0", "1_0", "1/0", "ü", &"9".repeat(65)] {
        let message = refused_with("version", &format!("'{version}'"));
        assert!(message.starts_with("the manifest: version: "), "{message}");
    }
}

#[test]
fn worlds_are_two() {
    let world = |text: &str| parse(&format!("{LEAST}world = '{text}'"));
    assert_eq!(world("command").unwrap().world, Some(AgentWorld::Command));
    let message = world("daemon").unwrap_err().to_string();
    assert!(message.contains("`service` or `command`"), "{message}");
}

#[test]
fn skills_are_32_of_1_to_100_characters() {
    let skills = |count: usize, length: usize| {
        let skills = vec![format!("'{}'", "s".repeat(length)); count].join(",");
        parse(&format!("{LEAST}skills = [{skills}]"))
    };
    assert!(skills(32, 100).is_ok());
    let message = skills(33, 1).unwrap_err().to_string();
    assert_eq!(message, "the manifest: skills: 33 of them, at most 32");
    for length in [0, 101] {
        let message = skills(1, length).unwrap_err().to_string();
        assert!(
            message.starts_with("the manifest: skills[0]: "),
            "{message}"
        );
    }
    assert!(refused("skills = ['a', \"b\\n\"]").contains("skills[1]"));
}

#[test]
fn a_price_is_a_line_of_128_characters_that_the_payment_component_reads() {
    for price in ["0.01 USDC", "3 CREDIT", "one thank-you", &"9".repeat(128)] {
        assert!(parse(&format!("{LEAST}price = '{price}'")).is_ok());
    }
    for price in ["", &"9".repeat(129), "1\\nUSDC"] {
        let message = refused(&format!("price = \"{price}\""));
        assert!(message.starts_with("the manifest: price: "), "{message}");
    }
}

#[test]
fn an_account_is_visible_ascii() {
    for account in ["", "a b", "ä", &"a".repeat(129)] {
        assert!(refused(&format!("pay_to = '{account}'")).contains("pay_to: "));
    }
}

#[test]
fn a_media_type_is_one_or_refused() {
    for good in [
        "text/plain",
        "application/ld+json",
        "text/html; charset=utf-8",
    ] {
        let manifest = parse(&format!("{LEAST}media_type = '{good}'")).unwrap();
        assert_eq!(manifest.media_type.as_deref(), Some(good));
    }
    let long = format!("text/{}", "a".repeat(130));
    for bad in [
        "",
        "text",
        "/plain",
        "text/",
        "te xt/plain",
        "täxt/plain",
        &long,
    ] {
        assert!(refused(&format!("media_type = '{bad}'")).contains("media_type: "));
    }
}

#[test]
fn a_tool_has_a_path_and_perhaps_a_description_and_a_schema() {
    let tool = |lines: &str| parse(&format!("{LEAST}[tool]\n{lines}")).map(|it| it.tool.unwrap());
    let least = tool("").unwrap();
    assert_eq!((&*least.path, least.input_schema), ("/", None));
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}}}"#;
    let lines = format!("description = 'B'\npath = '/a?b=c'\ninput_schema = '{schema}'");
    let full = tool(&lines).unwrap();
    assert_eq!(full.description.as_deref(), Some("B"));
    assert_eq!(full.path, "/a?b=c");
    assert_eq!(full.input_schema.unwrap().to_string().len(), schema.len());
    assert_eq!(parse(LEAST).unwrap().tool, None);
}

#[test]
fn a_tool_that_no_client_could_take_is_refused() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"input_schema = '{{"type":"object","a":{open}{close}}}'"#)
    };
    assert!(parse(&format!("{LEAST}[tool]\n{}", nested(11))).is_ok());
    let long = format!(
        r#"input_schema = '{{"type":"object","a":"{}"}}'"#,
        "b".repeat(16 << 10)
    );
    let path = format!("path = '/{}'", "a".repeat(1024));
    for (line, key) in [
        ("description = ''", "description"),
        ("description = \"a\\u0007\"", "description"),
        (
            &*format!("description = '{}'", "a".repeat(1025)),
            "description",
        ),
        ("path = ''", "path"),
        ("path = 'a'", "path"),
        ("path = '//a'", "path"),
        ("path = '/a b'", "path"),
        ("path = '/a#b'", "path"),
        (&path, "path"),
        ("input_schema = '{'", "input_schema"),
        ("input_schema = '[]'", "input_schema"),
        ("input_schema = '{}'", "input_schema"),
        (r#"input_schema = '{"type":"string"}'"#, "input_schema"),
        (&nested(12), "input_schema"),
        (&nested(10_000), "input_schema"),
        (&long, "input_schema"),
    ] {
        let message = refused(&format!("[tool]\n{line}"));
        assert!(
            message.starts_with(&format!("the manifest: tool.{key}: ")),
            "{message}"
        );
    }
    assert!(refused("[tool]\npaht = '/'").contains("tool.path"));
}

#[test]
fn reuse_is_1_to_1024() {
    let reuse = |count: i64| parse(&format!("{LEAST}reuse = {count}")).map(|it| it.reuse);
    assert_eq!(reuse(1), Ok(1));
    assert_eq!(reuse(1024), Ok(1024));
    for count in [i64::MIN, -1, 0, 1025, i64::MAX] {
        let message = reuse(count).unwrap_err().to_string();
        assert_eq!(message, "the manifest: reuse: must be 1 to 1024");
    }
}

#[test]
fn origins_have_a_scheme_and_no_path() {
    for origin in [
        "example.org",
        "ftp://example.org",
        "HTTPS://example.org",
        "https://",
        "https://example.org/",
        "https://example.org/path",
        "https://example.org?q",
        "https://example.org#f",
        "https://user@example.org",
        "https://exämple.org",
        "https://example.org ",
        "https://a%2eb",
        "https://a\\\\b",
        "*",
    ] {
        let message = refused(&format!("outgoing = ['https://ok.org', '{origin}']"));
        assert!(message.contains("outgoing[1]: "), "{origin}: {message}");
    }
    let many = vec!["'https://a.org'"; 65].join(",");
    assert!(refused(&format!("outgoing = [{many}]")).contains("outgoing: 65 of them"));
    let long = format!("'https://{}.org'", "a".repeat(300));
    assert!(refused(&format!("outgoing = [{long}]")).contains("outgoing[0]"));
}

#[test]
fn variables_have_names_and_bounds() {
    for name in ["'9a'", "'a-b'", "'a b'", "''", "'ä'", "'a.b'", "'A='"] {
        let message = refused(&format!("[environment]\n{name} = 'x'"));
        assert!(message.contains("environment."), "{message}");
    }
    let many: String = (0..65).map(|n| format!("V{n} = ''\n")).collect();
    assert!(refused(&format!("[environment]\n{many}")).contains("environment: 65 variables"));
    let value = |length: usize| format!("{LEAST}[environment]\nV = '{}'", "x".repeat(length));
    assert!(parse(&value(MAX_ENVIRONMENT - 1)).is_ok());
    let message = parse(&value(MAX_ENVIRONMENT)).unwrap_err().to_string();
    assert!(message.contains("environment: 32769 bytes"), "{message}");
    assert!(refused("[environment]\nV = \"a\\u0000b\"").contains("environment.V: "));
}

#[test]
fn limits_are_above_0() {
    for (key, value) in [
        ("cpu", "0s"),
        ("wall", "0ms"),
        ("memory", "0 B"),
        ("output", "0 MiB"),
    ] {
        assert_eq!(
            refused(&format!("[limits]\n{key} = '{value}'")),
            format!("the manifest: limits.{key}: it must be above 0")
        );
    }
    for (key, value) in [
        ("cpu", "soon"),
        ("wall", "-1s"),
        ("memory", "much"),
        ("output", "-1 B"),
    ] {
        let message = refused(&format!("[limits]\n{key} = '{value}'"));
        assert!(message.contains(&format!("limits.{key}")), "{message}");
    }
}

#[test]
fn debug_shows_no_value_of_the_environment() {
    let manifest = parse(FULL).unwrap();
    let shown = format!("{manifest:?} {manifest:#?}");
    assert!(shown.contains("API_KEY"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn no_message_shows_a_value_of_the_environment() {
    let texts = [
        "[environment]\nK = 'hunter2",
        "[environment]\nK = 'hunter2' hunter2",
        "[environment]\nK = 'hunter2'\nK = 'hunter2'",
        "[environment]\nK = ['hunter2']",
        "[environment]\nK = { a = 'hunter2' }",
        "[environment]\nK = 22222222",
        "[environment]\n9 = 'hunter2'",
        "[environment]\nK = \"hunter2\\u0000\"",
        "[environment]\nK = \"hunter2\\q\"",
        "[environment]\nK = hunter2",
        "[environment]\nK = truehunter2",
        "[environment]\nK = 1979-05-27hunter2",
        "[environment]\nK = \"\"\"\nhunter2\nhunter2",
        "[environment]\nK = \"x\"hunter2",
        "[environment]\nK =\nhunter2",
        "environment = 'hunter2'",
        "environment = ['hunter2']",
    ];
    for text in texts {
        let message = refused(text);
        let error = format!("{message} {:?}", parse(&format!("{LEAST}{text}")));
        assert!(!error.contains("hunter2"), "{error}");
        assert!(!error.contains("22222222"), "{error}");
    }
}

#[test]
fn an_equal_text_is_an_equal_manifest() {
    assert_eq!(parse(FULL).unwrap(), parse(FULL).unwrap());
    assert_ne!(
        parse(FULL).unwrap(),
        parse(&FULL.replace("hunter2", "hunter3")).unwrap()
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Manifest::parse(&bytes);
    }

    #[test]
    fn text_that_looks_like_a_manifest_is_read_or_refused(
        lines in prop::collection::vec("(name|version|description|skills|price|reuse|outgoing|limits|cpu|environment|\\[limits\\]|\\[environment\\])? ?=? ?(['\"\\[\\]{}a-z0-9 .:/-]{0,20})", 0..12)
    ) {
        let _ = parse(&lines.join("\n"));
    }

    #[test]
    fn an_altered_manifest_is_within_bounds_or_refused(at in 0..FULL.len(), value: u8) {
        let mut bytes = FULL.as_bytes().to_vec();
        bytes[at] = value;
        if let Ok(manifest) = Manifest::parse(&bytes) {
            prop_assert!((1..=2000).contains(&manifest.description.chars().count()));
            prop_assert!((1..=64).contains(&manifest.version.len()));
            prop_assert!((1..=1024).contains(&manifest.reuse));
            prop_assert!(manifest.skills.iter().all(|skill| (1..=100).contains(&skill.chars().count())));
            prop_assert!(manifest.outgoing.iter().all(|origin| origin.starts_with("http")));
        }
    }

    #[test]
    fn values_are_read_as_they_were_written(
        description in "[^\\p{Cc}]{1,100}",
        skills in prop::collection::vec("[^\\p{Cc}]{1,20}", 0..5),
        value in "[^\\p{Cc}]{0,50}",
        reuse in 1_u32..=1024,
    ) {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = skills.iter().map(|skill| quoted(skill)).collect::<Vec<_>>().join(",");
        let text = format!(
            "name = 'a'\ndescription = {}\nversion = '1'\nskills = [{list}]\nreuse = {reuse}\n[environment]\nV = {}",
            quoted(&description), quoted(&value),
        );
        let manifest = parse(&text).unwrap();
        prop_assert_eq!(manifest.description, description);
        prop_assert_eq!(manifest.skills, skills);
        prop_assert_eq!(manifest.reuse, reuse);
        prop_assert_eq!(&manifest.environment["V"], &value);
    }
}
