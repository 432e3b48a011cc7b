//! A useful service: finds papers on arXiv that a question is about.
//!
//! ```text
//! curl --data '{"question": "How does quantum error correction work?", "limit": 3}' http://HOST/agents/arxiv/
//! curl 'http://HOST/agents/arxiv/?q=quantum+error+correction'
//! ```
//!
//! The answer is JSON: `question`, `total` (how many papers arXiv has that match), and `papers`, the best first, each
//! with `id`, `title`, `summary`, `authors`, `published` and `link`. `limit` is 1 to 50, 5 if it is left out.
//!
//! A question that cannot be searched for is answered with 400, a failure of arXiv with 502; both say why in `error`.
//! The environment variable `ARXIV_BASE` names another server than `https://export.arxiv.org`.

mod feed;
mod fetch;
mod question;

use feed::{Feed, Paper};
use http_kit::{Error, json};
use question::Question;
use serde::Serialize;
use serde_json::json;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Arxiv;

wasip2::http::proxy::export!(Arxiv);

impl Guest for Arxiv {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        if let Err(error) = answer(&request, out) {
            eprintln!("arxiv: {error}");
        }
    }
}

/// What was found.
#[derive(Serialize)]
struct Found<'a> {
    question: &'a str,
    total: u64,
    papers: Vec<Paper>,
}

fn answer(request: &IncomingRequest, out: ResponseOutparam) -> Result<(), Error> {
    let question = match Question::of(request) {
        Ok(question) => question,
        Err(refused) => return json(out, 400, &json!({ "error": refused.to_string() })),
    };
    match find(&question) {
        Ok(Feed { total, papers }) => json(
            out,
            200,
            &Found {
                question: question.text(),
                total,
                papers,
            },
        ),
        Err(error) => json(out, 502, &json!({ "error": error.to_string() })),
    }
}

fn find(question: &Question) -> Result<Feed, fetch::Failure> {
    let text = fetch::get(&question.target())?;
    Ok(feed::parse(&text, question.limit())?)
}
