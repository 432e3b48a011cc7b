//! What a script is given, and what it gives back.

use hypervisor_client::Program;
use hypervisor_client::protocol::Exit;
use hypervisor_tests::Host;
use hypervisor_tests::programs::python_plugin;
use sha2::{Digest, Sha256};

use crate::python::{output, raised, run, stderr, stdout};

#[tokio::test]
async fn argv_is_the_scripts_name_and_the_arguments() {
    let session = Host::with_python("");
    let script = b"import sys, json; print(json.dumps(sys.argv))";
    let program = Program::new(script)
        .argument("-x")
        .argument("two words")
        .argument("grüße")
        .argument("");
    let execution = session.session().await.run_python(program).await.unwrap();
    let argv: Vec<String> = serde_json::from_str(&stdout(&execution)).unwrap();
    assert_eq!(argv, ["script.py", "-x", "two words", "grüße", ""]);
}

#[tokio::test]
async fn sixteen_thousand_arguments() {
    let host = Host::with_python("");
    let program = Program::new(b"import sys; print(len(sys.argv), sys.argv[-1])")
        .arguments((0..16_384).map(|i| i.to_string()));
    let execution = host.session().await.run_python(program).await.unwrap();
    assert_eq!(stdout(&execution), "16385 16383\n");
}

#[tokio::test]
async fn standard_input_as_text_and_as_bytes() {
    let host = Host::with_python("");
    let session = host.session().await;
    let program =
        Program::new(b"print(input(), [line.strip() for line in __import__('sys').stdin])")
            .stdin("erste\nzweite ü\ndritte\n".as_bytes());
    let execution = session.run_python(program).await.unwrap();
    assert_eq!(stdout(&execution), "erste ['zweite ü', 'dritte']\n");
    let script = b"import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])";
    let execution = session
        .run_python(Program::new(script).stdin(&[0, 0xff, b'a']))
        .await
        .unwrap();
    assert_eq!(execution.result, [b'a', 0xff, 0]);
}

#[tokio::test]
async fn standard_input_of_megabytes() {
    let host = Host::with_python("");
    let input = vec![7; 5_000_000];
    let program = Program::new(b"import sys; print(sum(sys.stdin.buffer.read()))").stdin(&input);
    let execution = host.session().await.run_python(program).await.unwrap();
    assert_eq!(stdout(&execution), "35000000\n");
}

#[tokio::test]
async fn without_standard_input_a_script_reads_end_of_file() {
    let error = raised("import sys; assert sys.stdin.read() == ''; input()").await;
    assert!(
        error.ends_with("EOFError: EOF when reading a line\n"),
        "{error}"
    );
}

#[tokio::test]
async fn standard_output_and_error_are_told_apart() {
    let execution =
        run("import sys; print('out ü'); print('err ü', file=sys.stderr); print('out again')")
            .await;
    assert_eq!(stdout(&execution), "out ü\nout again\n");
    assert_eq!(stderr(&execution), "err ü\n");
}

#[tokio::test]
async fn bytes_on_standard_output() {
    let execution = run("import sys; sys.stdout.buffer.write(bytes(range(256)))").await;
    assert_eq!(execution.report.exit, Exit::Ok);
    assert_eq!(execution.result, (0..=255).collect::<Vec<u8>>());
}

#[tokio::test]
async fn sys_exit_sets_the_exit_code() {
    let host = Host::with_python("");
    for (argument, expected) in [
        ("0", Exit::Ok),
        ("7", Exit::Code { code: 7 }),
        ("255", Exit::Code { code: 255 }),
        ("256", Exit::Ok),
        ("-1", Exit::Code { code: 255 }),
        ("True", Exit::Code { code: 1 }),
        ("None", Exit::Ok),
        ("", Exit::Ok),
    ] {
        let script = format!("import sys\nprint('before')\nsys.exit({argument})\nprint('after')");
        let execution = host.python(&script).await;
        assert_eq!(execution.report.exit, expected, "sys.exit({argument})");
        assert_eq!(execution.result, b"before\n");
        assert_eq!(stderr(&execution), "");
    }
}

#[tokio::test]
async fn sys_exit_with_a_message_writes_it_to_standard_error() {
    let execution = run("import sys; sys.exit('no input: ü')").await;
    assert_eq!(execution.report.exit, Exit::Code { code: 1 });
    assert_eq!(stderr(&execution), "no input: ü\n");
}

#[tokio::test]
async fn functions_registered_for_exit_run() {
    let script = "import atexit, sys; atexit.register(print, 'at exit'); sys.exit(3)";
    let execution = run(script).await;
    assert_eq!(execution.report.exit, Exit::Code { code: 3 });
    assert_eq!(execution.result, b"at exit\n");
}

#[tokio::test]
async fn a_script_is_the_main_module() {
    let script = "
import sys
def main():
    import __main__
    return __name__, __file__, __main__.main is main, sys.modules['__main__'].__dict__ is globals()
if __name__ == '__main__':
    print(*main())
";
    assert_eq!(output(script).await, "__main__ script.py True True\n");
}

#[tokio::test]
async fn source_that_is_not_ascii() {
    let script = "größe = '世界 🎉'\nprint(größe, len(größe))\n";
    assert_eq!(output(script).await, "世界 🎉 4\n");
}

#[tokio::test]
async fn source_with_a_byte_order_mark() {
    assert_eq!(output("\u{feff}print('marked')").await, "marked\n");
}

#[tokio::test]
async fn source_with_the_line_ends_of_another_system() {
    let script = "if True:\r\n    print('a')\r\nprint('b')\r\n";
    assert_eq!(output(script).await, "a\nb\n");
}

#[tokio::test]
async fn an_empty_script_does_nothing_well() {
    for script in ["", "\n", "# only a comment", "\u{feff}"] {
        let execution = run(script).await;
        assert_eq!(execution.report.exit, Exit::Ok);
        assert_eq!((stdout(&execution), stderr(&execution)), Default::default());
    }
}

#[tokio::test]
async fn a_script_of_a_megabyte_keeps_its_line_numbers() {
    let line = "x += 1  # padded, so that not too many lines make a megabyte\n";
    let lines = (1 << 20) / line.len() + 1;
    let script = format!("x = 0\n{}print(x)\n1 / 0\n", line.repeat(lines));
    let execution = run(&script).await;
    assert_eq!(execution.result, format!("{lines}\n").as_bytes());
    let place = format!("File \"<script>\", line {}, in <module>", lines + 3);
    assert!(
        stderr(&execution).contains(&place),
        "{}",
        stderr(&execution)
    );
}

#[tokio::test]
async fn the_report_names_the_digest_of_the_script() {
    let script = "print('measured')";
    let report = run(script).await.report;
    let digest = Sha256::digest(script);
    assert_eq!(report.program_digest.0.as_slice(), digest.as_slice());
}

#[tokio::test]
async fn the_clock_is_the_present_and_not_the_snapshots() {
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_micros()
    };
    let before = now();
    let there = output("import time; print(time.time_ns() // 1000)").await;
    assert!((before..=now()).contains(&there.trim().parse().unwrap()));
}

#[test]
fn the_pages_that_a_script_writes_to_are_learned_at_the_start() {
    let section = format!("[runtime.python]\n{}", python_plugin());
    let host = Host::logging("info,hypervisor_runtime=debug", &section);
    let log = host.log();
    let line = log
        .lines()
        .find(|line| line.contains("touched before they are read known="))
        .unwrap_or_else(|| panic!("{log}"));
    let number = |name: &str| -> usize {
        let (_, rest) = line.split_once(name).unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or_else(|_| panic!("{line}"))
    };
    // Most of them hold afterwards what they held before.
    assert!(number("found=") > number("known="), "{line}");
}
