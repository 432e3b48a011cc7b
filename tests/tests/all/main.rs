//! End-to-end tests against the real binaries, all in one program: it is linked once.

mod agents;
mod attacks;
mod attestation;
mod checking;
mod cli;
mod environments;
mod isolation;
mod javascript;
mod layers;
mod lifecycle;
mod limits;
mod named;
mod packages;
mod payment_rig;
mod payments;
mod plugins;
mod policy;
mod python;
mod records;
mod refusals;
mod registries;
mod requests;
mod run;
mod templates;
mod tls;
mod transparency;
