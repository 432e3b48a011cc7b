//! configfs-tsm and the TDX registers in memory, with the semantics of Linux (drivers/virt/coco/guest/report.c and the drivers
//! behind it): files appear with the directory, writes of binary files take effect at close and their errors are lost, every
//! write counts a generation, reading `outblob` makes the quote and keeps it until the next write.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use hypervisor_evidence::{Attester, log};
use hypervisor_simulated::Simulator;
use hypervisor_tsm::TsmFs;
use rustix::io::Errno;
use zeroize::Zeroizing;

pub const REPORTS: &str = "/config/tsm/report";
pub const MEASUREMENTS: &str = "/measurements";
pub const RTMR3: &str = "rtmr3:sha384";
/// Elsewhere in a real kernel: it is set as the registers are.
pub const BOOT_LOG: &str = "CCEL";

/// Kernel's bound of `inblob`.
const INBLOB_MAX: usize = 64;

/// What answers behind the interface.
pub enum Driver {
    Tdx(Box<Simulator>),
    Sev,
    /// A driver that this program does not know.
    Other(&'static str),
}

impl Driver {
    fn name(&self) -> &'static str {
        match self {
            Self::Tdx(_) => "tdx_guest",
            Self::Sev => "sev_guest",
            Self::Other(name) => name,
        }
    }
}

/// What goes wrong with the next quote.
pub enum Fault {
    /// The driver fails.
    Errno(Errno),
    /// The driver succeeds with these bytes.
    Blob(Vec<u8>),
    /// Somebody writes the same entry again while the quote is made.
    Intruder,
}

#[derive(Default)]
struct Entry {
    inblob: Vec<u8>,
    write_generation: u64,
    read_generation: u64,
    outblob: Option<Vec<u8>>,
    auxblob: Vec<u8>,
}

struct State {
    driver: Option<Driver>,
    entries: BTreeMap<String, Entry>,
    /// Every name that an entry ever had.
    names: Vec<String>,
    faults: VecDeque<Fault>,
    /// Fails every mkdir.
    refuse_entries: Option<Errno>,
    /// Fails this many rmdirs.
    sticky: usize,
    outblob_max: usize,
    auxblob: Option<Vec<u8>>,
    privlevel_floor: u32,
    /// Absent before Linux 6.16.
    registers: BTreeMap<String, Vec<u8>>,
    /// Extends of RTMR3 that another process slips in before ours.
    foreign_extends: usize,
    /// What the SEV-SNP firmware derives, or how its device fails; none without a device.
    derived: Option<Answer<[u8; 32]>>,
    quotes: usize,
}

/// One kernel.
pub struct Kernel {
    state: Mutex<State>,
}

type Answer<T> = Result<T, Errno>;

impl Kernel {
    pub fn new(driver: Driver) -> Arc<Self> {
        let mut registers = BTreeMap::new();
        if matches!(driver, Driver::Tdx(_)) {
            for name in [
                "mrtd:sha384",
                "rtmr0:sha384",
                "rtmr1:sha384",
                "rtmr2:sha384",
                RTMR3,
            ] {
                registers.insert(name.to_owned(), vec![0; 48]);
            }
        }
        Arc::new(Self {
            state: Mutex::new(State {
                driver: Some(driver),
                entries: BTreeMap::new(),
                names: Vec::new(),
                faults: VecDeque::new(),
                refuse_entries: None,
                sticky: 0,
                outblob_max: 32 * 1024,
                auxblob: None,
                privlevel_floor: 0,
                registers,
                foreign_extends: 0,
                derived: None,
                quotes: 0,
            }),
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub fn fail(&self, fault: Fault) {
        self.with(|state| state.faults.push_back(fault));
    }

    pub fn refuse_entries(&self, errno: Errno) {
        self.with(|state| state.refuse_entries = Some(errno));
    }

    pub fn stick(&self, times: usize) {
        self.with(|state| state.sticky = times);
    }

    pub fn replace_driver(&self, driver: Option<Driver>) {
        self.with(|state| state.driver = driver);
    }

    pub fn outblob_max(&self, bytes: usize) {
        self.with(|state| state.outblob_max = bytes);
    }

    pub fn auxblob(&self, blob: Vec<u8>) {
        self.with(|state| state.auxblob = Some(blob));
    }

    pub fn privlevel_floor(&self, floor: u32) {
        self.with(|state| state.privlevel_floor = floor);
    }

    pub fn without_registers(&self) {
        self.with(|state| state.registers.clear());
    }

    pub fn set_register(&self, name: &str, value: Vec<u8>) {
        self.with(|state| state.registers.insert(name.to_owned(), value));
    }

    pub fn foreign_extends(&self, times: usize) {
        self.with(|state| state.foreign_extends = times);
    }

    pub fn derives(&self, key: [u8; 32]) {
        self.with(|state| state.derived = Some(Ok(key)));
    }

    pub fn refuse_keys(&self, errno: Errno) {
        self.with(|state| state.derived = Some(Err(errno)));
    }

    /// Entries that exist now.
    pub fn entries(&self) -> usize {
        self.with(|state| state.entries.len())
    }

    /// Names of all entries there ever were.
    pub fn names(&self) -> Vec<String> {
        self.with(|state| state.names.clone())
    }

    /// How often a driver was asked.
    pub fn quotes(&self) -> usize {
        self.with(|state| state.quotes)
    }

    pub fn mkdir(&self, name: &str) -> Answer<()> {
        self.with(|state| {
            if let Some(errno) = state.refuse_entries {
                return Err(errno);
            }
            if state.driver.is_none() {
                return Err(Errno::NXIO);
            }
            if state.entries.contains_key(name) {
                return Err(Errno::EXIST);
            }
            state.entries.insert(name.to_owned(), Entry::default());
            state.names.push(name.to_owned());
            Ok(())
        })
    }

    pub fn rmdir(&self, name: &str) -> Answer<()> {
        self.with(|state| {
            if !state.entries.contains_key(name) {
                return Err(Errno::NOENT);
            }
            if state.sticky > 0 {
                state.sticky -= 1;
                return Err(Errno::BUSY);
            }
            state.entries.remove(name);
            Ok(())
        })
    }

    pub fn has_entry(&self, name: &str) -> bool {
        self.with(|state| state.entries.contains_key(name))
    }

    /// Whether an entry shows this file: each driver has its own.
    pub fn visible(&self, file: &str) -> bool {
        self.with(|state| state.visible(file))
    }

    /// Opens, reads to the end and closes.
    pub fn read_entry(&self, name: &str, file: &str) -> Answer<Vec<u8>> {
        self.with(|state| {
            if !state.entries.contains_key(name) || !state.visible(file) {
                return Err(Errno::NOENT);
            }
            let driver = state.driver.as_ref().ok_or(Errno::NXIO)?;
            match file {
                "provider" => Ok(format!("{}\n", driver.name()).into_bytes()),
                "generation" => {
                    Ok(format!("{}\n", state.entries[name].write_generation).into_bytes())
                }
                "privlevel_floor" => Ok(format!("{}\n", state.privlevel_floor).into_bytes()),
                "outblob" | "auxblob" => state.blob(name, file),
                _ => Err(Errno::ACCESS),
            }
        })
    }

    /// A write of at most the file's bound; it counts at [`Kernel::close_entry`].
    pub fn check_write(&self, name: &str, file: &str, length: usize) -> Answer<()> {
        self.with(|state| {
            if !state.entries.contains_key(name) || !state.visible(file) {
                return Err(Errno::NOENT);
            }
            if file != "inblob" {
                return Err(Errno::ACCESS);
            }
            if length > INBLOB_MAX {
                return Err(Errno::FBIG);
            }
            Ok(())
        })
    }

    /// Close after writing `bytes`.
    pub fn close_entry(&self, name: &str, bytes: &[u8]) {
        self.with(|state| {
            if let Some(entry) = state.entries.get_mut(name) {
                entry.write_generation += 1;
                entry.inblob = bytes.to_vec();
            }
        });
    }

    pub fn register_exists(&self, name: &str) -> bool {
        self.with(|state| state.registers.contains_key(name))
    }

    pub fn read_register(&self, name: &str) -> Answer<Vec<u8>> {
        self.with(|state| state.registers.get(name).cloned().ok_or(Errno::NOENT))
    }

    /// Extends: exactly 48 bytes at offset 0.
    pub fn write_register(&self, name: &str, bytes: &[u8], offset: u64) -> Answer<()> {
        self.with(|state| {
            let writable = name.starts_with("rtmr");
            let register = state.registers.get_mut(name).ok_or(Errno::NOENT)?;
            if !writable {
                return Err(Errno::ACCESS);
            }
            if offset != 0 || bytes.len() != 48 {
                return Err(Errno::INVAL);
            }
            let mut value: [u8; 48] = register.as_slice().try_into().map_err(|_| Errno::IO)?;
            for _ in 0..std::mem::take(&mut state.foreign_extends) {
                value = log::extend(&value, &[0xee; 48]);
            }
            value = log::extend(&value, bytes.try_into().unwrap());
            *register = value.to_vec();
            if let Some(Driver::Tdx(simulator)) = &state.driver {
                simulator.extend(bytes.try_into().unwrap()).unwrap();
            }
            Ok(())
        })
    }
}

impl State {
    fn visible(&self, file: &str) -> bool {
        match file {
            "provider" | "generation" | "inblob" | "outblob" => true,
            "privlevel" | "privlevel_floor" => matches!(self.driver, Some(Driver::Sev)),
            "auxblob" => matches!(self.driver, Some(Driver::Sev)) && self.auxblob.is_some(),
            _ => false,
        }
    }

    fn blob(&mut self, name: &str, file: &str) -> Answer<Vec<u8>> {
        let entry = &self.entries[name];
        if entry.inblob.is_empty() {
            return Err(Errno::INVAL);
        }
        if entry.outblob.is_none() || entry.read_generation != entry.write_generation {
            self.make_quote(name)?;
        }
        let entry = &self.entries[name];
        let blob = match file {
            "outblob" => entry.outblob.clone().unwrap_or_default(),
            _ => entry.auxblob.clone(),
        };
        if blob.len() > self.outblob_max {
            return Err(Errno::FBIG);
        }
        Ok(blob)
    }

    fn make_quote(&mut self, name: &str) -> Answer<()> {
        self.quotes += 1;
        let fault = self.faults.pop_front();
        if let Some(Fault::Errno(errno)) = fault {
            return Err(errno);
        }
        let entry = self.entries.get_mut(name).unwrap();
        let report_data: [u8; 64] = entry
            .inblob
            .as_slice()
            .try_into()
            .map_err(|_| Errno::INVAL)?;
        let blob = match (&fault, self.driver.as_ref().ok_or(Errno::NXIO)?) {
            (Some(Fault::Blob(blob)), _) => blob.clone(),
            (_, Driver::Tdx(simulator)) => simulator.raw_quote(&report_data).unwrap(),
            (_, Driver::Sev) => {
                let mut report = super::milan();
                report[0x50..0x90].copy_from_slice(&report_data);
                report
            }
            (_, Driver::Other(_)) => Vec::new(),
        };
        entry.auxblob = self.auxblob.clone().unwrap_or_default();
        entry.outblob = Some(blob);
        entry.read_generation = entry.write_generation;
        if matches!(fault, Some(Fault::Intruder)) {
            entry.write_generation += 1;
        }
        Ok(())
    }
}

/// The kernel as the code under test sees it, without a file system in between.
impl TsmFs for Kernel {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        let name = entry(path).ok_or(Errno::PERM)?;
        Ok(self.mkdir(name)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let name = entry(path).ok_or(Errno::NOENT)?;
        Ok(self.rmdir(name)?)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Some(register) = register(path) {
            return Ok(self.write_register(register, bytes, 0)?);
        }
        let (name, file) = file(path).ok_or(Errno::NOENT)?;
        self.check_write(name, file, bytes.len())?;
        self.close_entry(name, bytes);
        Ok(())
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let bytes = match register(path) {
            Some(register) => self.read_register(register)?,
            None => {
                let (name, file) = file(path).ok_or(Errno::NOENT)?;
                self.read_entry(name, file)?
            }
        };
        if bytes.len() > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn snp_derived_key(&self) -> io::Result<Zeroizing<[u8; 32]>> {
        let derived = self.with(|state| state.derived).ok_or(Errno::NOENT)?;
        Ok(Zeroizing::new(derived?))
    }
}

fn entry(path: &Path) -> Option<&str> {
    path.strip_prefix(REPORTS).ok()?.to_str()
}

fn file(path: &Path) -> Option<(&str, &str)> {
    entry(path)?.split_once('/')
}

fn register(path: &Path) -> Option<&str> {
    path.strip_prefix(MEASUREMENTS).ok()?.to_str()
}
