//! The host's side of `wit/`, generated.

#![allow(
    missing_docs,
    reason = "the generator documents only what the WIT documents"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "
        package hypervisor:host;

        world imports {
            import hypervisor:plugin/crypto@0.1.1;
            import hypervisor:plugin/attestation@0.1.1;
        }
    ",
    imports: {
        // A handle that is not in the table is a fault of the host's, and a trap: the canonical ABI checked it before.
        "hypervisor:plugin/crypto.[static]signing-key.generate": trappable,
        "hypervisor:plugin/crypto.[method]signing-key.sign": trappable,
        "hypervisor:plugin/crypto.[method]signing-key.public-key": trappable,
    },
    with: {
        "hypervisor:plugin/crypto.signing-key": super::crypto::SigningKey,
    },
    additional_derives: [PartialEq, Eq],
});
