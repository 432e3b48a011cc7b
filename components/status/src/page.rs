//! The page: states in words, numbers in tables, lines over time. It has no scripts and asks for nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chart;
use crate::model::{Agent, Document, Fleet, InUse, Owner, Status};
use crate::words::{bound, bytes, micros, short, span};

const STYLE: &str = include_str!("style.css");
/// Seconds after which a browser asks again.
const REFRESH: u64 = 15;

pub(crate) fn render(document: &Document) -> Markup {
    let status = &document.status;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(REFRESH);
                meta name="robots" content="noindex";
                // A browser would otherwise ask for one by itself.
                link rel="icon" href="data:,";
                title { (state(status)) " – hypervisor" }
                style nonce=(document.nonce) { (PreEscaped(STYLE)) }
            }
            body {
                header { (head(status)) }
                main {
                    (load(status))
                    (bounds(status))
                    @if let Some(it) = &status.fleet { (fleet(it)) }
                    (steps(status))
                    (recent(status))
                    (owners(document))
                    (identity(status))
                }
            }
        }
    }
}

fn state(status: &Status) -> &str {
    match status.state.as_str() {
        "ready" => "Ready",
        "not-ready" => "Not ready",
        "draining" => "Draining",
        other => other,
    }
}

fn head(status: &Status) -> Markup {
    let up = span(status.now.saturating_sub(status.started_at));
    html! {
        h1 { "Hypervisor " (status.version) }
        p.soft { "Up for " (up) ", listening on " (status.listening) }
        @match &status.reason {
            None => p.state role="status" { (state(status)) ": requests may come here" },
            Some(reason) => p.state.bad role="status" { (state(status)) ": " (reason) },
        }
    }
}

fn load(status: &Status) -> Markup {
    let of = |value: fn(&crate::model::Sample) -> u64| -> Vec<u64> {
        status.samples.iter().map(value).collect()
    };
    let most = |values: &[u64]| values.iter().copied().max().unwrap_or_default();
    let (runs, refused) = (of(|it| it.runs), of(|it| it.refused));
    let (half, late) = (of(|it| it.half_us), of(|it| it.most_us));
    html! {
        section {
            h2 { "The last ten minutes" }
            div.charts {
                (chart::line("Runs in 5 s", &runs, &most(&runs).to_string()))
                (chart::line("Refused in 5 s", &refused, &most(&refused).to_string()))
                (chart::line("Half of the runs took", &half, &micros(most(&half))))
                (chart::line("95 of 100 took", &late, &micros(most(&late))))
            }
        }
    }
}

fn bounds(status: &Status) -> Markup {
    let amount = |it: &InUse, value| match it.name.as_str() {
        "bytes" => bytes(value),
        _ => value.to_string(),
    };
    html! {
        section {
            h2 { "What is full" }
            div.wide.cards {
                table {
                    thead { tr { th scope="col" { "What" } th.n scope="col" { "In use" } th.n scope="col" { "Of" } th scope="col" { "Full" } } }
                    tbody {
                        @for it in &status.in_use {
                            tr {
                                td data-label="What" { (bound(&it.name)) }
                                td.n data-label="In use" { (amount(it, it.used)) }
                                td.n data-label="Of" { (amount(it, it.most)) }
                                td data-label="Full" {
                                    @match it.full_since {
                                        Some(since) => strong { "for " (span(status.now.saturating_sub(since))) },
                                        None => "no",
                                    }
                                }
                            }
                        }
                    }
                }
            }
            p.soft { "Sessions: " (status.sessions) ". Waiting for a quote: " (status.attestation.waiting) "." }
        }
    }
}

/// The hosts that are one service. Their times are by the clock of the database that they share, not by this host's.
fn fleet(fleet: &Fleet) -> Markup {
    let now = fleet.nodes.iter().map(|it| it.seen_at).max();
    let ago = |at: u64| span(now.unwrap_or_default().saturating_sub(at));
    html! {
        section {
            h2 { "The fleet" }
            div.wide.cards {
                table {
                    thead { tr {
                        th scope="col" { "Host" } th scope="col" { "State" } th.n scope="col" { "Sessions" } th.n scope="col" { "Seen" }
                        th.n scope="col" { "Up for" } th scope="col" { "Version" } th scope="col" { "Address" }
                    } }
                    tbody {
                        @for it in &fleet.nodes {
                            tr {
                                td data-label="Host" { code { (it.tag) } @if it.tag == fleet.tag { ", this one" } }
                                td data-label="State" { @if it.state == "dead" { strong { "dead" } } @else { (it.state) } }
                                td.n data-label="Sessions" { (it.sessions) }
                                td.n data-label="Seen" { (ago(it.seen_at)) " ago" }
                                td.n data-label="Up for" { (ago(it.started_at)) }
                                td data-label="Version" { (it.version) }
                                td data-label="Address" { @match &it.address { Some(address) => code { (address) }, None => "none" } }
                            }
                        }
                    }
                }
            }
            p.soft { "By this host: takeovers " (fleet.takeovers) ", requests forwarded " (fleet.forwarded) "." }
        }
    }
}

fn steps(status: &Status) -> Markup {
    html! {
        section {
            h2 { "Steps since the start" }
            div.wide.cards {
                table {
                    thead { tr { th scope="col" { "Step" } th.n scope="col" { "Count" } th.n scope="col" { "Half within" } th.n scope="col" { "95 of 100 within" } } }
                    tbody {
                        @for step in &status.steps {
                            tr {
                                td data-label="Step" { (step.step) }
                                td.n data-label="Count" { (step.count) }
                                td.n data-label="Half within" { (micros(step.half_us)) }
                                td.n data-label="95 of 100 within" { (micros(step.most_us)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn recent(status: &Status) -> Markup {
    html! {
        section {
            h2 { "Last requests" }
            @if status.recent.is_empty() { p { "None yet." } }
            @else {
                div.wide.cards {
                    table {
                        thead { tr {
                            th scope="col" { "Ago" } th scope="col" { "Request" } th scope="col" { "End" } th.n scope="col" { "Received" }
                            th.n scope="col" { "Sent" } th.n scope="col" { "Processor" } th.n scope="col" { "Time" } th.n scope="col" { "Memory" }
                        } }
                        tbody {
                            @for it in &status.recent {
                                tr {
                                    td data-label="Ago" { (span(status.now.saturating_sub(it.at))) }
                                    td data-label="Request" { (it.kind) }
                                    td data-label="End" { (it.outcome) }
                                    td.n data-label="Received" { (bytes(it.received_bytes)) }
                                    td.n data-label="Sent" { (bytes(it.sent_bytes)) }
                                    td.n data-label="Processor" { (micros(it.cpu_us)) }
                                    td.n data-label="Time" { (micros(it.wall_us)) }
                                    td.n data-label="Memory" { (bytes(it.peak_memory_bytes)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn owners(document: &Document) -> Markup {
    let status = &document.status;
    html! {
        section {
            h2 { "Agents and environments" }
            @if status.owners.is_empty() { p { "None." } }
            @for owner in &status.owners {
                h3 { "Owner " code { bdi { (owner.owner) } } }
                @for agent in &owner.agents { (one(document, agent)) }
                @if owner.environments > 0 { (environments(document, owner)) }
            }
        }
    }
}

fn one(document: &Document, agent: &Agent) -> Markup {
    let age = span(document.status.now.saturating_sub(agent.deployed_at));
    html! {
        p {
            strong { bdi { (agent.address) } } " " bdi { (agent.version) }
            @if agent.private { ", private" }
            ", deployed " (age) " ago, " code { (short(&agent.digest)) }
        }
        (take_down(document, "agent", &agent.address, "Take this agent down"))
    }
}

fn environments(document: &Document, owner: &Owner) -> Markup {
    html! {
        p { "Environments: " (owner.environments) ", " (bytes(owner.environment_bytes)) }
        (take_down(document, "environments_of", &owner.owner, "Take away all environments of this owner"))
    }
}

/// A form behind a word, so that one tap changes nothing.
fn take_down(document: &Document, name: &str, value: &str, words: &str) -> Markup {
    html! {
        details {
            summary { "Take down…" }
            form method="post" action="/take-down" {
                input type="hidden" name="csrf" value=(document.csrf);
                input type="hidden" name=(name) value=(value);
                button type="submit" { (words) }
            }
        }
    }
}

fn identity(status: &Status) -> Markup {
    let attestation = &status.attestation;
    html! {
        section {
            h2 { "What runs" }
            dl {
                dt { "Attestation" }
                dd { (attestation.backend) @if attestation.simulated { " (simulated: it proves nothing)" } }
                @if let Some(expires) = attestation.collateral_expires_at {
                    dt { "Collateral" }
                    dd {
                        @match expires.checked_sub(status.now) {
                            Some(left) if left > 0 => { "expires in " (span(left)) },
                            _ => { "expired, or cannot be read" },
                        }
                    }
                }
                @if let Some(manifest) = &status.manifest_sha384 { dt { "Manifest, SHA-384" } dd { code { (manifest) } } }
                dt { "Component log" } dd { (status.log_entries) " entries" }
                dt { "Log levels" } dd { code { (status.level) } }
                @for plugin in &status.plugins {
                    dt { (plugin.name) }
                    dd {
                        code { (plugin.sha384) }
                        @if let Some(rules) = &plugin.rules_sha256 { br; "rules " code { (rules) } }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Node, Plugin, Recent, Sample, Step};

    fn full(text: &str) -> Document {
        let text = text.to_owned();
        Document {
            csrf: text.clone(),
            nonce: text.clone(),
            status: Status {
                version: text.clone(),
                state: text.clone(),
                reason: Some(text.clone()),
                listening: text.clone(),
                level: text.clone(),
                manifest_sha384: Some(text.clone()),
                plugins: vec![Plugin {
                    name: text.clone(),
                    sha384: text.clone(),
                    rules_sha256: Some(text.clone()),
                }],
                in_use: vec![InUse {
                    name: text.clone(),
                    full_since: Some(1),
                    ..InUse::default()
                }],
                steps: vec![Step {
                    step: text.clone(),
                    ..Step::default()
                }],
                samples: vec![Sample::default(); 3],
                fleet: Some(Fleet {
                    tag: text.clone(),
                    nodes: vec![Node {
                        tag: text.clone(),
                        address: Some(text.clone()),
                        version: text.clone(),
                        state: text.clone(),
                        ..Node::default()
                    }],
                    ..Fleet::default()
                }),
                recent: vec![Recent {
                    kind: text.clone(),
                    outcome: text.clone(),
                    ..Recent::default()
                }],
                owners: vec![Owner {
                    owner: text.clone(),
                    environments: 1,
                    agents: vec![Agent {
                        address: text.clone(),
                        version: text.clone(),
                        digest: text.clone(),
                        private: true,
                        deployed_at: 1,
                    }],
                    ..Owner::default()
                }],
                ..Status::default()
            },
        }
    }

    /// The page without its own markup: how often an element begins.
    fn tags(html: &str) -> usize {
        html.matches('<').count()
    }

    #[test]
    fn what_agents_and_owners_write_is_no_markup() {
        let plain = render(&full("plain")).into_string();
        let planted =
            render(&full("\"><script>alert(1)</script><img src=x onerror=a>'&")).into_string();
        assert_eq!(tags(&plain), tags(&planted));
        assert!(!planted.contains("<script") && !planted.contains("<img"));
    }

    #[test]
    fn states_are_words_and_not_colours_alone() {
        let page = |state: &str, reason: Option<&str>| {
            let mut document = full("x");
            document.status.state = state.to_owned();
            document.status.reason = reason.map(str::to_owned);
            render(&document).into_string()
        };
        assert!(page("ready", None).contains("Ready: requests may come here"));
        let draining = page("draining", Some("it takes nothing more"));
        assert!(draining.contains("Draining: it takes nothing more"));
        assert!(draining.contains("<title>Draining"));
        assert!(draining.contains("<strong>for "));
    }

    #[test]
    fn the_hosts_of_a_fleet_are_told_apart_and_a_host_alone_has_none() {
        let mut document = full("x");
        let node = |tag: &str, state: &str, seen_at| Node {
            tag: tag.to_owned(),
            state: state.to_owned(),
            seen_at,
            ..Node::default()
        };
        document.status.fleet = Some(Fleet {
            tag: "own".to_owned(),
            takeovers: 3,
            forwarded: 7,
            nodes: vec![node("own", "serving", 100), node("other", "dead", 70)],
        });
        let page = render(&document).into_string();
        assert!(
            page.contains("<code>own</code>, this one") && !page.contains("other</code>, this")
        );
        assert!(page.contains("<strong>dead</strong>") && page.contains("30 s ago"));
        assert!(page.contains("takeovers 3, requests forwarded 7."));
        document.status.fleet = None;
        assert!(!render(&document).into_string().contains("The fleet"));
    }

    #[test]
    fn nothing_is_asked_for_from_elsewhere() {
        let page = render(&full("plain")).into_string();
        for word in [
            "http://",
            "https://",
            "<script",
            "@import",
            "url(",
            "<iframe",
            "javascript:",
        ] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn what_is_not_said_is_empty() {
        let document = Document::read(b"{}").unwrap();
        assert!(render(&document).into_string().contains("None yet."));
        assert!(Document::read(b"[").is_err());
        assert!(Document::read(br#"{"status":{"newer":1}}"#).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_only_text(text in "\\PC{0,40}") {
            let html = render(&full(&text)).into_string();
            prop_assert_eq!(tags(&html), tags(&render(&full("plain")).into_string()));
        }

        #[test]
        fn arbitrary_documents_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(document) = Document::read(&text) {
                render(&document);
            }
        }
    }
}
