//! Engine settings: what code is compiled to, and how instances are allocated.

use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::Error;
use crate::limits::Settings;
use crate::reserve::{PLUGIN_CALLS, PLUGIN_USERS};

/// Linear memory kept resident in a pool slot between tenants, bytes. Only used with `PAGEMAP_SCAN`: the kernel then
/// names the pages a guest dirtied and only those are reset, which keeps the address space quiet.
const MEMORY_KEEP_RESIDENT: usize = 4 << 20;
/// Table bytes kept resident likewise.
const TABLE_KEEP_RESIDENT: usize = 64 << 10;
/// Slots of memories that may wait, for each processor, before one that waits is taken for another program and not one that was never
/// used. A slot keeps the pages of the programs that had it, so this bounds what a mix of them leaves behind.
const WAITING_SLOTS: usize = 16;
/// Native stack for host calls made at the deepest point of a guest's own stack, bytes.
const HOST_STACK: usize = 512 << 10;
/// Memories and tables one component may define. Composed components bring several.
const MEMORIES_PER_COMPONENT: u32 = 8;
const TABLES_PER_COMPONENT: u32 = 16;
/// Instances beside the executions: those that wait for their next call (services: see `idle`; scripts, the policy), those that
/// are being torn down, and the calls of plugins.
const WAITING_INSTANCES: usize = 128;
/// Bytes of runtime metadata of one core instance, and of one component instance.
const INSTANCE_METADATA: usize = 1 << 20;

/// The engine's version; it says none itself.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// How instances of this engine are allocated, for logs and `hypervisor check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Allocation {
    /// Pool, slots reset page by page with `PAGEMAP_SCAN`.
    PoolScanned,
    /// Pool, slots reset with `madvise`.
    Pool,
    /// No pool: its address space could not be reserved.
    OnDemand,
}

/// Settings that decide the machine code. The compiler process and the host must agree on every one.
pub fn compile_settings() -> Config {
    let mut config = Config::new();
    config
        // Stops a guest that never calls the host.
        .epoch_interruption(true)
        // WASI 0.2 needs no concurrent tasks, and their bookkeeping costs a quarter of a short execution.
        .concurrency_support(false)
        .wasm_component_model(true)
        .parallel_compilation(true);
    config
}

/// Builds the host's engine; falls back to on-demand allocation where the pool cannot be reserved.
pub(super) fn host_engine(settings: &Settings) -> Result<(Engine, Allocation), Error> {
    let mut config = compile_settings();
    let stack = as_usize(settings.limits.stack);
    config
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK));

    let scan = PoolingAllocationConfig::is_pagemap_scan_available() && !swap_is_active();
    let allocation = match scan {
        true => Allocation::PoolScanned,
        false => Allocation::Pool,
    };
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings, scan)));
    match Engine::new(&config) {
        Ok(engine) => Ok((engine, allocation)),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no instance pool: falling back to on-demand allocation"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            let engine = Engine::new(&config).map_err(Error::Engine)?;
            Ok((engine, Allocation::OnDemand))
        }
    }
}

/// Opens what the engine needs of its own process and may open no more once that cannot be looked into: its page map. Whether it is
/// of use.
pub fn look_at_own_pages() -> bool {
    crate::written::open();
    PoolingAllocationConfig::is_pagemap_scan_available()
}

fn pool(settings: &Settings, scan: bool) -> PoolingAllocationConfig {
    let limits = &settings.limits;
    let beside = WAITING_INSTANCES.saturating_add(PLUGIN_CALLS.saturating_mul(PLUGIN_USERS));
    let executions = u32::try_from(settings.executions.saturating_add(beside)).unwrap_or(u32::MAX);
    let instances = u32::try_from(limits.instances).unwrap_or(u32::MAX);
    let cores = available_parallelism().map_or(1, |it| it.get());
    let waiting = cores.saturating_mul(WAITING_SLOTS).min(WAITING_INSTANCES);
    let mut pool = PoolingAllocationConfig::new();
    pool.max_unused_warm_slots(u32::try_from(waiting).unwrap_or(u32::MAX))
        .total_component_instances(executions)
        .total_core_instances(executions.saturating_mul(instances))
        // What each may take at the most: an instance that was admitted never finds the pool empty.
        .total_memories(executions.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(executions.saturating_mul(TABLES_PER_COMPONENT))
        .total_stacks(executions)
        .max_core_instances_per_component(instances)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_memories_per_module(MEMORIES_PER_COMPONENT)
        .max_tables_per_module(TABLES_PER_COMPONENT)
        .max_core_instance_size(INSTANCE_METADATA)
        .max_component_instance_size(INSTANCE_METADATA)
        .table_elements(limits.table_elements)
        .max_memory_size(as_usize(limits.memory).next_multiple_of(64 << 10));
    if scan {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT)
            .table_keep_resident(TABLE_KEEP_RESIDENT);
    }
    pool
}

/// A page that was swapped out is not seen by `PAGEMAP_SCAN` as the engine uses it, and could reach the next tenant:
/// with any swap active the slots are reset by `madvise` instead. Unreadable counts as active.
fn swap_is_active() -> bool {
    fs::read_to_string("/proc/swaps").map_or(true, |swaps| swaps_lists_a_device(&swaps))
}

/// `/proc/swaps` is one heading line, then a line for each active device.
fn swaps_lists_a_device(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// Sizes on the 64-bit targets this host runs on always fit.
pub(super) fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_version_is_the_one_that_is_linked() {
        let lock = include_str!("../../../Cargo.lock");
        let linked = format!("name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n");
        assert!(lock.contains(&linked));
    }

    #[test]
    fn a_heading_alone_means_no_swap() {
        assert!(!swaps_lists_a_device("Filename\tType\tSize\n"));
    }

    #[test]
    fn any_device_means_swap() {
        assert!(swaps_lists_a_device("Filename\n/dev/vda2 partition\n"));
    }
}
