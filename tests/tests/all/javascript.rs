//! Scripts in JavaScript and TypeScript: what one can rely on, what ends it, and what it cannot do to anyone else.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::process::Command;
use std::sync::Arc;

use hypervisor_client::Program;
use hypervisor_client::protocol::{Exit, LimitKind};
use hypervisor_tests::host::binary;
use hypervisor_tests::{Host, assert_limit};

use crate::attestation::{policy_text, simulator};
use crate::python::randomness::drawn;
use crate::python::{stderr, stdout, text};

/// Runs scripts in one session; each must end well and print the line beside it.
pub(crate) async fn print(scripts: &[(&str, &str)]) {
    let host = Host::with_javascript("");
    let session = host.session().await;
    for (script, line) in scripts {
        let ran = session
            .run_javascript(Program::new(script.as_bytes()))
            .await;
        assert_eq!(stdout(&ran.unwrap()), format!("{line}\n"), "{script}");
    }
}

/// Runs scripts in one session; each must end with exit code 1 and the text beside it on standard error.
pub(crate) async fn raise(scripts: &[(&str, &str)]) {
    let host = Host::with_javascript("");
    let session = host.session().await;
    for (script, words) in scripts {
        let ran = session
            .run_javascript(Program::new(script.as_bytes()))
            .await;
        let ran = ran.unwrap();
        assert_eq!(ran.report.exit, Exit::Code { code: 1 }, "{script}");
        assert_eq!(stderr(&ran), *words, "{script}");
    }
}

#[tokio::test]
async fn a_script_has_its_arguments_its_input_and_both_outputs() {
    let host = Host::with_javascript("");
    let script = r#"
        import { readFileSync } from "node:fs";
        console.log(process.argv.slice(2), readFileSync(0, "utf8"));
        console.error("to stderr");
        process.stdout.write(new Uint8Array([104, 105]));
        process.exit(4);
    "#;
    let program = Program::new(script.as_bytes())
        .arguments(["one", "two words"].map(|it| it.as_bytes().to_vec()))
        .stdin("ünput".as_bytes());
    let session = host.session().await;
    let ran = session.run_javascript(program).await.unwrap();
    assert_eq!(ran.report.exit, Exit::Code { code: 4 });
    assert_eq!(text(&ran.result), "[ 'one', 'two words' ] ünput\nhi");
    assert_eq!(stderr(&ran), "to stderr\n");
}

#[tokio::test]
async fn a_script_is_a_module_with_top_level_await_timers_and_promises() {
    print(&[
        (
            "console.log(await Promise.all([1, Promise.resolve(2)]))",
            "[ 1, 2 ]",
        ),
        (
            "const at = []; setTimeout(() => console.log(at.join()), 6); setTimeout(() => at.push('b'), 3); \
             queueMicrotask(() => at.push('a'));",
            "a,b",
        ),
        (
            "let n = 0; const every = setInterval(() => { if (++n === 3) { clearInterval(every); console.log(n); } });",
            "3",
        ),
        (
            "import { setTimeout as wait } from 'node:timers/promises'; console.log(await wait(1, 'waited'))",
            "waited",
        ),
        (
            "try { undeclared = 1 } catch (e) { console.log(e.name) }",
            "ReferenceError",
        ),
        ("process.exitCode = 0; console.log('end')", "end"),
    ])
    .await;
}

#[tokio::test]
async fn what_every_platform_has_is_there() {
    print(&[
        ("console.log('%s is %d', 'six', 6, { a: [1, { b: [{}] }] })", "six is 6 { a: [ 1, { b: [Array] } ] }"),
        ("const o = {}; o.o = o; console.log([1, , 3], o, new Map([['a', 1]]), -0, 1n, 'x')", "[ 1, <1 empty item>, 3 ] { o: [Circular] } Map(1) { 'a' => 1 } -0 1n x"),
        ("console.log(new TextDecoder().decode(new TextEncoder().encode('häß')), btoa('hello'), atob('aGVsbG8='))", "häß aGVsbG8= hello"),
        ("const d = new TextDecoder(); console.log(d.decode(new Uint8Array([226, 130]), { stream: true }) + d.decode(new Uint8Array([172])))", "€"),
        ("const u = new URL('/a?b=c%20d', 'https://ex.org:8443'); u.searchParams.append('e', 'f g'); console.log(u.href, u.port, u.searchParams.get('b'))", "https://ex.org:8443/a?b=c+d&e=f+g 8443 c d"),
        ("const v = { a: [new Date(0)], m: new Map([[1, new Set([2])]]) }; v.v = v; const c = structuredClone(v); console.log(c !== v, c.v === c, c.a[0].getTime(), c.m.get(1).has(2))", "true true 0 true"),
        ("try { structuredClone(() => 1) } catch (e) { console.log(e.name) }", "DataCloneError"),
        ("const h = await crypto.subtle.digest('SHA-256', new TextEncoder().encode('abc')); console.log(new Uint8Array(h).slice(0, 3).join())", "186,120,22"),
        ("import { digest } from 'hypervisor'; console.log(digest('abc', 'Keccak-256')[0])", "78"),
        ("const c = new AbortController(); c.signal.addEventListener('abort', () => console.log(c.signal.reason.name)); c.abort()", "AbortError"),
        ("console.log(/\\p{L}+/v.exec('héllo')[0], [1, 2].values().map((x) => x * 2).toArray(), typeof fetch, typeof require)", "héllo [ 2, 4 ] function undefined"),
    ])
    .await;
}

#[tokio::test]
async fn typescript_loses_its_types_and_keeps_its_lines() {
    print(&[(
        "enum Color { Red, Green }\ninterface P { name: string }\nclass A<T> { constructor(private readonly it: T) {} get(): T { return this.it } }\n\
         const p = { name: 'x' } satisfies P;\nconsole.log(p.name, Color[Color.Green], new A<number>(3).get() as number)",
        "x Green 3",
    )])
    .await;
    raise(&[(
        "interface A {\n  a: string;\n}\n\nfunction f(x: number): never {\n  throw new TypeError(`bad ${x}`);\n}\nf(3);",
        "Uncaught TypeError: bad 3\n    at f (<script>:6:30)\n    at <anonymous> (<script>:8:1)\n",
    )])
    .await;
}

#[tokio::test]
async fn an_error_that_is_left_ends_the_script_with_its_traceback() {
    raise(&[
        ("null.x", "Uncaught TypeError: cannot read property 'x' of null\n    at <anonymous> (<script>:1:1)\n"),
        ("throw { a: 1 }", "Uncaught Error: { a: 1 }\n"),
        ("throw undefined", "Uncaught Error: undefined\n"),
        ("Promise.reject(new RangeError('late')); setTimeout(() => console.log('never'), 5)", "Uncaught RangeError: late\n    at <anonymous> (<script>:1:20)\n"),
        ("setTimeout(() => { throw new Error('in a timer') })", "Uncaught Error: in a timer\n    at <anonymous> (<script>:1:30)\n"),
        ("await new Promise(() => {})", "Uncaught Error: the script ended at a top-level await that nothing can settle any more\n"),
        ("import net from 'node:net'", "Uncaught ReferenceError: could not load module 'node:net'\n"),
        ("let x = ;", "Uncaught SyntaxError: unexpected token in expression: ';'\n    at <script>:1:9\n"),
        ("const e = new Error('x'); e.name = { toString() { throw 1 } }; Object.defineProperty(e, 'stack', { get() { throw 2 } }); throw e", "Uncaught Error: x\n"),
    ])
    .await;
}

#[tokio::test]
async fn what_does_not_end_meets_its_limit_by_name() {
    let host = Host::with_javascript(
        "[limits]\ncpu = '300ms'\nwall = '4s'\nmemory = '64 MiB'\noutput = '4 KiB'\n",
    );
    let session = host.session().await;
    let run = async |script: &str| {
        let ran = session
            .run_javascript(Program::new(script.as_bytes()))
            .await;
        ran.unwrap().report
    };
    let limit = |report, which, allowed| assert_limit(&report, which, allowed);
    limit(run("for (;;);").await, LimitKind::Cpu, 300_000);
    limit(
        run("/(a+)+$/.test('a'.repeat(40) + 'b')").await,
        LimitKind::Cpu,
        300_000,
    );
    limit(
        run("await new Promise(() => setTimeout(() => {}, 1e9))").await,
        LimitKind::Wall,
        4_000_000,
    );
    limit(
        run("const all = []; for (;;) all.push(new Array(1e5).fill(1))").await,
        LimitKind::Memory,
        64 << 20,
    );
    limit(
        run("for (;;) console.log('x'.repeat(100))").await,
        LimitKind::Output,
        4 << 10,
    );
    let endless = "Math.min = () => Infinity; setTimeout(() => {})";
    limit(run(endless).await, LimitKind::Wall, 4_000_000);
    // Of calls, of data, and of the source itself, in either language.
    let (brackets, generics) = ("[".repeat(100_000), "A<".repeat(50_000));
    for deep in [
        "const f = () => f() + 1; f()",
        "JSON.parse('['.repeat(1e6))",
        &brackets,
        &format!("let x: {generics}"),
    ] {
        let exit = run(deep).await.exit;
        let is_stack = matches!(
            exit,
            Exit::Limit {
                which: LimitKind::Stack,
                ..
            }
        );
        assert!(is_stack, "{exit:?}");
    }
    let next = session
        .run_javascript(Program::new(b"console.log('next')"))
        .await;
    assert_eq!(stdout(&next.unwrap()), "next\n", "the next script runs");
}

#[tokio::test]
async fn two_hundred_instances_of_one_engine_share_nothing_of_chance() {
    const SCRIPT: &[u8] = br#"
        const hex = (bytes) => Array.from(bytes, (it) => it.toString(16)).join("");
        console.log(JSON.stringify({
            "Math.random": String(Math.random()),
            "getRandomValues": hex(crypto.getRandomValues(new Uint8Array(16))),
            "randomUUID": crypto.randomUUID(),
        }));
    "#;
    let host = Host::with_javascript("");
    let session = Arc::new(host.session().await);
    let drawn = drawn(|| {
        let session = Arc::clone(&session);
        async move { session.run_javascript(Program::new(SCRIPT)).await.unwrap() }
    })
    .await;
    let counts: Vec<_> = drawn
        .iter()
        .map(|(name, it)| (name.as_str(), it.len()))
        .collect();
    assert_eq!(
        counts,
        [
            ("Math.random", 200),
            ("getRandomValues", 200),
            ("randomUUID", 200)
        ]
    );
}

#[tokio::test]
async fn nothing_that_a_script_changes_reaches_the_next() {
    let host = Host::with_javascript("");
    let session = host.session().await;
    let vandal = "Array.prototype.push = null; Promise.prototype.then = null; globalThis.planted = 1; \
                  console.log = null; Math.random = () => 4; process.argv.push('planted');";
    for _ in 0..3 {
        let ran = session
            .run_javascript(Program::new(vandal.as_bytes()))
            .await;
        ran.unwrap();
        let look =
            "console.log(typeof planted, Math.random() < 1, process.argv.length, [1].push(2))";
        let seen = session.run_javascript(Program::new(look.as_bytes())).await;
        assert_eq!(stdout(&seen.unwrap()), "undefined true 2 2\n");
    }
}

#[tokio::test]
async fn the_attested_endpoint_proves_the_same_execution() {
    let host = Host::with_javascript(
        "[attestation]\nbackend = 'simulated'\nsimulated_seed = 'javascript'\n",
    );
    let script = tempfile::NamedTempFile::with_suffix(".ts").unwrap();
    std::fs::write(script.path(), "const n: number = 42; console.log(n)").unwrap();
    let run = |more: &[&str]| {
        let mut hv = Command::new(binary("hv"));
        hv.args(["--server", host.url(), "js"])
            .arg(script.path())
            .args(more);
        hv.output().unwrap()
    };
    assert_eq!(text(&run(&[]).stdout), "42\n");
    let simulator = simulator("javascript");
    let root = format!(
        "simulated = \"{}\"",
        const_hex::encode(simulator.fingerprint())
    );
    let policy = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(policy.path(), policy_text(&root, &simulator)).unwrap();
    let ran = run(&["--verify", policy.path().to_str().unwrap()]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    assert_eq!(text(&ran.stdout), "42\n");
}

#[tokio::test]
async fn a_host_without_the_engine_of_a_language_says_so() {
    let host = Host::with_python("");
    let session = host.session().await;
    let refused = session
        .run_javascript(Program::new(b"1"))
        .await
        .err()
        .unwrap();
    assert!(
        refused.to_string().contains("[runtime.javascript]"),
        "{refused}"
    );
}
