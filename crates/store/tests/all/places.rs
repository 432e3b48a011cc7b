//! Where rows are: each test of a store runs over all of them.

use std::sync::Arc;

use hypervisor_postgres::Postgres;
use hypervisor_store::{Backend, Disk, Keys, Store};
use tempfile::TempDir;

use crate::server;
use crate::{FILE, PLATFORM, key, keys, path};

/// A place that keeps rows when a store over it is gone.
pub(crate) enum Place {
    Disk(TempDir),
    Postgres(Box<server::Postgres>),
}

impl Place {
    pub(crate) fn disk() -> Self {
        Self::Disk(tempfile::tempdir().unwrap())
    }

    pub(crate) fn postgres() -> Self {
        Self::Postgres(Box::new(server::Postgres::start()))
    }

    /// The backend, opened once more.
    pub(crate) fn backend(&self) -> Box<dyn Backend> {
        match self {
            Self::Disk(folder) => Box::new(Disk::open(&path(folder)).unwrap()),
            Self::Postgres(server) => Box::new(Postgres::open(&server.url()).unwrap()),
        }
    }

    fn keys(&self) -> Keys {
        match self {
            Self::Disk(_) => keys(Some(2), 1),
            Self::Postgres(_) => Keys::shared(&key(3)).unwrap(),
        }
    }

    pub(crate) fn over(&self, backend: Box<dyn Backend>) -> Store {
        Store::over(backend, self.keys(), &[PLATFORM, FILE]).unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        self.over(self.backend())
    }

    /// Two stores at once: over one file in one process, or each with connections of its own.
    pub(crate) fn pair(&self) -> (Store, Store) {
        match self {
            Self::Disk(folder) => {
                let disk = Arc::new(Disk::open(&path(folder)).unwrap());
                (
                    self.over(Box::new(Arc::clone(&disk))),
                    self.over(Box::new(disk)),
                )
            }
            Self::Postgres(_) => (self.store(), self.store()),
        }
    }
}

/// Makes each function a test over every place.
macro_rules! over_all_places {
    ($($name:ident)*) => {
        mod on_disk {
            $(#[test] fn $name() { super::$name(&$crate::places::Place::disk()); })*
        }
        mod in_postgres {
            $(#[test] fn $name() { super::$name(&$crate::places::Place::postgres()); })*
        }
    };
}
pub(crate) use over_all_places;
