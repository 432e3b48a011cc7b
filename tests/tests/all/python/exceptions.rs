//! Exceptions: Python's own tracebacks, with the script's line numbers.

use crate::python::{raised, run, stderr};

#[tokio::test]
async fn an_uncaught_exception_is_pythons_own_traceback() {
    let error = raised("def divide(a, b):\n    return a / b\n\ndivide(1, 0)\n").await;
    let expected = r#"Traceback (most recent call last):
  File "<script>", line 4, in <module>
    divide(1, 0)
    ~~~~~~^^^^^^
  File "<script>", line 2, in divide
    return a / b
           ~~^~~
ZeroDivisionError: division by zero
"#;
    assert_eq!(error, expected);
}

#[tokio::test]
async fn output_before_an_uncaught_exception_is_kept() {
    let execution = run("import sys\nprint('out')\nprint('err', file=sys.stderr)\n1 / 0").await;
    assert_eq!(execution.result, b"out\n");
    assert!(stderr(&execution).starts_with("err\nTraceback (most recent call last):\n"));
}

#[tokio::test]
async fn the_cause_of_an_exception_is_shown() {
    let script =
        "try:\n    {}['key']\nexcept KeyError as e:\n    raise RuntimeError('outer') from e\n";
    let error = raised(script).await;
    for part in [
        "KeyError: 'key'\n\nThe above exception was the direct cause of the following exception:\n\n",
        "File \"<script>\", line 2, in <module>",
        "File \"<script>\", line 4, in <module>",
        "RuntimeError: outer\n",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn an_exception_of_the_scripts_own_with_text_that_is_not_ascii() {
    let error = raised("class Größer(Exception): pass\nraise Größer('ü \\ud800')").await;
    assert!(error.ends_with("\nGrößer: ü \\ud800\n"), "{error}");
}

#[tokio::test]
async fn an_exception_after_the_streams_are_gone_is_still_told() {
    let script =
        "import sys\nsys.stdout = sys.stderr = None\ndel sys.argv\nraise ValueError('told')";
    let error = raised(script).await;
    assert!(error.ends_with("ValueError: told\n"), "{error}");
}

#[tokio::test]
async fn an_exception_with_a_message_of_megabytes_is_cut_in_the_middle() {
    let error = raised("raise ValueError('a' * 5_000_000 + 'the end')").await;
    assert!(error.starts_with("Traceback (most recent call last):\n"));
    assert!(error.contains("characters left out") && error.ends_with("the end\n"));
    assert!(error.len() < 100_000, "{}", error.len());
}

#[tokio::test]
async fn a_syntax_error_is_shown_with_its_line() {
    let error = raised("print(1)\ndef f(:\n    pass\n").await;
    let expected = r#"  File "<script>", line 2
    def f(:
          ^
SyntaxError: invalid syntax
"#;
    assert_eq!(error, expected);
}

#[tokio::test]
async fn nothing_of_a_script_with_a_syntax_error_runs() {
    assert_eq!(run("print('ran')\n)").await.result, b"");
}

#[tokio::test]
async fn the_traceback_is_kept_when_standard_error_is_full() {
    let error =
        raised("import sys; sys.stderr.write('e' * (1 << 20)); raise ValueError('told')").await;
    assert!(error.ends_with("ValueError: told\n"));
}
