//! Programs of test262, the conformance suite of ECMAScript, run inside the JavaScript component and in the bare engine.
//!
//! ```text
//! case      one file of the suite: what it says of itself, and the ways it is to be run
//! corpus    a folder of them, with the harness that they include
//! program   the JavaScript that runs one, the same on both sides
//! inside    programs in the component, sent to a host
//! native    programs in the engine built for this machine: a process of tests/native
//! outcome   what came of them, and comparing
//! ```

mod case;
mod corpus;
mod error;
mod inside;
mod native;
mod outcome;
mod program;

pub use case::{Case, Mode};
pub use corpus::Corpus;
pub use error::Error;
pub use inside::inside;
pub use native::native;
pub use outcome::{Differences, Outcomes, engine_of, is_pass, read_recorded, recorded};
pub use program::Program;
