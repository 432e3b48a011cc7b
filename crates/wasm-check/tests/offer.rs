//! What a host offers, and what it says of the rest.
#![allow(clippy::unwrap_used, reason = "tests")]

use hypervisor_wasm_check::{Import, Standing, WASI_VERSION};

#[test]
fn any_patch_of_wasi_0_2_is_accepted() {
    for version in ["0.2.0", "0.2.6", "0.2.12", "0.2.99"] {
        assert_eq!(
            Import::judge(&format!("wasi:io/poll@{version}")).standing,
            Standing::Granted
        );
    }
}

#[test]
fn other_minors_pre_releases_and_bare_names_are_missing_and_name_the_host_version() {
    for name in [
        "wasi:io/poll@0.3.0",
        "wasi:io/poll@0.2.0-rc-2023",
        "wasi:io/poll",
        "wasi:io/poll@1.2.0",
    ] {
        let import = Import::judge(name);
        assert_eq!(import.standing, Standing::Missing, "{name}");
        assert!(
            import.explain(false).contains(WASI_VERSION),
            "{}",
            import.explain(false)
        );
    }
}

#[test]
fn files_and_sockets_are_inert() {
    assert_eq!(
        Import::judge("wasi:filesystem/types@0.2.6").standing,
        Standing::Inert
    );
    assert_eq!(
        Import::judge("wasi:sockets/tcp@0.2.6").standing,
        Standing::Inert
    );
}

#[test]
fn an_unknown_interface_is_missing_and_the_package_is_explained() {
    let import = Import::judge("acme:db/store@1.0.0");
    assert_eq!(import.standing, Standing::Missing);
    assert!(
        import
            .explain(false)
            .starts_with("`acme:db/store@1.0.0` is not offered")
    );
    assert!(
        Import::judge("wasi:cli/nonsense@0.2.0")
            .explain(false)
            .contains("wasi:cli/stdin")
    );
}
