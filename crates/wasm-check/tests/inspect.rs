//! Components and modules as they come: read within bounds, or refused in words.
#![allow(clippy::unwrap_used, reason = "tests")]

use hypervisor_protocol::Rejection;
use hypervisor_wasm_check::{MAX_IMPORTS, MAX_MODULES, MAX_NAME, cut, inspect};
use proptest::prelude::*;
use wasm_encoder::{
    Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, InstanceType,
    Module, ModuleSection,
};

proptest! {
    #[test]
    fn arbitrary_bytes_are_inspected_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = inspect(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_component_header_are_inspected_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..512),
        component in any::<bool>(),
    ) {
        let header: &[u8] = if component { b"\0asm\x0d\0\x01\0" } else { b"\0asm\x01\0\0\0" };
        let _ = inspect(&[header, &bytes].concat()).and_then(|inspection| inspection.require_command());
    }
}

/// A component that imports an empty instance under each name.
fn importing(names: impl Iterator<Item = String>) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    let mut imports = ComponentImportSection::new();
    for name in names {
        imports.import(name.as_str(), ComponentTypeRef::Instance(0));
    }
    let mut component = Component::new();
    component.section(&types).section(&imports);
    component.finish()
}

#[test]
fn more_imports_than_any_program_has_are_refused_by_number() {
    let names = |n: usize| (0..n).map(|i| format!("test:a/i{i}@0.1.0"));
    assert_eq!(
        inspect(&importing(names(MAX_IMPORTS)))
            .unwrap()
            .imports
            .len(),
        MAX_IMPORTS
    );
    let refusal = inspect(&importing(names(MAX_IMPORTS + 1))).unwrap_err();
    assert_eq!(refusal.problem, Rejection::InvalidComponent);
    assert!(refusal.detail.contains("256"), "{refusal}");
}

#[test]
fn a_name_longer_than_any_interfaces_is_refused() {
    let name = format!("test:{}/i@0.1.0", "a".repeat(MAX_NAME));
    let refusal = inspect(&importing(std::iter::once(name))).unwrap_err();
    assert_eq!(refusal.problem, Rejection::InvalidComponent);
    assert!(refusal.detail.len() < 2 * MAX_NAME, "{refusal}");
}

#[test]
fn more_core_modules_than_any_program_has_are_refused() {
    let mut component = Component::new();
    for _ in 0..=MAX_MODULES {
        component.section(&ModuleSection(&Module::new()));
    }
    let refusal = inspect(&component.finish()).unwrap_err();
    assert!(refusal.detail.contains("core modules"), "{refusal}");
}

#[test]
fn what_is_cut_says_so() {
    assert_eq!(cut("four", 4), "four");
    assert_eq!(cut("\u{e9}\u{e9}\u{e9}", 2), "\u{e9}\u{e9}\u{2026}");
}
