//! Whoever answers in a database's place, and sends more than was asked for.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hypervisor_postgres::Postgres;
use hypervisor_store::{Error, Keys, Store, Table};

use crate::server::Postgres as Server;
use crate::{FILE, key, put};

/// What a host may be made to read: buffers of two systems and a page of rows, for two attempts.
const MOST: u64 = 128 << 20;

/// Between a host and its database: from when it is told to, it sends the rows of each list again and again.
struct Generous {
    port: u16,
    again: Arc<AtomicBool>,
    /// Bytes that the host took of that.
    sent: Arc<AtomicU64>,
}

impl Generous {
    fn before(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let generous = Self {
            port: listener.local_addr().unwrap().port(),
            again: Arc::default(),
            sent: Arc::default(),
        };
        let (again, sent) = (Arc::clone(&generous.again), Arc::clone(&generous.sent));
        let to = server.port();
        thread::spawn(move || {
            for host in listener.incoming() {
                let (host, database) = (
                    host.unwrap(),
                    TcpStream::connect(("127.0.0.1", to)).unwrap(),
                );
                let (asks, answers) = (host.try_clone().unwrap(), database.try_clone().unwrap());
                let (again, sent) = (Arc::clone(&again), Arc::clone(&sent));
                thread::spawn(move || {
                    let _ = std::io::copy(&mut &asks, &mut &database);
                    let _ = database.shutdown(Shutdown::Both);
                });
                thread::spawn(move || {
                    pass(&answers, &host, &again, &sent);
                    let _ = host.shutdown(Shutdown::Both);
                });
            }
        });
        generous
    }
}

/// Passes messages on, and a row of four columns for as long as anybody takes it.
fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    again: &AtomicBool,
    sent: &AtomicU64,
) -> Option<()> {
    loop {
        let mut message = vec![0; 5];
        from.read_exact(&mut message).ok()?;
        let length: [u8; 4] = message[1..].try_into().unwrap();
        message.resize(1 + usize::try_from(u32::from_be_bytes(length)).unwrap(), 0);
        from.read_exact(&mut message[5..]).ok()?;
        to.write_all(&message).ok()?;
        let is_listed = message[0] == b'D' && message[5..7] == [0, 4];
        while is_listed && again.load(Ordering::Acquire) {
            let many = message.repeat(64);
            to.write_all(&many).ok()?;
            sent.fetch_add(many.len() as u64, Ordering::AcqRel);
        }
    }
}

#[test]
fn rows_that_were_not_asked_for_are_not_taken() {
    let server = Server::start();
    let generous = Generous::before(&server);
    let own = format!(":{}/", server.port());
    // The answer to a question for TLS would be no message.
    let url = server.url().replace(&own, &format!(":{}/", generous.port));
    let url = format!("{url}?sslmode=disable");
    let backend = Postgres::open(&url).unwrap();
    let store = Store::over(Box::new(backend), Keys::shared(&key(3)).unwrap(), &[FILE]).unwrap();
    put(&store, FILE, b"key", &[7; 60 << 10]);
    assert_eq!(store.scan(FILE, b"", None, 10).unwrap().len(), 1);

    let asked: [(Table, &[u8]); 2] = [(FILE, b"key"), (FILE, b"another")];
    let ways: [&dyn Fn() -> Result<(), Error>; 2] =
        [&|| store.scan(FILE, b"", None, 10).map(drop), &|| {
            store.get_all(&asked).map(drop)
        }];
    for ask in ways {
        ask().unwrap();
        generous.sent.store(0, Ordering::Release);
        generous.again.store(true, Ordering::Release);
        let began = Instant::now();
        let error = ask().unwrap_err();
        assert!(matches!(error, Error::Database(..)), "{error}");
        assert!(
            error.to_string().contains("more than it was asked for"),
            "{error}"
        );
        assert!(began.elapsed() < Duration::from_secs(10));
        let sent = generous.sent.load(Ordering::Acquire);
        assert!(sent < MOST, "{sent}");

        generous.again.store(false, Ordering::Release);
        let began = Instant::now();
        while ask().is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "it is not well again"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}
