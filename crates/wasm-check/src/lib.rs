//! What a component imports and exports, and how a host judges it: *granted*, *inert* or *missing*.
//!
//! Nothing here runs or compiles a program. The host's compiler process, its operator's tool and clients use it, so that all
//! of them give the same verdict in the same words.

mod agent;
mod inspect;
mod offer;

pub use agent::{AgentInspection, PAYMENT, POLICY, Plugins, granted};
pub use inspect::{
    INCOMING_HANDLER, Inspection, Kind, MAX_IMPORTS, MAX_MODULES, MAX_NAME, Refusal, cut, inspect,
    kind_of,
};
pub use offer::{Import, PLUGIN_VERSION, Standing, WASI_VERSION, all_offered, versions_match};
