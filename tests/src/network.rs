//! Machines of a test's own, as network namespaces of this one, and cables between them that can be pulled.
//!
//! Nothing has a name outside the test: a namespace lives as long as a process that holds it, and that process ends when its input
//! does, however the test ends. Whoever has entered a machine opens sockets and starts processes there.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// What a cable is for. Each kind has a switch of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Between clients, balancers and hosts.
    Front,
    /// Among hosts.
    Peers,
    /// Between hosts and their database.
    Store,
}

impl Cable {
    const ALL: [Self; 3] = [Self::Front, Self::Peers, Self::Store];

    fn name(self) -> &'static str {
        match self {
            Self::Front => "front",
            Self::Peers => "peers",
            Self::Store => "store",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Front => 0,
            Self::Peers => 1,
            Self::Store => 2,
        }
    }
}

/// The switches, one for each kind of cable.
pub struct Network {
    switch: Space,
    machines: Cell<u8>,
}

/// A machine: an address on each of its cables.
pub struct Machine {
    space: Space,
    number: u8,
    cables: Vec<Cable>,
}

/// A network namespace.
struct Space(Child);

/// Whoever holds this is in a namespace; they are back where they were when it is dropped. It is of its thread.
pub struct Entered {
    back: File,
    _of_this_thread: PhantomData<*const ()>,
}

impl Network {
    /// None, with a word about it, where this is not permitted or there are no means for it.
    pub fn permitted() -> Option<Self> {
        let made = Space::new().and_then(|switch| {
            let made = Cable::ALL.iter().try_for_each(|cable| {
                let name = cable.name();
                switch.ip(&format!(
                    "link add {name} type bridge\nlink set {name} up\n"
                ))
            });
            made.map(|()| switch)
        });
        match made {
            Ok(switch) => Some(Self {
                switch,
                machines: Cell::new(0),
            }),
            Err(reason) => {
                eprintln!("SKIPPED: no network namespaces here: {reason}");
                None
            }
        }
    }

    /// A machine with these cables.
    pub fn machine(&self, cables: &[Cable]) -> Machine {
        let number = self.machines.get() + 1;
        self.machines.set(number);
        let machine = Machine {
            space: Space::new().unwrap(),
            number,
            cables: cables.to_vec(),
        };
        machine.space.ip("link set lo up\n").unwrap();
        for cable in cables {
            let (name, port, pid) = (cable.name(), machine.port(*cable), machine.space.0.id());
            let plugged = format!(
                "link add {port} type veth peer name {name} netns {pid}\n\
                 link set {port} master {name} up\n"
            );
            self.switch.ip(&plugged).unwrap();
            let address = machine.address(*cable);
            let addressed = format!("addr add {address}/24 dev {name}\nlink set {name} up\n");
            machine.space.ip(&addressed).unwrap();
        }
        machine
    }

    /// Has machines reach each other's addresses in front by the cables among them.
    pub fn join(&self, machines: &[&Machine]) {
        for one in machines {
            for other in machines.iter().filter(|other| other.number != one.number) {
                let there = other.address(Cable::Front);
                let route = format!("route add {there}/32 dev {}\n", Cable::Peers.name());
                one.space.ip(&route).unwrap();
            }
        }
    }

    /// Pulls a machine's cable: nothing comes, and nothing goes.
    pub fn pull(&self, machine: &Machine, cable: Cable) {
        self.set(machine, cable, "down");
    }

    /// Plugs it in again.
    pub fn plug(&self, machine: &Machine, cable: Cable) {
        self.set(machine, cable, "up");
    }

    fn set(&self, machine: &Machine, cable: Cable, state: &str) {
        let port = machine.port(cable);
        self.switch
            .ip(&format!("link set {port} {state}\n"))
            .unwrap();
    }
}

impl Machine {
    /// Its address on a cable.
    pub fn address(&self, cable: Cable) -> Ipv4Addr {
        assert!(self.cables.contains(&cable), "it has no such cable");
        Ipv4Addr::new(10, 77, cable.number(), self.number)
    }

    /// Has this thread be there.
    pub fn enter(&self) -> Entered {
        let back = File::open("/proc/thread-self/ns/net").unwrap();
        let there = File::open(format!("/proc/{}/ns/net", self.space.0.id())).unwrap();
        move_to(&there);
        Entered {
            back,
            _of_this_thread: PhantomData,
        }
    }

    /// Loses what this machine sends to another host, and nothing of what that one sends.
    pub fn lose(&self, to: &Self) {
        // Nobody has that address.
        self.neighbours(to, "replace", " lladdr 02:00:00:00:00:01 nud permanent");
    }

    /// Loses nothing more.
    pub fn find(&self, to: &Self) {
        self.neighbours(to, "del", "");
    }

    fn neighbours(&self, to: &Self, verb: &str, more: &str) {
        for cable in [Cable::Front, Cable::Peers] {
            let (address, dev) = (to.address(cable), Cable::Peers.name());
            let change = format!("neigh {verb} {address} dev {dev}{more}\n");
            self.space.ip(&change).unwrap();
        }
    }

    /// Where its cable is plugged in.
    fn port(&self, cable: Cable) -> String {
        format!("{}{}", cable.name(), self.number)
    }
}

impl Space {
    fn new() -> Result<Self, String> {
        let mut holder = Command::new("unshare")
            .args(["--net", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        // What comes back was there already.
        let _ = holder.stdin.as_mut().unwrap().write_all(b".");
        let mut echoed = [0];
        if holder
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut echoed)
            .is_ok()
        {
            return Ok(Self(holder));
        }
        let mut said = String::new();
        let _ = holder.stderr.take().unwrap().read_to_string(&mut said);
        let _ = holder.wait();
        Err(said.trim().to_owned())
    }

    /// Has `ip` do this there, a command in each line.
    fn ip(&self, commands: &str) -> Result<(), String> {
        let mut child = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.0.id()))
            .args(["ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("nsenter: {error}"))?;
        // It may not be there, which its answer says.
        let _ = child.stdin.take().unwrap().write_all(commands.as_bytes());
        let output = child
            .wait_with_output()
            .map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "{}: {}; run `make fleet`",
                commands.trim(),
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        move_to(&self.back);
    }
}

fn move_to(space: &File) {
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}
