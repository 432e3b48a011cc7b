//! Isolation: every execution has an instance of its own.

use std::sync::Arc;

use hypervisor_client::Program;
use hypervisor_tests::Host;
use hypervisor_tests::programs::{guest, python_plugin};
use tokio::task::JoinSet;

use crate::python::stdout;

/// Runs `first` and then `second` a few times over, so that the second meets memory that the first has had.
async fn after(first: &str, second: &str) {
    let host = Host::with_python("");
    for _ in 0..4 {
        stdout(&host.python(first).await);
        assert_eq!(stdout(&host.python(second).await), "clean\n");
    }
}

#[tokio::test]
async fn no_global_survives() {
    after(
        "assert 'secret' not in globals(); secret = 1; import __main__; __main__.other = 1",
        "import __main__; print('found' if {'secret', 'other'} & set(dir(__main__)) else 'clean')",
    )
    .await;
}

#[tokio::test]
async fn builtins_that_a_script_replaced_are_whole_again() {
    after(
        "import builtins; builtins.len = lambda x: 42; builtins.planted = 1; del builtins.sum; builtins.__import__ = None",
        "import builtins; assert len([]) == 0 and sum([1]) == 1; print('found' if hasattr(builtins, 'planted') else 'clean')",
    )
    .await;
}

#[tokio::test]
async fn modules_that_a_script_changed_are_whole_again() {
    after(
        "import sys, json, types, hypervisor, ftplib\njson.dumps = None\nhypervisor.digest = None\nsys.modules['planted'] = types.ModuleType('planted')\nsys.path.append('planted')\nsys.meta_path.clear()\nsys.modules['_engine.script'].run = sys.modules['_engine.entropy'].renew = None",
        "import sys, json, hypervisor\nassert json.dumps(1) == '1' and hypervisor.digest(b'')\nprint('found' if {'planted', 'ftplib'} & sys.modules.keys() or sys.path else 'clean')\nimport ftplib",
    )
    .await;
}

#[tokio::test]
async fn settings_of_the_interpreter_are_the_usual_ones_again() {
    after(
        "import sys, os, decimal, locale, random, gc, atexit, signal\ndecimal.getcontext().prec = 3\ndecimal.DefaultContext.prec = 3\nsys.setrecursionlimit(77)\nos.environ['PLANTED'] = '1'\ngc.disable()\nsys.stdout.reconfigure(encoding='utf-16')\nsys.excepthook = sys.displayhook = None\natexit.register(str)\nsys.settrace(lambda *a: None)\nsys.stdout.reconfigure(encoding='utf-8')",
        "import sys, os, decimal, gc\nassert decimal.getcontext().prec == 28 and sys.getrecursionlimit() == 1000\nassert gc.isenabled() and not os.environ and sys.stdout.encoding == 'utf-8'\nassert sys.excepthook is sys.__excepthook__ and sys.gettrace() is None\nprint('clean')",
    )
    .await;
}

#[tokio::test]
async fn input_that_a_script_left_unread_is_not_the_next_ones() {
    let host = Host::with_python("");
    let session = host.session().await;
    for _ in 0..4 {
        let program = Program::new(b"input()")
            .stdin(b"first\nsecond\n")
            .argument("one");
        stdout(&session.run_python(program).await.unwrap());
        let script = b"import sys; print(repr(sys.stdin.read()), sys.argv)";
        let next = session.run_python(Program::new(script)).await.unwrap();
        assert_eq!(stdout(&next), "'' ['script.py']\n");
    }
}

#[tokio::test]
async fn fifty_scripts_at_once_each_get_their_own_answer() {
    let host = Host::with_python("");
    let session = Arc::new(host.session().await);
    let mut scripts = JoinSet::new();
    for i in 0..50_u64 {
        let session = Arc::clone(&session);
        scripts.spawn(async move {
            let program = Program::new(
                b"import sys, time\nn = int(sys.argv[1])\ntime.sleep(0.05)\nprint(n, sys.stdin.read())",
            );
            let input = format!("in {i}");
            let program = program.argument(i.to_string()).stdin(input.as_bytes());
            let execution = session.run_python(program).await.unwrap();
            assert_eq!(stdout(&execution), format!("{i} in {i}\n"));
        });
    }
    while let Some(ended) = scripts.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_host_that_keeps_no_instance_ready_runs_scripts_as_well() {
    let host = Host::with(&format!("[runtime.python]\nready = 0\n{}", python_plugin()));
    for i in 0..3 {
        let execution = host.python(&format!("print({i})")).await;
        assert_eq!(stdout(&execution), format!("{i}\n"));
    }
}

#[tokio::test]
async fn scripts_and_programs_run_in_the_same_session() {
    let host = Host::with_python("");
    let session = host.session().await;
    let script = session.run_python(Program::new(b"print('hello')")).await;
    let program = session.run_wasm(Program::new(&guest("hello"))).await;
    assert_eq!(script.unwrap().result, program.unwrap().result);
}
