//! The attester against a TPM in software: swtpm, which is a process of its own and keeps real keys and registers.

mod azure;
mod beside;
mod imds;
mod support;
mod tpm;
