//! The plugins' exports, generated from `wit/`.

/// Exports of the world `runtime-engine`; `runtime` may be missing.
pub(super) mod script {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]

    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package hypervisor:host-script;

            world script-plugin {
                export hypervisor:plugin/script@0.1.1;
                export hypervisor:plugin/runtime@0.1.1;
            }
        ",
        exports: { default: async },
    });
}

/// Exports of the world `policy-engine-with-rules`; `policy-rules` may be missing.
pub(super) mod policy {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]

    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package hypervisor:host-policy;

            world policy-plugin {
                export hypervisor:plugin/policy@0.1.1;
                export hypervisor:plugin/policy-rules@0.1.1;
            }
        ",
        exports: { default: async },
    });
}

/// Exports of the world `payments`.
pub(super) mod payments {
    #![allow(missing_docs, unreachable_pub, reason = "generated")]

    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package hypervisor:host-payments;

            world payment-plugin {
                export hypervisor:plugin/payment@0.1.1;
            }
        ",
        exports: { default: async },
        additional_derives: [PartialEq, Eq, serde::Serialize, serde::Deserialize],
    });
}
