//! The row by which hosts agree how one key takes the place of another. It is sealed: who has the database can withhold it, or put an
//! earlier one in its place.

use std::sync::Arc;

use hypervisor_protocol::HexArray;
use hypervisor_store::{Change, Error as RowError, Expect, KeyId, Keys, Ring, Store, Table, Under};
use serde::{Deserialize, Serialize};

use crate::message;
use crate::rows::Rows;

const ROTATIONS: Table = Table {
    name: "fleet-rotation",
    under: Under::Platform,
};
const ROTATION: &[u8] = b"rotation";

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The new key is made, and hosts get it. Nothing is under it.
    Offered,
    /// All have it, and write under it alone. What is under the one before is sealed anew.
    Writing,
    /// Nothing is under the one before, and hosts forget it.
    Done,
}

/// One key that takes the place of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    from: HexArray<8>,
    to: HexArray<8>,
    /// Which key of the fleet the new one is, from 1.
    pub(crate) number: u64,
    pub(crate) phase: Phase,
    /// When it began, by the database's clock.
    pub(crate) began: u64,
}

impl Rotation {
    pub(crate) fn offer([from, to]: [KeyId; 2], number: u64, began: u64) -> Self {
        Self {
            from: HexArray(from),
            to: HexArray(to),
            number,
            phase: Phase::Offered,
            began,
        }
    }

    pub(crate) fn from(&self) -> KeyId {
        self.from.0
    }

    pub(crate) fn to(&self) -> KeyId {
        self.to.0
    }

    pub(crate) fn at(self, phase: Phase) -> Self {
        Self { phase, ..self }
    }
}

/// The row, as a host with these keys sees it.
pub(crate) struct Rotations(Store);

impl Rotations {
    pub(crate) fn of(rows: &Rows, ring: &Arc<Ring>) -> Result<Self, RowError> {
        let backend = Box::new(Arc::clone(rows.backend()));
        Store::over(backend, Keys::of(ring), &[ROTATIONS]).map(Self)
    }

    /// The last rotation, with the version of its row.
    pub(crate) fn read(&self) -> Result<Option<(Rotation, u64)>, RowError> {
        let Some(row) = self.0.get(ROTATIONS, ROTATION)? else {
            return Ok(None);
        };
        let rotation = message::decode(&row.value);
        let rotation = rotation.map_err(|_| RowError::Authentication(ROTATIONS.name))?;
        Ok(Some((rotation, row.version)))
    }

    /// Writes a row that is as expected, and everything that this host wrote before, to the disk; false where it is not.
    pub(crate) fn write(&self, rotation: &Rotation, expect: Expect) -> Result<bool, RowError> {
        let value = message::encode(rotation);
        let change = Change {
            expect,
            ..Change::put(ROTATIONS, ROTATION, &value)
        };
        match self.0.commit(&[change], true) {
            Ok(()) => Ok(true),
            Err(RowError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
