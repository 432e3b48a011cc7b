//! Agents: deployed for a test, and called.

use hypervisor_client::Error;
use hypervisor_client::agents::{Deployed, Reference};
use hypervisor_client::protocol::{AgentLog, Exit, OwnerKey, Problem, Rejection};

use crate::Host;

/// A new owner.
pub fn owner() -> OwnerKey {
    OwnerKey::generate().unwrap().0
}

/// A manifest with the least that it needs, and `more`.
pub fn manifest(name: &str, more: &str) -> String {
    format!("name = '{name}'\ndescription = 'An agent of the tests.'\nversion = '1.0.0'\n{more}\n")
}

/// A name or an address.
pub fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

impl Host {
    /// Deploys a component in a session of its own.
    pub async fn try_deploy(
        &self,
        owner: &OwnerKey,
        component: &[u8],
        manifest: &str,
    ) -> Result<Deployed, Error> {
        self.session()
            .await
            .deploy(component, manifest, owner)
            .await
    }

    /// Deploys one of the guests, which has to work, under a name.
    pub async fn deploy(&self, owner: &OwnerKey, guest: &str, name: &str, more: &str) -> Deployed {
        let component = crate::programs::guest(guest);
        self.try_deploy(owner, &component, &manifest(name, more))
            .await
            .unwrap()
    }

    /// The URL of a path of an agent.
    pub fn agent(&self, reference: &str, path: &str) -> String {
        format!("{}/agents/{reference}{path}", self.url())
    }

    /// What the host keeps of an agent's output, for its owner.
    pub async fn logs(&self, owner: &OwnerKey, name: &str) -> AgentLog {
        let session = self.session().await;
        session.agent_logs(&reference(name), owner).await.unwrap()
    }

    /// The counter of the admin port that is written so, labels included.
    pub async fn counter(&self, name: &str) -> u64 {
        let url = format!("{}/metrics", self.admin());
        let text = reqwest::get(url).await.unwrap().text().await.unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no counter {name} in {text}"))
    }

    /// A request to a path of an agent.
    pub async fn get(&self, reference: &str, path: &str) -> reqwest::Response {
        reqwest::get(self.agent(reference, path)).await.unwrap()
    }
}

/// The problem that an answer is, with its status.
pub async fn problem(response: reqwest::Response) -> (u16, Problem) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let problem = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{status} is no problem ({e}): {text}"));
    (status, problem)
}

/// Why a sealed request about agents was refused.
pub fn rejection(error: &Error) -> (Rejection, String) {
    match error {
        Error::Agent(exit) => match exit.as_ref() {
            Exit::Rejected { problem, detail } => (*problem, detail.clone()),
            other => panic!("{other:?} instead of a rejection"),
        },
        other => panic!("{other} instead of a rejection"),
    }
}
