//! What is kept of an environment: where it fits, what must not be in it, and what never reaches anybody else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::{
    Javascript, Python, another, bundle, call, evaluate, executor, set_up, try_call, try_set_up,
};
use hypervisor_protocol::LimitKind;
use hypervisor_runtime::{Bundle, CallInputs, CallLimits, Exit, MAX_STATE, State, StateError};

const COUNTING: &str = "export default () => 1";

#[tokio::test]
async fn of_two_hundred_clones_no_two_draw_the_same() {
    let javascript = "Math.random(); crypto.randomUUID();\n\
         export default () => [Math.random(), crypto.randomUUID(), crypto.getRandomValues(new Uint32Array(2)).join()]";
    let python = "import random, uuid, secrets, os, tempfile, sqlite3\nrandom.random(); uuid.uuid4(); uuid.uuid7()\n\
         names = tempfile._get_candidate_names(); next(names); base = sqlite3.connect(':memory:')\n\
         def handler(e, c):\n    return [random.random(), str(uuid.uuid4()), str(uuid.uuid7()), secrets.token_hex(8), os.urandom(8).hex(),\n        \
         next(tempfile._get_candidate_names()), base.execute('select random()').fetchone()[0], random.randrange(2**60)]";
    for (language, name, source) in [
        (Javascript, "main.js", javascript),
        (Python, "main.py", python),
    ] {
        let state = set_up(language, bundle(&[(name, source)])).await;
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let drawn: Vec<serde_json::Value> =
                serde_json::from_str(&call(language, &state, "{}").await).unwrap();
            for value in drawn {
                assert!(seen.insert(value.to_string()), "{value} was drawn twice");
            }
        }
    }
}

#[tokio::test]
async fn a_state_is_kept_as_bytes_and_goes_on_in_another_host_of_the_same_engine() {
    let other = another();
    for (language, name, source) in [
        (
            Javascript,
            "main.js",
            "const a = new Map([[1, 'one']]); export default () => a.get(1)",
        ),
        (
            Python,
            "main.py",
            "a = {1: 'one'}\ndef handler(e, c): return a[1]",
        ),
    ] {
        let state = set_up(language, bundle(&[(name, source)])).await;
        let state = State::from_bytes(&state.to_bytes()).unwrap();
        let answer = other.call(language, &state, ("{}", "{}"), CallInputs::default());
        assert_eq!(answer.await.unwrap().value.as_deref(), Some("\"one\""));
    }
}

#[tokio::test]
async fn a_state_of_another_engine_is_refused() {
    let state = set_up(Javascript, bundle(&[("main.js", COUNTING)])).await;
    let refused = executor().call(Python, &state, ("{}", "{}"), CallInputs::default());
    assert_eq!(refused.await.unwrap_err(), StateError::WrongEngine);
    let refused = executor().evaluate(Python, Some(&state), "1", CallInputs::default());
    assert_eq!(refused.await.unwrap_err(), StateError::WrongEngine);
}

#[tokio::test]
async fn a_state_taken_on_other_ground_is_refused() {
    let state = set_up(Javascript, bundle(&[("main.js", COUNTING)])).await;
    let mut bytes = state.to_bytes()[..].to_vec();
    // The digest of the base stands behind the one of the engine.
    bytes[8 + 48] ^= 1;
    let end = bytes.len() - 32;
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    let state = State::from_bytes(&bytes).unwrap();
    assert_eq!(
        executor().fits(Javascript, &state).unwrap_err(),
        StateError::WrongBase
    );
}

#[tokio::test]
async fn what_a_setup_leaves_is_capped() {
    let source = format!("const all = new Uint8Array({MAX_STATE} + 65536).fill(7); {COUNTING}");
    let set_up = try_set_up(Javascript, bundle(&[("main.js", &source)])).await;
    assert!(set_up.state.is_none());
    let Exit::Limit {
        which,
        used,
        allowed,
    } = set_up.outcome.exit
    else {
        panic!("{:?}", set_up.outcome.exit);
    };
    assert_eq!(which, LimitKind::State);
    assert!(used > allowed && allowed == MAX_STATE as u64);
}

#[tokio::test]
async fn a_setup_that_keeps_a_handle_of_the_host_is_refused_by_its_name() {
    let kept = "import hypervisor\nkey = hypervisor.SigningKey.generate()\ndef handler(e, c): pass";
    let set_up = try_set_up(Python, bundle(&[("main.py", kept)])).await;
    assert!(set_up.state.is_none());
    let Exit::Trap { reason } = &set_up.outcome.exit else {
        panic!("{:?}", set_up.outcome.exit);
    };
    assert!(reason.contains("signing-key"), "{reason}");
    // One that is closed again is nobody's business, and each call may have its own.
    let closed = "import hypervisor, sys\nhypervisor.SigningKey.generate().close()\nprint('x'); sys.stdin.read()\n\
         def handler(e, c): return len(hypervisor.SigningKey.generate().sign(b'x')) > 0";
    let state = crate::set_up(Python, bundle(&[("main.py", closed)])).await;
    assert_eq!(call(Python, &state, "{}").await, "true");
}

#[tokio::test]
async fn a_setup_may_print_and_read_and_so_may_its_handler() {
    let javascript = "import { readFileSync } from 'node:fs'; console.log('x'); console.error('y'); readFileSync(0);\n\
         export default () => { console.log('z'); return readFileSync(0, 'utf8') }";
    let python = "import sys\nprint('x'); print('y', file=sys.stderr); sys.stdin.read()\n\
         def handler(e, c): print('z'); return sys.stdin.read()";
    for (language, name, source) in [
        (Javascript, "main.js", javascript),
        (Python, "main.py", python),
    ] {
        let set_up = try_set_up(language, bundle(&[(name, source)])).await;
        assert_eq!(set_up.outcome.exit, Exit::Ok);
        assert_eq!(set_up.outcome.stdout, b"x\n");
        assert_eq!(set_up.outcome.stderr, b"y\n");
        let inputs = CallInputs {
            stdin: "typed".into(),
            ..CallInputs::default()
        };
        let state = set_up.state.unwrap();
        let called = executor()
            .call(language, &state, ("{}", "{}"), inputs)
            .await;
        let called = called.unwrap();
        assert_eq!(called.value.as_deref(), Some("\"typed\""));
        assert_eq!(called.outcome.stdout, b"z\n");
    }
}

#[tokio::test]
async fn memory_that_a_setup_grew_is_there_in_every_call() {
    let javascript = "const all = new Uint8Array(24 << 20).fill(7); export default () => all.at(-1) + all.length";
    let python = "all = b'7' * (24 << 20)\ndef handler(e, c): return all[-1] + len(all)";
    for (language, name, source, value) in [
        (Javascript, "main.js", javascript, 7 + (24 << 20)),
        (Python, "main.py", python, 55 + (24 << 20)),
    ] {
        let state = set_up(language, bundle(&[(name, source)])).await;
        assert!(state.size() > 24 << 20);
        assert_eq!(call(language, &state, "{}").await, value.to_string());
        let tight = CallInputs {
            limits: CallLimits {
                memory: Some(48 << 20),
                ..CallLimits::default()
            },
            ..CallInputs::default()
        };
        let called = executor().call(language, &state, ("{}", "{}"), tight).await;
        let exit = called.unwrap().outcome.exit;
        let is_memory = matches!(
            exit,
            Exit::Limit {
                which: LimitKind::Memory,
                ..
            }
        );
        assert!(is_memory || language == Javascript, "{exit:?}");
    }
}

#[tokio::test]
async fn a_small_environment_keeps_little() {
    for (language, name, source, most) in [
        (Javascript, "main.js", COUNTING, 1 << 20),
        (Python, "main.py", "def handler(e, c): return 1", 4 << 20),
    ] {
        let state = set_up(language, bundle(&[(name, source)])).await;
        assert!(state.size() < most, "{language}: {}", state.size());
    }
}

#[tokio::test]
async fn memory_that_a_setup_in_python_gave_back_is_not_kept() {
    let source = format!(
        "{}for size in (1_000, 20_000, 300_000):\n    dead = [b'7' * size for _ in range(12_000_000 // size)]\n    del dead\n\
         def handler(e, c): return 1\n",
        "# As long as a package is.\n".repeat(2_000)
    );
    let state = set_up(Python, bundle(&[("main.py", &source)])).await;
    assert!(state.size() < 4 << 20, "{}", state.size());
    assert_eq!(call(Python, &state, "{}").await, "1");
}

/// The pages of the next tenant are compared with those of an instance that ran nothing: whatever the one before left would be among
/// them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_tenant_is_found_in_the_next() {
    const CANARY: &str = "canary-7f3a91c2";
    let reversed: String = CANARY.chars().rev().collect();
    let hide = format!(
        "const it = [...'{reversed}'].reverse().join(''); const all = []; for (let n = 0; n < 20000; n++) all.push(it + n); "
    );
    let state = set_up(
        Javascript,
        bundle(&[(
            "main.js",
            &format!("{hide} export default () => all.length"),
        )]),
    )
    .await;
    let found = |state: &State| {
        let bytes = state.to_bytes();
        let canary = CANARY.as_bytes();
        bytes.windows(canary.len()).any(|it| it == canary)
    };
    assert!(found(&state));
    let tenant = tokio::spawn({
        let state = state.clone();
        async move {
            for _ in 0..60 {
                assert_eq!(call(Javascript, &state, "{}").await, "20000");
            }
        }
    });
    for turn in 0..60 {
        let source = format!("var mine = 'x'.repeat({turn})");
        let next = evaluate(Javascript, None, &source).await;
        assert!(!found(&next.state.unwrap()));
    }
    tenant.await.unwrap();
}

#[tokio::test]
async fn calls_have_limits_of_their_own() {
    let source = "export default (event) => { for (;;) if (event.ends) return 1; }";
    let state = set_up(Javascript, bundle(&[("main.js", source)])).await;
    let limits = CallLimits {
        cpu: Some(Duration::from_millis(50)),
        ..CallLimits::default()
    };
    let inputs = CallInputs {
        limits,
        ..CallInputs::default()
    };
    let called = executor()
        .call(Javascript, &state, ("{}", "{}"), inputs)
        .await
        .unwrap();
    assert!(matches!(
        called.outcome.exit,
        Exit::Limit {
            which: LimitKind::Cpu,
            allowed: 50_000,
            ..
        }
    ));
    assert_eq!(call(Javascript, &state, r#"{"ends":true}"#).await, "1");
    let trap = try_call(Javascript, &state, "{").await;
    assert_eq!(trap.outcome.exit, Exit::Code { code: 1 });
}

/// Figures for the documents: `cargo test --release … -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "measures, and decides nothing"]
async fn figures() {
    let table = "const table = Array.from({ length: 20000 }, (_, n) => ({ n, s: 'item ' + n })); export default async (e) => table[e.n].n";
    let jinja = "import json, html, string, decimal\ntable = [{'n': n, 's': f'item {n}'} for n in range(10000)]\ndef handler(e, c): return table[e['n']]['n']";
    for (language, what, name, source) in [
        (
            Javascript,
            "small",
            "main.js",
            "export default async (e) => e.n",
        ),
        (Javascript, "20,000 objects", "main.js", table),
        (
            Python,
            "small",
            "main.py",
            "def handler(e, c): return e['n']",
        ),
        (Python, "10,000 dicts", "main.py", jinja),
    ] {
        let bundle: Bundle = bundle(&[(name, source)]);
        let set_ups = times(11, async || {
            set_up(language, bundle.clone()).await;
        })
        .await;
        let state = set_up(language, bundle).await;
        let calls = times(201, async || {
            call(language, &state, r#"{"n":3}"#).await;
        })
        .await;
        let turns = times(51, async || {
            evaluate(language, Some(&state), "1 + 1").await;
        })
        .await;
        let size = state.size() / 1024;
        println!(
            "{language} {what}: setup {set_ups:?}, call {calls:?}, turn {turns:?}, state {size} KiB"
        );
    }
}

/// The median. Between two there is time for the stock of ready instances.
async fn times(count: usize, mut what: impl AsyncFnMut()) -> Duration {
    let mut all = Vec::new();
    for _ in 0..count {
        tokio::time::sleep(Duration::from_millis(12)).await;
        let began = Instant::now();
        what().await;
        all.push(began.elapsed());
    }
    all.sort();
    all[count / 2]
}
