//! HAProxy in front of three hosts, with the file that operators take.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{Host, eventually};

/// A running HAProxy; ended when dropped.
pub struct Balancer {
    child: Child,
    url: String,
}

impl Balancer {
    /// Starts one, and waits until it serves.
    pub async fn before(hosts: [&Host; 3]) -> Self {
        Self::at(Ipv4Addr::LOCALHOST.into(), hosts).await
    }

    /// The same at an address of the machine that this thread is on.
    pub async fn at(address: IpAddr, hosts: [&Host; 3]) -> Self {
        let free = TcpListener::bind((address, 0)).unwrap();
        let bind = free.local_addr().unwrap().to_string();
        drop(free);
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/haproxy.cfg");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(config);
        command.env("HYPERVISOR_BIND", &bind);
        for (host, name) in hosts.iter().zip(["A", "B", "C"]) {
            let address = host.url().strip_prefix("http://").unwrap();
            let admin = host.admin();
            let (_, port) = admin.rsplit_once(':').unwrap();
            command.env(format!("HYPERVISOR_{name}"), address);
            command.env(format!("HYPERVISOR_{name}_ADMIN"), port);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let balancer = Self {
            child,
            url: format!("http://{bind}"),
        };
        eventually("the balancer serves", async || {
            let answer = reqwest::get(format!("{}/ping", balancer.url)).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        balancer
    }

    /// Where clients reach it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
