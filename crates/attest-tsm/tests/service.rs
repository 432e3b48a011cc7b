//! Many callers, one slow driver.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hypervisor_attest_simulated::Simulator;
use hypervisor_attest_tsm::{
    Attester, Backend, Capabilities, Error, QueueLimits, Quote, QuoteService,
};

const PATIENT: QueueLimits = QueueLimits {
    waiting: 16,
    timeout: Duration::from_secs(60),
};

/// A driver that says when it starts and waits to be let on.
struct Gate {
    simulator: Simulator,
    started: Mutex<Sender<u8>>,
    go: Mutex<Receiver<Go>>,
    in_flight: AtomicUsize,
    most: AtomicUsize,
}

enum Go {
    Quote,
    Panic,
}

impl Attester for Gate {
    fn backend(&self) -> Backend {
        Backend::Simulated
    }

    fn capabilities(&self) -> Capabilities {
        self.simulator.capabilities()
    }

    fn quote(&self, report_data: &[u8; 64]) -> Result<Quote, Error> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.started.lock().unwrap().send(report_data[0]).unwrap();
        // Closed at the end of a test: nobody is interested any more.
        let go = self.go.lock().unwrap().recv().unwrap_or(Go::Quote);
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        match go {
            Go::Quote => self.simulator.quote(report_data),
            Go::Panic => panic!("the driver's bug"),
        }
    }

    fn extend(&self, digest: &[u8; 48]) -> Result<(), Error> {
        self.simulator.extend(digest)
    }

    fn read_register(&self) -> Result<[u8; 48], Error> {
        self.simulator.read_register()
    }
}

/// Dropped in this order: the gate opens before the service waits for its thread, in a test that fails too.
struct Bench {
    go: Sender<Go>,
    service: Arc<QuoteService>,
    gate: Arc<Gate>,
    started: Receiver<u8>,
}

fn bench(limits: QueueLimits) -> Bench {
    let (started_in, started) = channel();
    let (go, go_out) = channel();
    let gate = Arc::new(Gate {
        simulator: support::simulator(),
        started: Mutex::new(started_in),
        go: Mutex::new(go_out),
        in_flight: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    Bench {
        go,
        service: Arc::new(QuoteService::start(gate.clone(), limits).unwrap()),
        gate,
        started,
    }
}

impl Bench {
    /// A caller in a thread of its own.
    fn ask(&self, byte: u8) -> thread::JoinHandle<Result<Arc<Quote>, Error>> {
        let service = self.service.clone();
        thread::spawn(move || service.shared_quote(&[byte; 64]))
    }

    /// Waits until `count` callers wait.
    fn wait_for_callers(&self, count: usize) {
        while self.service.callers() < count {
            thread::yield_now();
        }
    }
}

fn report_data(quote: &Quote) -> u8 {
    quote.bytes[568]
}

#[test]
fn callers_of_the_same_report_data_share_one_quote() {
    let bench = bench(PATIENT);
    let first = bench.ask(1);
    assert_eq!(bench.started.recv(), Ok(1));
    let others: Vec<_> = (0..8).map(|_| bench.ask(2)).collect();
    bench.wait_for_callers(9);
    assert_eq!(bench.service.waiting(), 1);
    // Two and no more: a third request of the driver would never be let on.
    bench.go.send(Go::Quote).unwrap();
    bench.go.send(Go::Quote).unwrap();
    assert_eq!(report_data(&first.join().unwrap().unwrap()), 1);
    let quotes: Vec<Arc<Quote>> = others
        .into_iter()
        .map(|caller| caller.join().unwrap().unwrap())
        .collect();
    assert_eq!(report_data(&quotes[0]), 2);
    assert!(quotes.iter().all(|quote| Arc::ptr_eq(quote, &quotes[0])));
}

#[test]
fn a_caller_joins_the_request_in_flight() {
    let bench = bench(PATIENT);
    let first = bench.ask(1);
    assert_eq!(bench.started.recv(), Ok(1));
    let second = bench.ask(1);
    bench.wait_for_callers(2);
    assert_eq!(bench.service.waiting(), 0);
    bench.go.send(Go::Quote).unwrap();
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
}

#[test]
fn at_most_one_request_is_in_flight() {
    let bench = bench(PATIENT);
    let callers: Vec<_> = (0..8).map(|byte| bench.ask(byte)).collect();
    for _ in &callers {
        bench.go.send(Go::Quote).unwrap();
    }
    for (byte, caller) in (0..).zip(callers) {
        assert_eq!(report_data(&caller.join().unwrap().unwrap()), byte);
    }
    assert_eq!(bench.gate.most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_full_queue_refuses_at_once() {
    let bench = bench(QueueLimits {
        waiting: 1,
        ..PATIENT
    });
    let first = bench.ask(1);
    assert_eq!(bench.started.recv(), Ok(1));
    let second = bench.ask(2);
    bench.wait_for_callers(2);
    assert_eq!(
        bench.service.shared_quote(&[3; 64]),
        Err(Error::QueueFull { maximum: 1 })
    );
    drop(bench.go);
    assert!(first.join().unwrap().is_ok());
    assert!(second.join().unwrap().is_ok());
}

#[test]
fn a_caller_gives_up_in_time_and_its_request_is_forgotten() {
    let bench = bench(QueueLimits {
        waiting: 16,
        timeout: Duration::from_millis(20),
    });
    // The gate stays shut: in flight, then in the queue.
    for byte in [1, 2] {
        assert!(matches!(
            bench.service.shared_quote(&[byte; 64]),
            Err(Error::QueueTimeout { .. })
        ));
    }
    assert_eq!(bench.service.waiting(), 0);
    assert_eq!(bench.started.recv(), Ok(1));
    drop(bench.go);
    drop(bench.service);
    assert!(
        bench.started.try_recv().is_err(),
        "the driver was asked again"
    );
}

#[test]
fn an_attester_that_panics_is_an_error_and_the_next_request_works() {
    let bench = bench(PATIENT);
    let first = bench.ask(1);
    bench.go.send(Go::Panic).unwrap();
    assert!(matches!(first.join().unwrap(), Err(Error::Backend { .. })));
    bench.go.send(Go::Quote).unwrap();
    assert!(bench.service.shared_quote(&[2; 64]).is_ok());
}

#[test]
fn the_attesters_own_error_reaches_every_caller() {
    use support::kernel::Fault;
    let kernel = support::tdx();
    kernel.fail(Fault::Blob(Vec::new()));
    let service = QuoteService::start(Arc::new(support::open(&kernel).unwrap()), PATIENT).unwrap();
    assert!(matches!(
        service.quote(&[1; 64]),
        Err(Error::QuoteTooShort { length: 0, .. })
    ));
    assert!(service.quote(&[1; 64]).is_ok());
}

#[test]
fn a_service_is_an_attester_like_the_one_behind_it() {
    let service = QuoteService::start(Arc::new(support::simulator()), PATIENT).unwrap();
    assert_eq!(service.backend(), Backend::Simulated);
    let value = hypervisor_attest_tsm::extend_and_check(&service, &[9; 48]).unwrap();
    assert_eq!(service.quote(&[0; 64]).unwrap().bytes[520..568], value);
}
