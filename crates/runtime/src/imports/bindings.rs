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
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
        }
    ",
    imports: {
        // A handle that is not in the table is a fault of the host's, and a trap: the canonical ABI checked it before.
        "hypervisor:plugin/crypto.[static]signing-key.generate": trappable,
        "hypervisor:plugin/crypto.[static]signing-key.named": trappable,
        "hypervisor:plugin/crypto.[method]signing-key.sign": trappable,
        "hypervisor:plugin/crypto.[method]signing-key.public-key": trappable,
        "hypervisor:plugin/attestation.evidence": async,
        "wasi:keyvalue/store.[method]bucket.set": async,
        "wasi:keyvalue/store.[method]bucket.delete": async,
        "wasi:keyvalue/atomics.increment": async,
        "wasi:keyvalue/batch.set-many": async,
        "wasi:keyvalue/batch.delete-many": async,
    },
    with: {
        "hypervisor:plugin/crypto.signing-key": super::crypto::SigningKey,
        "wasi:keyvalue/store.bucket": super::keyvalue::Bucket,
    },
    additional_derives: [PartialEq, Eq],
});
