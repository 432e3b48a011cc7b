//! The host's access to what an instance holds, through what the instrumenter added to its component.

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Func, Instance, TypedFunc, WasmList};

use super::guest::Guest;
use super::instrument::{ACCESS, SCRATCH};

/// What precedes a run of pages: its place and its length.
pub(super) const HEAD: usize = 8;
/// Bytes of a page of linear memory.
pub(super) const WASM_PAGE: u64 = 64 << 10;
pub(super) const STEP: usize = SCRATCH as usize;

/// Where a component exports what the instrumenter added.
pub(super) struct AccessIndices {
    memories: Vec<[ComponentExportIndex; 4]>,
    globals: ComponentExportIndex,
    set_globals: ComponentExportIndex,
}

impl AccessIndices {
    /// None of a component that was not instrumented.
    pub(super) fn of(component: &Component) -> Option<Self> {
        let access = component.get_export_index(None, ACCESS)?;
        let get = |name: &str| component.get_export_index(Some(&access), name);
        let of_memory = |at: usize| {
            let get = |name| get(&format!("{name}{at}"));
            Some([get("size")?, get("grow")?, get("read")?, get("write")?])
        };
        Some(Self {
            memories: (0..).map_while(of_memory).collect(),
            globals: get("globals")?,
            set_globals: get("set-globals")?,
        })
    }

    /// The same in an instance.
    pub(super) fn load(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
    ) -> wasmtime::Result<Access> {
        let mut get = |index: &ComponentExportIndex| {
            let function = instance.get_func(&mut *store, index);
            function.ok_or_else(|| wasmtime::Error::msg("the component lacks its access"))
        };
        let mut memories = Vec::with_capacity(self.memories.len());
        for [size, grow, read, write] in &self.memories {
            memories.push(MemoryAccess {
                size: get(size)?,
                grow: get(grow)?,
                read: get(read)?,
                write: get(write)?,
            });
        }
        Ok(Access {
            memories,
            globals: get(&self.globals)?,
            set_globals: get(&self.set_globals)?,
        })
    }
}

/// Reads and writes what an instance holds.
pub(super) struct Access {
    pub(super) memories: Vec<MemoryAccess>,
    globals: Func,
    set_globals: Func,
}

pub(super) struct MemoryAccess {
    size: Func,
    grow: Func,
    read: Func,
    write: Func,
}

type Nothing = TypedFunc<(), (u32,)>;
type Read = TypedFunc<(u32, u32), (WasmList<u8>,)>;

impl MemoryAccess {
    pub(super) async fn pages(&self, store: &mut Store<Guest>) -> wasmtime::Result<u32> {
        let size: Nothing = self.size.typed(&mut *store)?;
        Ok(size.call_async(store, ()).await?.0)
    }

    /// Whether there was room for so many more pages of its own.
    pub(super) async fn grow(&self, store: &mut Store<Guest>, by: u32) -> wasmtime::Result<bool> {
        let grow: TypedFunc<(u32,), (i32,)> = self.grow.typed(&mut *store)?;
        let (before,) = grow.call_async(store, (by,)).await?;
        Ok(before >= 0)
    }

    /// Writes runs of bytes, each behind its place and its length, little-endian; at most [`STEP`] of all that.
    pub(super) async fn write(
        &self,
        store: &mut Store<Guest>,
        runs: &[u8],
    ) -> wasmtime::Result<()> {
        let write = self.write.typed::<(&[u8],), ()>(&mut *store)?;
        write.call_async(store, (runs,)).await
    }

    /// The byte at a place.
    pub(super) async fn byte(
        &self,
        store: &mut Store<Guest>,
        place: usize,
    ) -> wasmtime::Result<u8> {
        let read: Read = self.read.typed(&mut *store)?;
        let (list,) = read.call_async(&mut *store, (word(place)?, 1)).await?;
        let byte = list.as_le_slice(&*store).first().copied();
        byte.ok_or_else(|| wasmtime::Error::msg("the component's access gives nothing"))
    }

    /// Shows all of it, part by part, in order.
    pub(super) async fn each(
        &self,
        store: &mut Store<Guest>,
        mut show: impl FnMut(usize, &[u8]) -> bool,
    ) -> wasmtime::Result<u32> {
        let pages = self.pages(store).await?;
        let end = bytes_of(pages);
        let read: Read = self.read.typed(&mut *store)?;
        for at in (0..end).step_by(STEP) {
            let length = STEP.min(end.saturating_sub(at));
            let (place, length) = (word(at)?, word(length)?);
            let (list,) = read.call_async(&mut *store, (place, length)).await?;
            if !show(at, list.as_le_slice(&*store)) {
                break;
            }
        }
        Ok(pages)
    }
}

impl Access {
    /// All of them, eight bytes each.
    pub(super) async fn globals(&self, store: &mut Store<Guest>) -> wasmtime::Result<Vec<u8>> {
        let globals: TypedFunc<(), (WasmList<u8>,)> = self.globals.typed(&mut *store)?;
        let (list,) = globals.call_async(&mut *store, ()).await?;
        Ok(list.as_le_slice(&*store).to_vec())
    }

    pub(super) async fn set_globals(
        &self,
        store: &mut Store<Guest>,
        globals: &[u8],
    ) -> wasmtime::Result<()> {
        let set = self.set_globals.typed::<(&[u8],), ()>(&mut *store)?;
        set.call_async(store, (globals,)).await
    }
}

pub(super) fn bytes_of(pages: u32) -> usize {
    let bytes = u64::from(pages).saturating_mul(WASM_PAGE);
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

pub(super) fn pages_of(bytes: usize) -> u32 {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    u32::try_from(bytes.div_euclid(WASM_PAGE)).unwrap_or(u32::MAX)
}

fn word(number: usize) -> wasmtime::Result<u32> {
    Ok(u32::try_from(number)?)
}

pub(super) fn number(le: [u8; 4]) -> usize {
    usize::try_from(u32::from_le_bytes(le)).unwrap_or(usize::MAX)
}

pub(super) fn le(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}
