//! Programs, and images of machines.

use hypervisor_image::Image;
use hypervisor_image::cpio::Tree;
use hypervisor_image::pe::Program;
use hypervisor_wasm_check::{MAX_IMPORTS, MAX_NAME, Plugins, granted, inspect};

use crate::bounded;

/// Components and modules, looked at without being run.
pub(crate) fn components(bytes: &[u8]) {
    let read = bounded(bytes, 64, || inspect(bytes));
    let inspection = match read {
        Ok(inspection) => inspection,
        Err(refusal) => {
            assert!(refusal.detail.chars().count() <= 2_001);
            return;
        }
    };
    assert!(inspection.imports.len() <= MAX_IMPORTS);
    let mut names = inspection.imports.iter().map(|import| &import.name);
    assert!(names.all(|name| name.len() <= MAX_NAME));
    let command = inspection.require_command();
    let plugins = Plugins {
        policy: true,
        payments: true,
        rows: true,
    };
    let imports = inspection.imports.len();
    if let Ok(agent) = inspection.into_agent(plugins) {
        assert!(granted(&agent.imports).len() <= imports);
    } else {
        // What runs as a program runs as an agent too.
        assert!(command.is_err());
    }
}

/// Archives of files, and programs of UEFI.
pub(crate) fn images(bytes: &[u8]) {
    if let Ok(tree) = bounded(bytes, 64, || Tree::read(bytes)) {
        let written = tree.write();
        assert_eq!(Tree::read(&written).unwrap(), tree);
        assert_eq!(Tree::read(&written).unwrap().write(), written);
    }
    if let Ok(program) = bounded(bytes, 64, || Program::parse(bytes, "the image")) {
        let _ = program.sections();
        let _ = program.authenticode();
    }
    if let Ok(image) = bounded(bytes, 64, || Image::parse(bytes)) {
        let _ = (image.kernel(), image.command_line(), image.initrd());
    }
}
