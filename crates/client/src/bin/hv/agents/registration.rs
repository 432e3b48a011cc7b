//! `hv agents registration`: an agent's registration file by ERC-8004.

use clap::Args;
use hypervisor_client::Client;
use hypervisor_client::agents::Reference;
use hypervisor_client::protocol::AgentInfo;
use serde_json::{Map, Value, json};
use url::Url;

use crate::Failure;
use crate::console::{document, note, print};
use crate::session::Verify;

/// What says that a file is such a registration, of its first version.
const TYPE: &str = "https://eips.ethereum.org/EIPS/eip-8004#registration-v1";
const A2A_VERSION: &str = "1.0";
const MCP_VERSION: &str = "2026-07-28";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hv agents registration weather --public-url https://host.example > agent-registration.json
  hv agents registration weather.0123456789abcdef0123456789abcdef --image https://host.example/weather.png

Prints the file that a registry of ERC-8004 refers to. Nothing is registered: the file is put where its address (agentURI) will be, and what
the registry answers goes into `registrations`.")]
pub(super) struct Registration {
    /// The agent, a public one: its name or address.
    #[arg(value_name = "REF")]
    agent: Reference,
    /// Where others find the host, where that is not --server.
    #[arg(long, value_name = "URL")]
    public_url: Option<Url>,
    /// Address of a picture of the agent.
    #[arg(long, value_name = "URL")]
    image: Option<Url>,
    #[command(flatten)]
    verify: Verify,
}

/// What answers at a host besides the agent itself.
#[derive(Debug, Clone, Copy, Default)]
struct Fronts {
    a2a: bool,
    mcp: bool,
}

impl Registration {
    pub(super) async fn execute(&self, server: &str, client: &Client) -> Result<(), Failure> {
        let base = match &self.public_url {
            Some(url) => url.clone(),
            None => Url::parse(server)
                .map_err(|error| Failure::Usage(format!("`{server}` is no URL: {error}")))?,
        };
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(Failure::Usage(format!(
                "`{base}` is neither http nor https"
            )));
        }
        let policy = self.verify.policy()?;
        if policy.is_some() {
            let progress = crate::console::progress();
            let opened = policy.open(client, &progress).await;
            progress.finish_and_clear();
            opened?;
        }
        let info = client.agent(&self.agent).await?;
        let fronts = Fronts {
            a2a: client.serves(&card(&info)).await?,
            mcp: client.serves("mcp").await?,
        };
        if !fronts.a2a && !fronts.mcp {
            note(format_args!(
                "the host speaks neither A2A nor MCP, so the agent is registered by its address for plain HTTP alone"
            ))?;
        }
        if base.scheme() != "https" {
            note(format_args!(
                "warning: {base} is not https, and others may not reach it: --public-url says where they find the host"
            ))?;
        }
        let file = file(&info, fronts, &base, self.image.as_ref());
        print(|out| document(out, &file))
    }
}

/// Where the host has the agent's card, for clients of A2A.
fn card(info: &AgentInfo) -> String {
    format!("a2a/{}/.well-known/agent-card.json", info.address)
}

/// By the agent's address, which nobody else can have.
fn file(info: &AgentInfo, fronts: Fronts, base: &Url, image: Option<&Url>) -> Map<String, Value> {
    let base = base.as_str().trim_end_matches('/');
    let mut services = vec![json!({
        "name": "web",
        "endpoint": format!("{base}/agents/{}/", info.address),
    })];
    if fronts.a2a {
        services.push(json!({
            "name": "A2A", "endpoint": format!("{base}/{}", card(info)), "version": A2A_VERSION,
        }));
    }
    if fronts.mcp {
        services.push(json!({
            "name": "MCP", "endpoint": format!("{base}/mcp"), "version": MCP_VERSION,
        }));
    }
    let mut file = Map::new();
    let mut put = |name: &str, value: Value| file.insert(name.to_owned(), value);
    put("type", json!(TYPE));
    put("name", json!(info.name));
    put("description", json!(info.description));
    if let Some(image) = image {
        put("image", json!(image.as_str()));
    }
    put("services", json!(services));
    put("x402Support", json!(info.price.is_some()));
    put("active", json!(true));
    put("registrations", json!([]));
    put("supportedTrust", json!(["tee-attestation"]));
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(price: Option<&str>) -> AgentInfo {
        serde_json::from_value(json!({
            "name": "weather", "address": "weather.operator", "path": "/agents/weather/",
            "description": "Tells the weather.", "version": "1.0.0", "world": "service",
            "skills": [], "private": false, "price": price, "digest": "00".repeat(32),
            "sha384": "00".repeat(48), "outgoing": [], "reuse": 1, "imports": [],
            "persistent": true, "deployed_at": 0,
        }))
        .unwrap()
    }

    #[test]
    fn the_file_names_where_the_agent_answers_and_what_it_is_trusted_by() {
        let base = Url::parse("https://host.example/x/").unwrap();
        let image = Url::parse("https://host.example/w.png").unwrap();
        let all = Fronts {
            a2a: true,
            mcp: true,
        };
        assert_eq!(
            Value::Object(file(&info(Some("0.01 USDC")), all, &base, Some(&image))),
            json!({
                "type": "https://eips.ethereum.org/EIPS/eip-8004#registration-v1",
                "name": "weather",
                "description": "Tells the weather.",
                "image": "https://host.example/w.png",
                "services": [
                    {"name": "web", "endpoint": "https://host.example/x/agents/weather.operator/"},
                    {"name": "A2A", "version": "1.0",
                     "endpoint": "https://host.example/x/a2a/weather.operator/.well-known/agent-card.json"},
                    {"name": "MCP", "endpoint": "https://host.example/x/mcp", "version": "2026-07-28"},
                ],
                "x402Support": true,
                "active": true,
                "registrations": [],
                "supportedTrust": ["tee-attestation"],
            })
        );
    }

    #[test]
    fn what_the_host_does_not_speak_is_not_in_the_file() {
        let base = Url::parse("https://host.example").unwrap();
        let file = file(&info(None), Fronts::default(), &base, None);
        assert_eq!(file["services"].as_array().unwrap().len(), 1);
        assert_eq!(file["x402Support"], false);
        assert!(!file.contains_key("image"));
    }
}
