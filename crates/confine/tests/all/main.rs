//! What a confined thread cannot do, and what it still can.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// Runs `what` in a thread that is confined.
fn confined<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let run = std::thread::spawn(|| {
        hypervisor_confine::thread();
        what()
    });
    run.join().unwrap()
}

#[test]
fn nothing_is_missing_on_a_kernel_of_today() {
    // Where this fails the other tests say nothing about the kernel that they run on.
    let missing = hypervisor_confine::missing();
    assert!(
        !missing.iter().any(|what| what.starts_with("seccomp")),
        "{missing:?}"
    );
}

#[test]
fn files_are_out_of_reach() {
    assert!(confined(|| std::fs::read("/etc/passwd").is_err()));
    assert!(confined(|| std::fs::read_dir("/").is_err()));
    assert!(confined(|| std::fs::File::create("/tmp/confined").is_err()));
    assert!(confined(|| std::fs::read("/proc/self/maps").is_err()));
}

#[test]
fn the_network_is_out_of_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert!(confined(move || TcpStream::connect(address).is_err()));
    assert!(confined(|| TcpListener::bind("127.0.0.1:0").is_err()));
    assert!(confined(|| UdpSocket::bind("127.0.0.1:0").is_err()));
    assert!(confined(|| UnixStream::pair().is_err()));
}

#[test]
fn processes_are_neither_started_nor_signalled_nor_looked_into() {
    assert!(confined(|| Command::new("/bin/true").spawn().is_err()));
    let parent = rustix::process::getppid();
    assert!(confined(move || {
        rustix::process::test_kill_process(parent.unwrap()).is_err()
    }));
}

#[test]
fn computing_goes_on_with_threads_memory_and_clocks() {
    let sum = confined(|| {
        let threads: Vec<_> = (0..4)
            .map(|part| std::thread::spawn(move || vec![part; 1 << 20].iter().sum::<u64>()))
            .collect();
        let began = std::time::Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(began.elapsed().as_micros() > 0);
        let sums = threads.into_iter().map(|thread| thread.join().unwrap());
        sums.sum::<u64>()
    });
    assert_eq!(sum, 6 << 20);
}

#[test]
fn a_thread_of_a_confined_thread_is_confined() {
    let nested = || {
        let inner = std::thread::spawn(|| std::fs::read("/etc/passwd").is_err());
        inner.join().unwrap()
    };
    assert!(confined(nested));
}

#[test]
fn those_that_are_not_confined_are_as_before() {
    confined(|| ());
    assert!(std::fs::read("/etc/passwd").is_ok());
}
