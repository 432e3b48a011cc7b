//! The host's own process and its compilers, seen from other processes and by who breaks into a compiler.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use hypervisor_client::protocol::Exit;
use hypervisor_client::{Client, Program};
use hypervisor_tests::eventually;
use hypervisor_tests::host::binary;
use hypervisor_tests::programs::guest;

/// A process that ends with the test.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_compiler_gives_up_its_rights_before_it_reads_a_program() {
    let compiler = Command::new(binary("hypervisor"))
        .args(["compile-worker", "--address-space", "4294967296"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let compiler = Started(compiler);
    let folder = format!("/proc/{}", compiler.0.id());
    // Nothing was sent: what it has now is what it will read the program with.
    let status = eventually("a compiler that is confined", async || {
        let status = fs::read_to_string(format!("{folder}/status")).unwrap();
        status.contains("\nSeccomp:\t2\n").then_some(status)
    })
    .await;
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    let limits = fs::read_to_string(format!("{folder}/limits")).unwrap();
    for (limit, most) in [
        ("Max open files", "16"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(limit)).unwrap();
        let hard = line[limit.len()..].split_whitespace().nth(1);
        assert_eq!(hard, Some(most), "{line}");
    }
}

#[tokio::test]
async fn other_processes_of_the_same_user_cannot_read_the_hosts_memory() {
    const NOBODY: &str = "65534";
    let as_nobody = |program: &str, arguments: &[&str]| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .arg(program)
            .args(arguments);
        command
    };
    let readable = |pid: u32| {
        let file = format!("/proc/{pid}/environ");
        let read = as_nobody("cat", &[&file]).output().unwrap();
        read.status.success()
    };
    // Without rights of its own this test cannot become another user.
    let Ok(sleeper) = as_nobody("sleep", &["60"]).spawn() else {
        eprintln!("SKIPPED: setpriv is not there");
        return;
    };
    let mut sleeper = Started(sleeper);
    let sleeps = eventually("a process of another user", async || {
        let ended = sleeper.0.try_wait().unwrap();
        (ended.is_some() || readable(sleeper.0.id())).then_some(ended.is_none())
    })
    .await;
    if !sleeps {
        eprintln!("SKIPPED: this test cannot become another user");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let program = folder.path().join("hypervisor");
    fs::copy(binary("hypervisor"), &program).unwrap();
    let config = folder.path().join("hypervisor.toml");
    let text = format!(
        "listening = '127.0.0.1:0'\nexecutor_path = {:?}\napp_path = {:?}\n[limits]\nexecutions = 4\n",
        folder.path().join("state"),
        folder.path().join("agents")
    );
    fs::write(&config, text).unwrap();
    let host = as_nobody(
        program.to_str().unwrap(),
        &["--config", config.to_str().unwrap()],
    )
    .current_dir(folder.path())
    .stdout(Stdio::piped())
    .spawn()
    .unwrap();
    let mut host = Started(host);
    let mut line = String::new();
    let mut out = BufReader::new(host.0.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let url = line
        .trim()
        .strip_prefix("listening on ")
        .unwrap()
        .to_owned();
    for file in ["environ", "mem", "maps", "pagemap"] {
        let path = format!("/proc/{}/{file}", host.0.id());
        let read = as_nobody("head", &["-c", "1", &path]).output().unwrap();
        let said = String::from_utf8_lossy(&read.stderr).into_owned();
        assert!(said.contains("Permission denied"), "{file}: {said}");
    }
    // It compiles and runs programs all the same.
    let session = Client::new(&url).unwrap().open_session().await.unwrap();
    let done = session
        .run_wasm(Program::new(&guest("hello")))
        .await
        .unwrap();
    assert_eq!(done.report.exit, Exit::Ok);
}
