use proptest::prelude::*;

use super::*;

const THREE: &str = include_str!("../../../../tests/vectors/arxiv/three.xml");
const NONE: &str = include_str!("../../../../tests/vectors/arxiv/none.xml");
const ERROR: &str = include_str!("../../../../tests/vectors/arxiv/error.xml");
const MALFORMED: &str = include_str!("../../../../tests/vectors/arxiv/malformed.xml");

fn entry(inner: &str) -> String {
    format!(r#"<feed xmlns="{ATOM}"><entry>{inner}</entry></feed>"#)
}

fn only(inner: &str) -> Result<Paper, Unreadable> {
    let mut feed = parse(&entry(inner), 1)?;
    assert_eq!(feed.papers.len(), 1);
    Ok(feed.papers.remove(0))
}

#[test]
fn papers_are_read_with_all_that_is_told_of_them() {
    let feed = parse(THREE, 50).unwrap();
    assert_eq!(feed.total, 4711);
    assert_eq!(feed.papers.len(), 3);
    assert_eq!(
        feed.papers[0],
        Paper {
            id: "2399.00001v2".to_owned(),
            title: "An Invented Paper on Codes that Correct Errors".to_owned(),
            summary: "We invent a family of codes with distance $d < n$ & show that the threshold is at least 1%. \
                      The text has line breaks where arXiv's has them."
                .to_owned(),
            authors: vec!["Ada Example".to_owned(), "José Beispiel".to_owned()],
            published: "2023-09-01T09:30:00Z".to_owned(),
            link: "http://arxiv.org/abs/2399.00001v2".to_owned(),
        }
    );
    assert_eq!(feed.papers[1].id, "quant-ph/9999999v1");
    assert_eq!(feed.papers[2].title, "量子 Invented");
}

#[test]
fn no_more_papers_are_read_than_wanted() {
    let feed = parse(THREE, 2).unwrap();
    assert_eq!(feed.total, 4711);
    assert_eq!(feed.papers.len(), 2);
}

#[test]
fn a_search_may_find_nothing() {
    let feed = parse(NONE, 50).unwrap();
    assert_eq!((feed.total, feed.papers.len()), (0, 0));
}

#[test]
fn an_error_of_the_api_is_no_paper() {
    match parse(ERROR, 50) {
        Err(Unreadable::Refused(reason)) => {
            assert_eq!(reason, "incorrect id format for 1234.12345")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_xml_is_refused() {
    for text in [MALFORMED, "", "{\"papers\": []}"] {
        assert!(matches!(parse(text, 50), Err(Unreadable::Xml(_))), "{text}");
    }
}

#[test]
fn what_ends_in_the_middle_is_refused() {
    let cut = THREE.split_once("<author>").unwrap().0;
    assert!(matches!(parse(cut, 50), Err(Unreadable::Xml(_))));
}

#[test]
fn another_document_is_refused() {
    for text in [
        "<html><body>maintenance</body></html>",
        "<feed><entry/></feed>",
        r#"<feed xmlns="http://example.org/"/>"#,
    ] {
        assert!(
            matches!(parse(text, 50), Err(Unreadable::NotAtom)),
            "{text}"
        );
    }
}

#[test]
fn entities_of_a_document_type_are_never_expanded() {
    let inner = "<id>x</id><title>&a;</title>";
    let declared = format!(
        r#"<!DOCTYPE feed [<!ENTITY a "aaaaaaaaaa">]>{}"#,
        entry(inner)
    );
    assert!(matches!(
        parse(&declared, 50),
        Err(Unreadable::Xml(roxmltree::Error::DtdDetected))
    ));
    assert!(matches!(only(inner), Err(Unreadable::Xml(_))));
}

#[test]
fn elements_count_by_namespace_and_not_by_prefix() {
    let text = format!(
        r#"<a:feed xmlns:a="{ATOM}"><a:entry xmlns="http://example.org/">
             <a:id>http://arxiv.org/abs/1</a:id><a:title>right</a:title><title>wrong</title>
           </a:entry></a:feed>"#
    );
    let feed = parse(&text, 1).unwrap();
    assert_eq!(feed.papers[0].title, "right");
}

#[test]
fn text_of_other_elements_is_left_out() {
    let paper =
        only("<id>1</id><title>one <b>bold</b> <![CDATA[<two>]]></title><!-- three --><x>four</x>")
            .unwrap();
    assert_eq!(paper.title, "one <two>");
}

#[test]
fn a_paper_has_an_identifier_and_a_title() {
    assert!(matches!(
        only("<title>x</title>"),
        Err(Unreadable::Incomplete("an id"))
    ));
    assert!(matches!(
        only("<id>x</id><title> </title>"),
        Err(Unreadable::Incomplete("a title"))
    ));
}

#[test]
fn a_paper_without_a_link_is_linked_by_its_identifier() {
    let paper = only("<id>http://arxiv.org/abs/2399.1v1</id><title>x</title>").unwrap();
    assert_eq!(paper.id, "2399.1v1");
    assert_eq!(paper.link, "http://arxiv.org/abs/2399.1v1");
}

#[test]
fn a_link_that_says_no_relation_is_the_page() {
    let paper = only(r#"<id>1</id><title>x</title><link href="http://a/?b&amp;c"/><link rel="related" href="no"/>"#).unwrap();
    assert_eq!(paper.link, "http://a/?b&c");
}

#[test]
fn a_wrong_total_is_at_least_what_is_listed() {
    let text = THREE.replace(">4711<", ">many<");
    assert_eq!(parse(&text, 50).unwrap().total, 3);
}

#[test]
fn deep_nesting_is_no_danger() {
    let depth = 100_000;
    let deep = format!("{}{}", "<x>".repeat(depth), "</x>".repeat(depth));
    assert!(only(&format!("<id>1</id><title>x</title>{deep}")).is_ok());
}

#[test]
fn a_feed_has_a_limited_number_of_elements() {
    let many = "<x/>".repeat(MOST_NODES as usize);
    assert!(matches!(
        only(&format!("<id>1</id><title>x</title>{many}")),
        Err(Unreadable::Xml(roxmltree::Error::NodesLimitReached))
    ));
}

/// A feed with one part of it replaced, left out or repeated.
fn damaged() -> impl Strategy<Value = String> {
    (0..THREE.len(), 0..THREE.len(), ".{0,40}").prop_map(|(one, other, instead)| {
        let (mut from, mut to) = (one.min(other), one.max(other));
        while !THREE.is_char_boundary(from) {
            from -= 1;
        }
        while !THREE.is_char_boundary(to) {
            to -= 1;
        }
        format!("{}{instead}{}", &THREE[..from], &THREE[to..])
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,400}", limit in 0_usize..5) {
        let _ = parse(&text, limit);
    }

    #[test]
    fn any_damage_is_read_or_refused(text in damaged(), limit in 0_usize..5) {
        if let Ok(feed) = parse(&text, limit) {
            prop_assert!(feed.papers.len() <= limit);
            for paper in feed.papers {
                prop_assert!(!paper.id.is_empty() && !paper.title.is_empty());
            }
        }
    }

    #[test]
    fn any_markup_is_read_or_refused(pieces in proptest::collection::vec(
        proptest::sample::select(vec![
            "<feed xmlns=\"http://www.w3.org/2005/Atom\">", "</feed>", "<entry>", "</entry>", "<id>", "</id>", "<id/>",
            "<title>", "</title>", "<author>", "</author>", "<name>", "</name>", "<link rel='", "' href=\"", "\"/>",
            "&amp;", "&#0;", "&#x110000;", "&", ";", "<![CDATA[", "]]>", "<!--", "-->", "<?", "?>", "x", " ", "\u{0}",
        ]), 0..40)) {
        let _ = parse(&pieces.concat(), 3);
    }
}
