//! Randomness: instances of one snapshot share none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hypervisor_client::{Execution, Program};
use hypervisor_tests::Host;
use tokio::task::JoinSet;

use crate::python::stdout;

/// Runs a script that prints what it draws, by source, two hundred times, twenty at once: all that was drawn.
pub(crate) async fn drawn<F>(run: impl Fn() -> F) -> BTreeMap<String, BTreeSet<String>>
where
    F: Future<Output = Execution> + Send + 'static,
{
    let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for _ in 0..10 {
        let mut round: JoinSet<_> = (0..20).map(|_| run()).collect();
        while let Some(execution) = round.join_next().await {
            let values: BTreeMap<String, String> =
                serde_json::from_str(&stdout(&execution.unwrap())).unwrap();
            for (source, value) in values {
                drawn.entry(source).or_default().insert(value);
            }
        }
    }
    drawn
}

#[tokio::test]
async fn two_hundred_instances_share_nothing_random_but_the_seed_of_hash() {
    const SCRIPT: &[u8] = br#"
import _sqlite3, email.utils, json, os, random, secrets, sqlite3, tempfile, uuid
import hypervisor
database = sqlite3.connect(":memory:")
select = lambda what: str(database.execute(f"select {what}").fetchone()[0])
print(json.dumps({
    "random.random": str(random.random()),
    "random.getrandbits": str(random.getrandbits(128)),
    "random.sample": str(random.sample(range(10**6), 20)),
    "random.Random": str(random.Random().random()),
    "random.SystemRandom": str(random.SystemRandom().random()),
    "random.getstate": str(hash(random.getstate())) + str(random.getstate()[1][:4]),
    "secrets.token_hex": secrets.token_hex(16),
    "uuid.uuid1": str(uuid.uuid1()),
    "uuid.uuid4": str(uuid.uuid4()),
    "uuid.uuid6": str(uuid.uuid6()),
    "uuid.uuid7": str(uuid.uuid7()),
    "uuid.uuid8": str(uuid.uuid8()),
    "uuid.getnode": str(uuid.getnode()),
    "os.urandom": os.urandom(16).hex(),
    "tempfile": next(tempfile._get_candidate_names()),
    "email.utils.make_msgid": email.utils.make_msgid(),
    "sqlite random": select("random()"),
    "_sqlite3 random": str(_sqlite3.connect(":memory:").execute("select random()").fetchone()),
    "sqlite randomblob": select("hex(randomblob(16))"),
    "signing key": hypervisor.SigningKey.generate().public_key.hex(),
    "hash": str(hash("x")),
}))
"#;
    let host = Host::with_python("");
    let session = Arc::new(host.session().await);
    let mut drawn = drawn(|| {
        let session = Arc::clone(&session);
        async move { session.run_python(Program::new(SCRIPT)).await.unwrap() }
    })
    .await;
    // The seed of `hash` is the build's, and counts as public: docs/decisions/0006-python-hash-seed.md.
    assert_eq!(drawn.remove("hash").unwrap().len(), 1);
    assert_eq!(drawn.len(), 20);
    for (source, values) in drawn {
        assert_eq!(values.len(), 200, "{source} gave two instances the same");
    }
}
