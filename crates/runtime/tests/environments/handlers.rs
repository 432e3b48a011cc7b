//! Handlers: what a bundle may have, what one is called with, and what is said of one that does not answer.

use crate::{Javascript, Python, bundle, call, file, set_up, try_call, try_set_up, words};
use hypervisor_runtime::{Bundle, Exit, Language};

/// Sets up one module and calls its handler with `{}`.
async fn answer(language: Language, source: &str) -> String {
    let state = set_up(language, bundle(&[(name(language), source)])).await;
    call(language, &state, "{}").await
}

/// The same of one that must fail, in its setup or when it is called: what it says.
async fn failure(language: Language, source: &str) -> String {
    let set_up = try_set_up(language, bundle(&[(name(language), source)])).await;
    match set_up.state {
        None => words(&set_up.outcome),
        Some(state) => words(&try_call(language, &state, "{}").await.outcome),
    }
}

fn name(language: Language) -> &'static str {
    match language {
        Language::Javascript => "main.ts",
        _ => "main.py",
    }
}

#[tokio::test]
async fn every_call_starts_from_what_the_setup_left() {
    let javascript = "let count = 41; export function handler() { return ++count; }";
    let python = "count = 41\ndef handler(event, context):\n    global count\n    count += 1\n    return count";
    for (language, source) in [(Javascript, javascript), (Python, python)] {
        let state = set_up(language, bundle(&[(name(language), source)])).await;
        for _ in 0..5 {
            assert_eq!(call(language, &state, "{}").await, "42");
        }
    }
}

#[tokio::test]
async fn a_handler_is_given_event_and_context_and_prints_beside_its_answer() {
    let javascript = "export async function handler(event: any, context: any) {\n\
         console.log('printed'); await new Promise((done) => setTimeout(done, 1));\n\
         return { sum: event.a + event.b, id: context.id, left: context.remaining() }; }";
    let python = "import asyncio\nasync def handler(event, context):\n    print('printed')\n    await asyncio.sleep(0.001)\n    \
         return {'sum': event['a'] + event['b'], 'id': context['id'], 'left': context.remaining()}";
    for (language, source) in [(Javascript, javascript), (Python, python)] {
        let state = set_up(language, bundle(&[(name(language), source)])).await;
        let (event, context) = (r#"{"a":1,"b":2}"#, r#"{"id":"x","deadline":1}"#);
        let called = crate::executor().call(language, &state, (event, context), Default::default());
        let called = called.await.unwrap();
        let value: serde_json::Value = serde_json::from_str(&called.value.unwrap()).unwrap();
        assert_eq!(value["sum"], 3);
        assert_eq!(value["id"], "x");
        assert_eq!(value["left"].as_f64(), Some(0.0));
        assert_eq!(called.outcome.stdout, b"printed\n");
    }
}

#[tokio::test]
async fn modules_import_each_other_by_paths_within_the_bundle() {
    let mut javascript = bundle(&[
        (
            "src/main.ts",
            "import { a } from './a.js'; import data from '../data.json'; import pad from 'left-pad';\n\
             export default async () => [a(), data.n, pad('x'), (await import('./lib')).name];",
        ),
        (
            "src/a.ts",
            "import { b } from './b.ts'; export const a = (): string => 'a' + b();",
        ),
        (
            "src/b.ts",
            "import { a } from './a'; export const b = () => typeof a;",
        ),
        ("src/lib/index.js", "export const name = 'lib';"),
        ("data.json", r#"{"n": "\u2028\"'\\"}"#),
    ]);
    javascript.packages = vec![file("left-pad.js", b"export default (it) => ' ' + it;")];
    let state = set_up(Javascript, javascript).await;
    let said: serde_json::Value =
        serde_json::from_str(&call(Javascript, &state, "{}").await).unwrap();
    assert_eq!(
        said,
        serde_json::json!(["afunction", "\u{2028}\"'\\", " x", "lib"])
    );
    let python = bundle(&[
        (
            "main.py",
            "from pkg.sub import name\nimport helper\ndef handler(e, c): return [name, helper.__name__]",
        ),
        ("pkg/__init__.py", ""),
        ("pkg/sub.py", "from . import other\nname = other.x + 'sub'"),
        ("pkg/other.py", "x = 'pkg.'"),
        ("helper.py", ""),
    ]);
    let state = set_up(Python, python).await;
    assert_eq!(call(Python, &state, "{}").await, r#"["pkg.sub", "helper"]"#);
}

#[tokio::test]
async fn nothing_leads_out_of_a_bundle() {
    for name in ["../main.js", "/main.js", "a/../../main.js"] {
        let said = words(&try_set_up(Javascript, bundle(&[(name, "")])).await.outcome);
        assert!(said.contains("is no path in a bundle"), "{said}");
        let said = words(&try_set_up(Python, bundle(&[(name, "")])).await.outcome);
        assert!(said.contains("is no path in a bundle"), "{said}");
    }
    let said = failure(
        Javascript,
        "import '../../etc/passwd'; export default () => 1",
    )
    .await;
    assert!(
        said.contains("'../../etc/passwd'") && said.contains("not in the bundle"),
        "{said}"
    );
    let main = Bundle {
        main: "other.js".to_owned(),
        ..bundle(&[("main.js", "")])
    };
    let said = words(&try_set_up(Javascript, main).await.outcome);
    assert!(said.contains("'other.js' is not in the bundle"), "{said}");
}

#[tokio::test]
async fn what_is_no_handler_is_refused_when_it_is_set_up() {
    for (language, source, said) in [
        (Javascript, "export const other = 1", "exports no handler"),
        (
            Javascript,
            "export const handler = 1",
            "'handler' of 'main.ts' is no function",
        ),
        (Javascript, "export default 1; let x = ;", "SyntaxError"),
        (
            Javascript,
            "await new Promise(() => {}); export default () => 1",
            "nothing can settle",
        ),
        (
            Javascript,
            "throw 7; export default () => 1",
            "Uncaught Error: 7",
        ),
        (Python, "other = 1", "defines no handler"),
        (Python, "handler = 1", "is no function"),
        (Python, "def handler(:", "SyntaxError"),
        (Python, "1 / 0", "ZeroDivisionError"),
        (Python, "import nothing_of_the_kind", "No module named"),
    ] {
        let set_up = try_set_up(language, bundle(&[(name(language), source)])).await;
        assert!(set_up.state.is_none(), "{source}");
        let words = words(&set_up.outcome);
        assert!(words.contains(said), "{source}: {words}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_json_and_none_at_all_are_named() {
    for (language, source, said) in [
        (
            Javascript,
            "export default () => () => 1",
            "has no form in JSON",
        ),
        (
            Javascript,
            "export default () => { const a = {}; a.a = a; return a; }",
            "circular",
        ),
        (Javascript, "export default () => 1n", "BigInt"),
        (
            Javascript,
            "export default () => new Promise(() => {})",
            "the handler waits for a promise that nothing can settle",
        ),
        (
            Javascript,
            "export default () => { throw { a: 1 }; }",
            "Uncaught Error: { a: 1 }",
        ),
        (
            Javascript,
            "export default async () => { throw new RangeError('no'); }",
            "RangeError: no",
        ),
        (
            Javascript,
            "export default () => process.exit(0)",
            "ended itself",
        ),
        (
            Python,
            "def handler(e, c): return handler",
            "not JSON serializable",
        ),
        (
            Python,
            "def handler(e, c):\n    a = []\n    a.append(a)\n    return a",
            "Circular",
        ),
        (
            Python,
            "def handler(e, c): return float('nan')",
            "not JSON compliant",
        ),
        (
            Python,
            "import asyncio\nasync def handler(e, c): await asyncio.get_running_loop().create_future()",
            "nothing can bring about",
        ),
        (
            Python,
            "def handler(e, c): raise KeyError('x')",
            "KeyError: 'x'",
        ),
        (
            Python,
            "import sys\ndef handler(e, c): sys.exit(0)",
            "ended itself",
        ),
    ] {
        let words = failure(language, source).await;
        assert!(words.contains(said), "{source}: {words}");
    }
    assert_eq!(answer(Javascript, "export default () => {}").await, "null");
    assert_eq!(answer(Python, "def handler(e, c): pass").await, "null");
}

#[tokio::test]
async fn tracebacks_name_the_lines_of_what_was_sent() {
    let source = "interface A {\n  a: string;\n}\nexport function handler(event: A): never {\n  throw new TypeError('bad');\n}";
    let words = failure(Javascript, source).await;
    assert!(words.contains("handler (main.ts:5:"), "{words}");
    let words = failure(
        Python,
        "def handler(event, context):\n    return event['a']",
    )
    .await;
    assert!(
        words.contains("File \"main.py\", line 2, in handler"),
        "{words}"
    );
    assert!(!words.contains("runtime.py"), "{words}");
}

#[tokio::test]
async fn a_pure_wheel_is_imported_from_memory_and_a_native_one_refused_by_name() {
    let wheel = zip(&[
        (
            "greet/__init__.py",
            "from importlib.resources import files\nword = files(__name__).joinpath('word.txt').read_text()",
        ),
        ("greet/word.txt", "hello"),
        (
            "greet-1.2.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: greet\nVersion: 1.2\n",
        ),
    ]);
    let source = "import greet, importlib.metadata\ndef handler(e, c): return [greet.word, importlib.metadata.version('greet')]";
    let mut with = bundle(&[("main.py", source)]);
    with.packages = vec![file("greet-1.2-py3-none-any.whl", &wheel)];
    let state = set_up(Python, with).await;
    assert_eq!(call(Python, &state, "{}").await, r#"["hello", "1.2"]"#);
    let hidden = zip(&[("fast/_c.cpython-314-x86_64-linux-gnu.so", "")]);
    for (name, content) in [
        ("numpy-2.3.0-cp314-cp314-manylinux_2_28_x86_64.whl", &wheel),
        ("fast-1.0-py3-none-any.whl", &hidden),
    ] {
        let mut with = bundle(&[("main.py", source)]);
        with.packages = vec![file(name, content)];
        let said = words(&try_set_up(Python, with).await.outcome);
        assert!(said.contains(name) && said.contains("is native"), "{said}");
    }
}

#[tokio::test]
async fn the_setup_runs_before_the_main_module() {
    let mut javascript = bundle(&[("main.js", "export default () => globalThis.ready")]);
    javascript.setup = Some("globalThis.ready = await Promise.resolve('yes')".to_owned());
    let state = set_up(Javascript, javascript).await;
    assert_eq!(call(Javascript, &state, "{}").await, r#""yes""#);
    let mut python = bundle(&[(
        "main.py",
        "import builtins\ndef handler(e, c): return builtins.ready",
    )]);
    python.setup = Some("import builtins\nbuiltins.ready = 'yes'".to_owned());
    let state = set_up(Python, python).await;
    assert_eq!(call(Python, &state, "{}").await, r#""yes""#);
}

#[tokio::test]
async fn without_a_main_module_there_is_no_handler() {
    let state = set_up(Javascript, Bundle::default()).await;
    let said = words(&try_call(Javascript, &state, "{}").await.outcome);
    assert!(said.contains("there is no handler"), "{said}");
    assert_ne!(
        Exit::Ok,
        try_call(Javascript, &state, "{}").await.outcome.exit
    );
}

/// An archive of these files, not compressed.
fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let half = |number: usize| u16::try_from(number).unwrap().to_le_bytes();
    let word = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    for (name, text) in files {
        let at = archive.len();
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend_from_slice(&crc(text.as_bytes()).to_le_bytes());
        common.extend_from_slice(&word(text.len()));
        common.extend_from_slice(&word(text.len()));
        common.extend_from_slice(&half(name.len()));
        common.extend_from_slice(&half(0));
        archive.extend_from_slice(b"PK\x03\x04");
        archive.extend_from_slice(&common);
        archive.extend_from_slice(name.as_bytes());
        archive.extend_from_slice(text.as_bytes());
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&word(at));
        directory.extend_from_slice(name.as_bytes());
    }
    let start = archive.len();
    archive.extend_from_slice(&directory);
    archive.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    archive.extend_from_slice(&half(files.len()));
    archive.extend_from_slice(&half(files.len()));
    archive.extend_from_slice(&word(directory.len()));
    archive.extend_from_slice(&word(start));
    archive.extend_from_slice(&half(0));
    archive
}

/// The sum that archives have of a file.
fn crc(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}
