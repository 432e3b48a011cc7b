//! Services that misbehave, one to a path: shows what the host does about each.
//!
//! ```text
//! curl -i http://HOST/agents/bad-agent/trap-before
//! ```
//!
//! | path | what it does |
//! |---|---|
//! | `/never` | returns without an answer |
//! | `/twice` | answers twice: the second time traps, for the host took the `response-outparam` the first time |
//! | `/trap-before` | traps before it answers |
//! | `/trap-after-headers` | traps in the middle of the answer's body |
//! | `/write-forever` | answers with a body that does not end |
//! | `/read-forever` | answers only when the request's body has ended |
//! | `/spin` | computes for ever |
//! | `/sleep-forever` | waits for ever |
//! | `/oom` | takes memory until there is no more |
//! | `/1000-headers` | answers with a thousand header fields; `?bytes=n`: each with a value so long |
//! | `/origin` | answers with fields that speak for the whole origin: cookies, a service worker's scope, HSTS |
//! | `/bad-header` | tries header fields that must not be, and answers with what the host said to each |
//! | `/wrong-length` | declares a body of 100 bytes (`?declared=n`) and sends 10 |
//! | `/log?bytes=n` | writes so many bytes to standard error, and answers |
//! | `/after` | answers, and goes on: 50 ms later it writes a line to standard error |
//! | `/env` | answers with its environment |
//! | `/counter` | counts the requests that this instance has served |

mod answering;
mod headers;
mod unending;

use http_kit::{Error, Target, respond};
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct BadAgent;

wasip2::http::proxy::export!(BadAgent);

impl Guest for BadAgent {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = misbehave(&request, out) {
            eprintln!("bad-agent: {error}");
        }
    }
}

fn misbehave(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let target = Target::of(request);
    match target.path() {
        "/never" => Ok(()),
        "/twice" => answering::twice(out),
        "/trap-before" => panic!("asked to panic"),
        "/trap-after-headers" => answering::trap_after_headers(out),
        "/write-forever" => unending::write(out),
        "/read-forever" => unending::read(request, out),
        "/spin" => unending::spin(),
        "/sleep-forever" => unending::sleep(),
        "/oom" => unending::allocate(),
        "/1000-headers" => headers::thousand(out, target.number("bytes", 8)),
        "/origin" => headers::origin(out),
        "/bad-header" => headers::bad(out),
        "/wrong-length" => headers::wrong_length(out, target.number("declared", 100)),
        "/log" => answering::log(out, target.number("bytes", 100)),
        "/after" => answering::after(out),
        "/env" => answering::environment(out),
        "/counter" => answering::counter(out),
        _ => respond(
            out,
            404,
            &[("content-type", "text/plain; charset=utf-8")],
            b"bad-agent: no such misbehaviour\n",
        ),
    }
}
