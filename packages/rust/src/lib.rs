#![doc = include_str!("../README.md")]

/// The bindings of a world of the package, in the module where it stands: what the world exports by short names, the imports that
/// every plugin has, and `export!`.
#[allow(unused_macros, reason = "there may be no plugin among the features")]
macro_rules! world {
    ($world:literal, $module:literal: $($interface:ident),+) => {
        ::wit_bindgen::generate!({
            path: "wit",
            world: $world,
            generate_all,
            pub_export_macro: true,
            default_bindings_module: $module,
        });

        $(pub use exports::hypervisor::plugin::$interface;)+
        pub use hypervisor::plugin::crypto;
    };
}

/// What an agent, and a program, may import of its host. Programs have `crypto` alone.
#[cfg(feature = "agent")]
pub mod agent {
    ::wit_bindgen::generate!({
        path: "wit",
        inline: "
            package hypervisor:agent;

            world agent {
                import hypervisor:plugin/crypto@0.1.1;
                import hypervisor:plugin/attestation@0.1.1;
                import hypervisor:plugin/policy@0.1.1;
                import hypervisor:plugin/payment@0.1.1;
            }
        ",
        generate_all,
    });

    pub use hypervisor::plugin::{attestation, crypto, payment, policy};
}

/// A plugin that takes payments: of the largest world among the features.
#[cfg(feature = "payments")]
pub mod payments {
    #[cfg(not(feature = "payments-with-fields"))]
    world!("hypervisor:plugin/payments", "hypervisor_plugin::payments": payment);

    #[cfg(all(feature = "payments-with-fields", not(feature = "payments-with-quote")))]
    world!(
        "hypervisor:plugin/payments-with-fields",
        "hypervisor_plugin::payments": payment, payment_fields
    );

    #[cfg(all(
        feature = "payments-with-quote",
        not(feature = "payments-with-finality")
    ))]
    world!(
        "hypervisor:plugin/payments-with-quote",
        "hypervisor_plugin::payments": payment, payment_fields, quote
    );

    #[cfg(all(
        feature = "payments-with-finality",
        not(feature = "payments-with-catalogue")
    ))]
    world!(
        "hypervisor:plugin/payments-with-finality",
        "hypervisor_plugin::payments": payment, payment_fields, quote, finality
    );

    #[cfg(all(
        feature = "payments-with-catalogue",
        not(feature = "payments-with-metered")
    ))]
    world!(
        "hypervisor:plugin/payments-with-catalogue",
        "hypervisor_plugin::payments": payment, payment_fields, quote, finality, payment_identifier,
            payment_catalogue
    );

    #[cfg(all(
        feature = "payments-with-metered",
        not(feature = "payments-with-sign-in")
    ))]
    world!(
        "hypervisor:plugin/payments-with-metered",
        "hypervisor_plugin::payments": payment, payment_fields, quote, finality, payment_identifier,
            payment_catalogue, payment_metered
    );

    #[cfg(feature = "payments-with-sign-in")]
    world!(
        "hypervisor:plugin/payments-with-sign-in",
        "hypervisor_plugin::payments": payment, payment_fields, quote, finality, payment_identifier,
            payment_catalogue, payment_metered, payment_sign_in
    );

    impl payment::Header {
        /// A header field.
        pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
            Self {
                name: name.into(),
                value: value.into(),
            }
        }
    }

    /// The value of the one field of this name, written in any case. None where there is none, and where there are more: which of
    /// them pays is not for a component to guess.
    pub fn only<'a>(headers: &'a [payment::Header], name: &str) -> Option<&'a str> {
        let mut found = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some(header), None) => Some(&header.value),
            _ => None,
        }
    }
}

/// A plugin that decides what may be done: of the larger world among the features.
#[cfg(feature = "policy-engine")]
pub mod policy_engine {
    #[cfg(not(feature = "policy-engine-with-rules"))]
    world!("hypervisor:plugin/policy-engine", "hypervisor_plugin::policy_engine": policy);

    #[cfg(feature = "policy-engine-with-rules")]
    world!(
        "hypervisor:plugin/policy-engine-with-rules",
        "hypervisor_plugin::policy_engine": policy, policy_rules
    );
}

/// A plugin that runs scripts: of the larger world among the features.
#[cfg(feature = "script-engine")]
pub mod script_engine {
    #[cfg(not(feature = "runtime-engine"))]
    world!("hypervisor:plugin/script-engine", "hypervisor_plugin::script_engine": script);

    #[cfg(feature = "runtime-engine")]
    world!(
        "hypervisor:plugin/runtime-engine",
        "hypervisor_plugin::script_engine": script, runtime
    );
}
