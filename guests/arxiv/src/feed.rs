//! Reading what arXiv answers: an Atom feed (RFC 4287) with a total by OpenSearch.

use roxmltree::{Document, Node, ParsingOptions};
use serde::Serialize;

const ATOM: &str = "http://www.w3.org/2005/Atom";
const OPENSEARCH: &str = "http://a9.com/-/spec/opensearch/1.1/";

/// An error of the API comes as an entry with such an id.
const ERROR_ID: &str = "/api/errors";
/// Elements and texts of one feed. The largest collaborations have a few thousand authors on a paper.
const MOST_NODES: u32 = 500_000;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Feed {
    /// How many papers match, listed here or not.
    pub total: u64,
    /// The best of them.
    pub papers: Vec<Paper>,
}

/// A paper.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Paper {
    /// arXiv's identifier with the version: `2301.00001v2`, or `hep-ex/0307015v1` for an old one.
    pub id: String,
    /// In one line.
    pub title: String,
    /// The abstract, in one line.
    pub summary: String,
    /// In the order of the paper.
    pub authors: Vec<String>,
    /// When its first version came out: RFC 3339.
    pub published: String,
    /// The page about it.
    pub link: String,
}

/// Why an answer is not a feed of papers.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("not XML: {0}")]
    Xml(#[from] roxmltree::Error),
    #[error("not an Atom feed")]
    NotAtom,
    #[error("an entry without {0}")]
    Incomplete(&'static str),
    #[error("it says: {0}")]
    Refused(String),
}

/// The feed in `text`; entries behind the first `limit` are left out.
pub fn parse(text: &str, limit: usize) -> Result<Feed, Unreadable> {
    let options = ParsingOptions {
        // With a document type come entities that expand.
        allow_dtd: false,
        nodes_limit: MOST_NODES,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(text, options)?;
    let feed = document.root_element();
    if !feed.has_tag_name((ATOM, "feed")) {
        return Err(Unreadable::NotAtom);
    }
    let papers = inner(feed, (ATOM, "entry"))
        .take(limit)
        .map(paper)
        .collect::<Result<Vec<_>, _>>()?;
    let total = line(feed, (OPENSEARCH, "totalResults"))
        .and_then(|total| total.parse().ok())
        .unwrap_or(0);
    Ok(Feed {
        total: total.max(papers.len() as u64),
        papers,
    })
}

fn paper(entry: Node<'_, '_>) -> Result<Paper, Unreadable> {
    let url = line(entry, (ATOM, "id")).ok_or(Unreadable::Incomplete("an id"))?;
    let summary = line(entry, (ATOM, "summary")).unwrap_or_default();
    if url.contains(ERROR_ID) {
        return Err(Unreadable::Refused(summary));
    }
    Ok(Paper {
        id: url
            .split_once("/abs/")
            .map_or(url.as_str(), |(_, id)| id)
            .to_owned(),
        title: line(entry, (ATOM, "title")).ok_or(Unreadable::Incomplete("a title"))?,
        summary,
        authors: inner(entry, (ATOM, "author"))
            .filter_map(|author| line(author, (ATOM, "name")))
            .collect(),
        published: line(entry, (ATOM, "published")).unwrap_or_default(),
        link: page(entry).map_or(url, str::to_owned),
    })
}

/// The address of the page about a paper.
fn page<'a>(entry: Node<'a, '_>) -> Option<&'a str> {
    inner(entry, (ATOM, "link"))
        // Without `rel`, a link is an alternate one.
        .find(|link| {
            link.attribute("rel")
                .is_none_or(|relation| relation == "alternate")
        })?
        .attribute("href")
}

/// The elements of a name directly in another.
fn inner<'a, 'input>(
    outer: Node<'a, 'input>,
    name: (&'static str, &'static str),
) -> impl Iterator<Item = Node<'a, 'input>> {
    outer.children().filter(move |node| node.has_tag_name(name))
}

/// The text of an element directly in another, without the line breaks and indents of the feed. None where there is
/// no text.
fn line(outer: Node<'_, '_>, name: (&'static str, &'static str)) -> Option<String> {
    let text: String = inner(outer, name)
        .next()?
        .children()
        .filter(Node::is_text)
        .filter_map(|node| node.text())
        .collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests;
