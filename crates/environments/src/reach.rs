//! The requests that code in an environment sends: to the origins of its terms that the operator allows too, each asked of the
//! policy, never to a private address unless the operator allows that.

use std::sync::Arc;

use hypervisor_egress::{AllowList, Origin, OriginPattern, Sender, Senders, why};
use hypervisor_protocol::Exit;
use hypervisor_runtime::{
    Action, ActionKind, Chain, Egress, HttpBody, HttpError, HttpTimeouts, Sending, Sent,
};

use crate::head::Id;
use crate::job::invalid;

/// Origins that terms may list, and bytes of each.
const MAX_ORIGINS: usize = 64;
const MAX_ORIGIN: usize = 300;

/// What sends the requests of environments, and where the operator lets them go.
#[derive(Clone)]
pub struct Network {
    /// What sends for everybody on the host.
    pub senders: Arc<Senders>,
    /// Origins that environments may reach, as far as their terms list them.
    pub outgoing: AllowList,
    /// Requests that one call may have under way at once.
    pub per_call: usize,
    /// Told what became of each request: `sent`, or why it was not.
    pub noted: fn(&'static str),
}

impl Network {
    /// Whether terms may list these origins.
    pub(crate) fn check(&self, origins: &[String]) -> Result<(), Exit> {
        if origins.len() > MAX_ORIGINS {
            return Err(invalid(format!(
                "`outgoing` has {} origins, and may have {MAX_ORIGINS}",
                origins.len()
            )));
        }
        for text in origins {
            let shown: String = text.chars().take(MAX_ORIGIN).collect();
            let shown = shown.escape_debug();
            let pattern = (text.len() <= MAX_ORIGIN)
                .then(|| text.parse::<OriginPattern>())
                .ok_or_else(|| invalid(format!("`outgoing`: `{shown}` is too long")))?
                .map_err(|error| invalid(format!("`outgoing`: `{shown}`: {error}")))?;
            if !self.outgoing.overlaps(&pattern) {
                return Err(invalid(format!(
                    "`outgoing`: the operator of this host does not let environments reach `{shown}`"
                )));
            }
        }
        Ok(())
    }

    /// What sends the requests of an environment; none where its terms list nothing.
    pub(crate) fn of(&self, environment: Whose<'_>) -> Option<Arc<dyn Egress>> {
        let Whose {
            id,
            owner,
            bundle,
            outgoing,
        } = environment;
        if outgoing.is_empty() {
            return None;
        }
        // Whether they are origins was checked with the terms.
        let listed = outgoing.iter().filter_map(|origin| origin.parse().ok());
        Some(Arc::new(Reach {
            listed: listed.collect(),
            sender: (self.senders).of(Some(owner), &format!("environment {id}")),
            network: self.clone(),
            owner: owner.to_owned(),
            bundle,
        }))
    }
}

/// An environment whose code runs.
pub(crate) struct Whose<'a> {
    pub(crate) id: Id,
    pub(crate) owner: &'a str,
    /// SHA-256 of its bundle.
    pub(crate) bundle: [u8; 32],
    pub(crate) outgoing: &'a [String],
}

/// The egress of one environment.
#[derive(Clone)]
struct Reach {
    network: Network,
    sender: Sender,
    listed: AllowList,
    owner: String,
    bundle: [u8; 32],
}

impl Egress for Reach {
    fn send(
        &self,
        request: http::Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        chain: Chain,
    ) -> Sending {
        let this = self.clone();
        Box::pin(async move {
            let noted = this.network.noted;
            let sent = this.decide(request, timeouts, &chain).await;
            noted(sent.as_ref().map_or_else(|(why, _)| *why, |_| "sent"));
            sent.map_err(|(_, error)| error)
        })
    }

    fn per_call(&self) -> usize {
        self.network.per_call
    }

    fn crowded(&self) {
        (self.network.noted)("limit");
    }
}

impl Reach {
    async fn decide(
        self,
        request: http::Request<HttpBody>,
        timeouts: Option<HttpTimeouts>,
        chain: &Chain,
    ) -> Result<Sent, (&'static str, HttpError)> {
        let origin =
            Origin::of(request.uri()).ok_or(("not_listed", HttpError::HttpRequestUriInvalid))?;
        if !(self.listed.allows(&origin) && self.network.outgoing.allows(&origin)) {
            return Err(("not_listed", HttpError::HttpRequestDenied));
        }
        // The code is the client's secret, and what it asks for may be too: the policy sees where to, as the network does.
        let action = Action {
            method: Some(request.method().as_str().to_owned()),
            caller_owner: Some(self.owner),
            ..Action::new(ActionKind::OutgoingRequest, self.bundle, origin.to_string())
        };
        let permitted = chain.permits(action).await;
        permitted.map_err(|_| ("policy", HttpError::HttpRequestDenied))?;
        let sent = self.sender.send_for_guest(request, timeouts).await;
        sent.map_err(|error| (why(&error), error))
    }
}

#[cfg(test)]
mod tests {
    use hypervisor_egress::{Networks, SystemResolver};

    use super::*;

    fn network(outgoing: &[&str]) -> Network {
        let sender = Sender::new(Networks::default(), Arc::new(SystemResolver)).unwrap();
        Network {
            senders: Arc::new(Senders::new(sender, [4; 3])),
            outgoing: outgoing.iter().map(|it| it.parse().unwrap()).collect(),
            per_call: 4,
            noted: |_| {},
        }
    }

    fn check(network: &Network, origins: &[&str]) -> Result<(), String> {
        let origins: Vec<String> = origins.iter().map(|&it| it.to_owned()).collect();
        network.check(&origins).map_err(|exit| format!("{exit:?}"))
    }

    #[test]
    fn terms_may_list_what_the_operator_allows_some_of() {
        let below = network(&["https://*.example.com", "http://10.0.0.1:81"]);
        for origins in [
            &[][..],
            &["https://api.example.com"],
            &["https://*.example.com", "http://10.0.0.1:81"],
            &["https://*.eu.example.com"],
            &["https://*.com"],
            &["*"],
        ] {
            assert_eq!(check(&below, origins), Ok(()), "{origins:?}");
        }
        for origins in [
            &["https://example.com"][..],
            &["http://api.example.com"],
            &["https://api.example.com", "https://example.org"],
            &["http://10.0.0.1"],
        ] {
            let refused = check(&below, origins).unwrap_err();
            assert!(refused.contains("operator of this host"), "{refused}");
        }
        assert!(check(&network(&[]), &["*"]).is_err());
    }

    #[test]
    fn what_is_no_origin_is_refused_with_what_is_wrong_about_it() {
        let any = network(&["*"]);
        let long = format!("https://{}.example", "x".repeat(300));
        for origin in [
            "",
            "example.com",
            "https://example.com/path",
            "ftp://a",
            &long,
        ] {
            assert!(check(&any, &[origin]).is_err(), "{origin}");
        }
        let many = vec!["https://example.com"; 65];
        assert!(check(&any, &many).unwrap_err().contains("may have 64"));
    }

    #[test]
    fn who_lists_nothing_has_nobody_who_sends() {
        let whose = |outgoing| Whose {
            id: Id::random().unwrap(),
            owner: "o",
            bundle: [0; 32],
            outgoing,
        };
        assert!(network(&["*"]).of(whose(&[])).is_none());
        let listed = ["https://example.com".to_owned()];
        assert!(network(&["*"]).of(whose(&listed)).is_some());
    }
}
