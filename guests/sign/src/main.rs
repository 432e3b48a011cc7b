//! The host's `crypto` interface: hashes standard input, then signs it with a key that never leaves the host.
//!
//! ```text
//! hv run target/guests/sign.wasm --stdin contract.pdf
//! ```
//!
//! prints the SHA-256 of the input, the public key, the signature, and `verified` once the host has
//! checked the one against the other. A world that imports what the agent uses, and a path to the
//! interface, are all that it takes: WASI comes from the standard library.

use std::error::Error;
use std::io::{self, Read};

use crypto::{DigestAlgorithm, SigningKey};
use hypervisor::plugin::crypto;

wit_bindgen::generate!({
    path: "../../wit",
    generate_all,
    inline: "
        package guests:sign;

        world sign {
            import hypervisor:plugin/crypto@0.1.1;
        }
    ",
});

fn main() -> Result<(), Box<dyn Error>> {
    let mut message = Vec::new();
    io::stdin().lock().read_to_end(&mut message)?;

    let digest = crypto::digest(DigestAlgorithm::Sha256, &message)?;
    println!("sha256     {}", hex(&digest));

    let key = SigningKey::generate()?;
    let public_key = key.public_key();
    let signature = key.sign(&message)?;
    println!("public key {}", hex(&public_key));
    println!("signature  {}", hex(&signature));

    // An error where it does not hold, so that nobody can forget to look.
    crypto::p256_verify(&public_key, &message, &signature)?;
    println!("verified");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
