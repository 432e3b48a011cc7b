//! The attester end to end, through real system calls: configfs-tsm as a FUSE file system.
//!
//! Needs /dev/fuse and the right to mount; elsewhere the tests say why they do nothing.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use hypervisor_evidence::extend_and_check;
use hypervisor_tsm::{Error, Paths, Refusal, Retry, SystemFs, Tsm};
use tempfile::TempDir;

use crate::support::kernel::{Fault, Kernel};
use crate::support::{REPORT_DATA, simulator, tdx};

/// Nothing is kept in the kernel's caches: entries come and go behind its back.
const TTL: Duration = Duration::ZERO;

/// What an inode number stands for.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Node {
    Root,
    Reports,
    Measurements,
    Entry(String),
    File(String, String),
    Register(String),
}

/// An open file: what it holds, read at the first read and written at close.
#[derive(Default)]
struct Open {
    content: Option<Vec<u8>>,
    written: Vec<u8>,
}

struct ConfigFs {
    kernel: Arc<Kernel>,
    nodes: Mutex<Vec<Node>>,
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
}

impl ConfigFs {
    fn node(&self, number: INodeNo) -> Option<Node> {
        let index = usize::try_from(u64::from(number)).ok()?.checked_sub(1)?;
        self.nodes.lock().unwrap().get(index).cloned()
    }

    fn number(&self, node: &Node) -> u64 {
        let mut nodes = self.nodes.lock().unwrap();
        let index = nodes.iter().position(|known| known == node);
        let index = index.unwrap_or_else(|| {
            nodes.push(node.clone());
            nodes.len() - 1
        });
        u64::try_from(index).unwrap() + 1
    }

    fn attributes(&self, node: &Node) -> FileAttr {
        let (kind, perm) = match node {
            Node::File(..) | Node::Register(_) => (FileType::RegularFile, 0o600),
            _ => (FileType::Directory, 0o700),
        };
        FileAttr {
            ino: INodeNo(self.number(node)),
            // As in configfs, the size is no guide to what can be read.
            size: 4096,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }

    fn child(&self, parent: &Node, name: &str) -> Option<Node> {
        match parent {
            Node::Root if name == "report" => Some(Node::Reports),
            Node::Root if name == "measurements" => Some(Node::Measurements),
            Node::Reports if self.kernel.has_entry(name) => Some(Node::Entry(name.to_owned())),
            Node::Measurements if self.kernel.register_exists(name) => {
                Some(Node::Register(name.to_owned()))
            }
            Node::Entry(entry) if self.kernel.has_entry(entry) && self.kernel.visible(name) => {
                Some(Node::File(entry.clone(), name.to_owned()))
            }
            _ => None,
        }
    }

    fn content(&self, node: &Node) -> Result<Vec<u8>, rustix::io::Errno> {
        match node {
            Node::File(entry, file) => self.kernel.read_entry(entry, file),
            Node::Register(name) => self.kernel.read_register(name),
            _ => Err(rustix::io::Errno::ISDIR),
        }
    }
}

fn errno(errno: rustix::io::Errno) -> Errno {
    Errno::from_i32(errno.raw_os_error())
}

impl Filesystem for ConfigFs {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let node = self
            .node(parent)
            .and_then(|parent| self.child(&parent, name.to_str()?));
        match node {
            Some(node) => reply.entry(&TTL, &self.attributes(&node), Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(number) {
            Some(node) => reply.attr(&TTL, &self.attributes(&node)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        if self.node(parent) != Some(Node::Reports) {
            return reply.error(Errno::EPERM);
        }
        let name = name.to_str().unwrap();
        match self.kernel.mkdir(name) {
            Ok(()) => {
                let node = Node::Entry(name.to_owned());
                reply.entry(&TTL, &self.attributes(&node), Generation(0));
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        if self.node(parent) != Some(Node::Reports) {
            return reply.error(Errno::EPERM);
        }
        match self.kernel.rmdir(name.to_str().unwrap()) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().unwrap().insert(handle, Open::default());
        reply.opened(FileHandle(handle), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut open = self.open.lock().unwrap();
        let open = open.entry(u64::from(handle)).or_default();
        if open.content.is_none() {
            match self.content(&self.node(number).unwrap()) {
                Ok(content) => open.content = Some(content),
                Err(error) => return reply.error(errno(error)),
            }
        }
        let content = open.content.as_deref().unwrap();
        let from = usize::try_from(offset).unwrap().min(content.len());
        let to = content.len().min(from + usize::try_from(size).unwrap());
        reply.data(&content[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = match self.node(number).unwrap() {
            Node::Register(name) => self.kernel.write_register(&name, data, offset),
            Node::File(entry, file) => {
                let mut open = self.open.lock().unwrap();
                let open = open.entry(u64::from(handle)).or_default();
                let end = open.written.len() + data.len();
                let checked = self.kernel.check_write(&entry, &file, end);
                if checked.is_ok() {
                    open.written.extend_from_slice(data);
                }
                checked
            }
            _ => Err(rustix::io::Errno::ISDIR),
        };
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap()),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(
        &self,
        _: &Request,
        number: INodeNo,
        handle: FileHandle,
        _: LockOwner,
        reply: ReplyEmpty,
    ) {
        let open = self.open.lock().unwrap().remove(&u64::from(handle));
        if let (Some(Node::File(entry, _)), Some(open)) = (self.node(number), open)
            && !open.written.is_empty()
        {
            self.kernel.close_entry(&entry, &open.written);
        }
        reply.ok();
    }
}

/// A mounted kernel interface. Unmounted when dropped.
struct Mounted {
    kernel: Arc<Kernel>,
    directory: TempDir,
    _session: BackgroundSession,
}

/// `None`, and the reason on standard error, where FUSE can not be used.
fn mount() -> Option<Mounted> {
    if !std::path::Path::new("/dev/fuse").exists() {
        eprintln!("skipped: this machine has no /dev/fuse");
        return None;
    }
    let kernel = tdx();
    let directory = tempfile::tempdir().unwrap();
    let file_system = ConfigFs {
        kernel: kernel.clone(),
        nodes: Mutex::new(vec![Node::Root]),
        open: Mutex::default(),
        next: AtomicU64::new(1),
    };
    match fuser::spawn_mount(file_system, directory.path(), &Config::default()) {
        Ok(session) => Some(Mounted {
            kernel,
            directory,
            _session: session,
        }),
        Err(error) => {
            eprintln!("skipped: FUSE can not be mounted here: {error}");
            None
        }
    }
}

fn open(mounted: &Mounted) -> Tsm {
    let paths = Paths {
        reports: mounted.directory.path().join("report"),
        measurements: mounted.directory.path().join("measurements"),
        boot_log: mounted.directory.path().join("CCEL"),
    };
    let retry = Retry {
        pause: Duration::ZERO,
        ..Retry::default()
    };
    Tsm::with(Arc::new(SystemFs), paths, retry).unwrap()
}

#[test]
fn a_quote_comes_through_the_file_system() {
    let Some(mounted) = mount() else { return };
    let mut blob = simulator().raw_quote(&REPORT_DATA).unwrap();
    let good = blob.clone();
    blob.extend([0xa5; 3065]);
    mounted.kernel.fail(Fault::Blob(blob));
    let quote = open(&mounted).quote(&REPORT_DATA).unwrap();
    assert_eq!(quote.bytes, good);
    assert_eq!(quote.dropped, 3065);
    assert_eq!(mounted.kernel.entries(), 0);
}

#[test]
fn the_drivers_errors_come_through_the_file_system() {
    let Some(mounted) = mount() else { return };
    let tsm = open(&mounted);
    mounted.kernel.fail(Fault::Errno(rustix::io::Errno::BUSY));
    assert!(tsm.quote(&REPORT_DATA).is_ok());
    mounted.kernel.fail(Fault::Errno(rustix::io::Errno::INVAL));
    assert_eq!(
        tsm.quote(&REPORT_DATA),
        Err(Error::Refused {
            cause: Refusal::Invalid,
            attempts: 1
        })
    );
    mounted.kernel.fail(Fault::Blob(Vec::new()));
    assert!(matches!(
        tsm.quote(&REPORT_DATA),
        Err(Error::QuoteTooShort { length: 0, .. })
    ));
    assert_eq!(mounted.kernel.entries(), 0);
}

#[test]
fn the_register_is_extended_through_the_file_system() {
    let Some(mounted) = mount() else { return };
    let tsm = open(&mounted);
    let value = extend_and_check(&tsm, &[7; 48]).unwrap();
    assert_eq!(tsm.quote(&REPORT_DATA).unwrap().bytes[520..568], value);
}
