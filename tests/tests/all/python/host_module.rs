//! `import hypervisor`: what the host offers a script.

use hypervisor_tests::Host;
use hypervisor_tests::programs::component_file;
use sha2::{Digest, Sha384};

use crate::python::{output, stdout};

#[tokio::test]
async fn the_hosts_digests_are_those_of_hashlib() {
    let script = r#"
import hashlib, hmac, hypervisor
for algorithm in ("sha256", "sha384", "sha512"):
    for data in (b"", b"abc", bytes(100_000)):
        assert hypervisor.digest(data, algorithm) == hashlib.new(algorithm, data).digest()
        tag = hypervisor.hmac(b"key", data, algorithm)
        assert tag == hmac.digest(b"key", data, algorithm)
        hypervisor.verify_hmac(b"key", data, tag, algorithm)
print(hypervisor.digest(b"", "keccak256").hex())
"#;
    assert_eq!(
        output(script).await,
        "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470\n"
    );
}

#[tokio::test]
async fn a_wrong_tag_is_an_exception_with_the_interfaces_name_for_it() {
    let script = r#"
import hypervisor
try:
    hypervisor.verify_hmac(b"key", b"data", bytes(32))
except hypervisor.HostError as error:
    print(error.code)
"#;
    assert_eq!(output(script).await, "verification-failed\n");
}

#[tokio::test]
async fn a_key_of_the_host_signs_and_the_signature_verifies() {
    let script = r#"
import hypervisor
with hypervisor.SigningKey.generate() as key:
    public, signature = key.public_key, key.sign(b"statement")
    assert len(public) == 33 and len(signature) == 64
hypervisor.verify_p256(public, b"statement", signature)
try:
    hypervisor.verify_p256(public, b"another", signature)
except hypervisor.HostError as error:
    print(error.code)
try:
    key.sign(b"statement")
except ValueError as error:
    print(error)
"#;
    assert_eq!(
        output(script).await,
        "verification-failed\nthe key was closed\n"
    );
}

#[tokio::test]
async fn a_sealed_text_opens_with_its_key_only() {
    let script = r#"
import hypervisor, secrets
key, nonce = secrets.token_bytes(32), secrets.token_bytes(12)
sealed = hypervisor.seal(key, nonce, b"plaintext", b"aad")
assert hypervisor.open(key, nonce, sealed, b"aad") == b"plaintext"
try:
    hypervisor.open(key, nonce, sealed, b"other")
except hypervisor.HostError as error:
    print(error.code)
print(len(hypervisor.hkdf(key, 100, salt=b"s", info=b"i", algorithm="sha512")))
"#;
    assert_eq!(output(script).await, "authentication-failed\n100\n");
}

#[tokio::test]
async fn the_log_of_components_has_the_digest_of_the_script_engine() {
    let script = r#"
import hypervisor
log = hypervisor.measurements()
assert len(log.head) == 48
for entry in log.entries:
    print(entry.name, entry.digest.hex(), "hypervisor:plugin/crypto@0.1.1" in entry.imports)
"#;
    let component = std::fs::read(component_file("policy-python")).unwrap();
    let digest: String = Sha384::digest(&component)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(output(script).await, format!("python {digest} True\n"));
}

#[tokio::test]
async fn the_hosts_identity_is_one_key_for_all_scripts() {
    let host = Host::with_python("");
    let script = "import hypervisor; who = hypervisor.identity(); print(len(who.public_key), who.public_key.hex(), who.backend, who.simulated)";
    let first = stdout(&host.python(script).await);
    assert!(
        first.starts_with("33 0") && first.ends_with(" none False\n"),
        "{first}"
    );
    assert_eq!(first, stdout(&host.python(script).await));
}

#[tokio::test]
async fn without_a_trusted_execution_environment_there_is_no_evidence() {
    let script = r#"
import hypervisor
for claim in (b"", b"claim"):
    try:
        print(hypervisor.evidence(claim))
    except hypervisor.HostError as error:
        print(error.code)
"#;
    assert_eq!(output(script).await, "unavailable\nunavailable\n");
}

#[tokio::test]
async fn all_that_the_module_offers_is_explained() {
    let script = r#"
import hypervisor, inspect
for name in hypervisor.__all__:
    found = getattr(hypervisor, name)
    if name != "Algorithm":
        assert inspect.getdoc(found), name
    if inspect.isfunction(found):
        hints = inspect.signature(found)
        assert hints.return_annotation is not inspect.Signature.empty, name
        assert all(p.annotation is not p.empty for p in hints.parameters.values()), name
print("explained")
"#;
    assert_eq!(output(script).await, "explained\n");
}
