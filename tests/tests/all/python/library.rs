//! The standard library.

use std::collections::BTreeMap;
use std::path::Path;

use hypervisor_client::protocol::Exit;
use hypervisor_tests::Host;

use crate::python::{output, stderr};

/// Modules that every script may rely on, each with a few lines that raise if it does not work.
const WORKS: &[(&str, &str)] = &[
    (
        "json",
        r#"import json; assert json.loads(json.dumps({"a": [1, 2.5, None, "ü"]})) == {"a": [1, 2.5, None, "ü"]}"#,
    ),
    (
        "re",
        r#"import re; assert re.sub(r"(\w+) (\w+)", r"\2 \1", "hello world") == "world hello""#,
    ),
    (
        "hashlib",
        r#"
import hashlib
assert hashlib.sha256(b"abc").hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
assert hashlib.sha3_256(b"").hexdigest().startswith("a7ffc6f8bf1ed766")
assert hashlib.new("sha512", b"abc").digest_size == 64
assert hashlib.blake2b(b"abc", digest_size=16).digest_size == 16
assert hashlib.md5(b"").hexdigest() == "d41d8cd98f00b204e9800998ecf8427e""#,
    ),
    (
        "hmac",
        r#"
import hmac
tag = hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256")
assert tag.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
assert hmac.compare_digest(tag, hmac.new(b"Jefe", b"what do ya want for nothing?", "sha256").digest())"#,
    ),
    (
        "decimal",
        r#"from decimal import Decimal as D, getcontext; getcontext().prec = 50; assert D(1) / D(7) == D("0.14285714285714285714285714285714285714285714285714")"#,
    ),
    (
        "datetime",
        r#"
from datetime import date, datetime, timedelta, timezone
assert date(2024, 2, 28) + timedelta(days=2) == date(2024, 3, 1)
assert datetime(2024, 1, 1, tzinfo=timezone.utc).isoformat() == "2024-01-01T00:00:00+00:00"
assert datetime.strptime("07.03.2025", "%d.%m.%Y").weekday() == 4"#,
    ),
    (
        "statistics",
        "import statistics as s; assert (s.mean([1, 2, 6]), s.median([3, 1, 2]), s.stdev([2, 4])) == (3, 2, 2 ** 0.5)",
    ),
    (
        "csv",
        r#"
import csv, io
out = io.StringIO(); csv.writer(out).writerow(["a,b", 1])
assert out.getvalue() == '"a,b",1\r\n' and list(csv.DictReader(["x,y", "1,2"])) == [{"x": "1", "y": "2"}]"#,
    ),
    (
        "dataclasses",
        r#"
from dataclasses import asdict, dataclass, field, replace
@dataclass(order=True, slots=True)
class P:
    x: int
    y: list = field(default_factory=list)
assert asdict(replace(P(1), x=2)) == {"x": 2, "y": []} and P(1) < P(2)"#,
    ),
    (
        "typing",
        r#"
import typing
class T(typing.TypedDict): a: int
assert typing.get_type_hints(T) == {"a": int}
class N(typing.NamedTuple): b: str = "c"
assert N().b == "c""#,
    ),
    (
        "asyncio",
        r#"
import asyncio
async def work(n):
    await asyncio.sleep(n / 1000); return n
async def main():
    queue = asyncio.Queue(1)
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.put(1)); got = group.create_task(queue.get())
    assert got.result() == 1
    try:
        async with asyncio.timeout(0.001): await asyncio.sleep(60)
    except TimeoutError: pass
    return await asyncio.gather(work(3), work(1), work(2))
assert asyncio.run(main()) == [3, 1, 2]"#,
    ),
    (
        "random",
        "import random; random.seed(1); assert random.random() == 0.13436424411240122 and random.choice([5]) == 5",
    ),
    (
        "secrets",
        "import secrets; assert len(secrets.token_bytes(32)) == 32 and secrets.compare_digest('a', 'a') and secrets.randbelow(1) == 0",
    ),
    (
        "itertools",
        "import itertools as i; assert list(i.islice(i.accumulate(i.count(1)), 4)) == [1, 3, 6, 10] and len(list(i.permutations('abc'))) == 6",
    ),
    (
        "functools",
        "import functools as f; assert f.reduce(int.__mul__, range(1, 6)) == 120 and f.partial(pow, 2)(5) == 32 and f.cache(len)('ab') == 2",
    ),
    (
        "collections",
        "from collections import *; assert Counter('abca').most_common(1) == [('a', 2)] and deque([1, 2], 1)[0] == 2 and defaultdict(int)['x'] == 0 and namedtuple('P', 'a')(1).a == 1",
    ),
    (
        "math",
        "import math; assert math.isclose(math.sin(math.pi / 6), 0.5) and math.comb(50, 25) == 126410606437752 and math.isqrt(10**40) == 10**20",
    ),
    (
        "base64",
        "import base64; assert base64.b64decode(base64.b64encode(bytes(range(256)))) == bytes(range(256)) and base64.b32encode(b'a') == b'ME======'",
    ),
    (
        "zlib",
        "import zlib; assert zlib.decompress(zlib.compress(b'a' * 10**6, 9)) == b'a' * 10**6 and zlib.crc32(b'123456789') == 0xcbf43926",
    ),
    (
        "struct",
        "import struct; assert struct.pack('>IHb', 1, 2, -1) == b'\\0\\0\\0\\1\\0\\2\\xff' and struct.calcsize('<qd') == 16",
    ),
    (
        "uuid",
        "import uuid; assert uuid.uuid4().version == 4 and str(uuid.uuid5(uuid.NAMESPACE_DNS, 'python.org')) == '886313e1-3b8a-5372-9b90-0c9aee199e5d'",
    ),
    (
        "textwrap",
        r#"import textwrap; assert textwrap.fill("aaa bbb ccc", 7) == "aaa bbb\nccc" and textwrap.dedent("  a\n  b") == "a\nb""#,
    ),
    (
        "string",
        "import string; assert string.Template('$a').substitute(a=1) == '1' and string.capwords('ab cd') == 'Ab Cd' and len(string.ascii_letters) == 52",
    ),
    (
        "enum",
        r#"
import enum
class Colour(enum.StrEnum): RED = enum.auto()
class Flags(enum.Flag): A = 1; B = 2
assert Colour("red") is Colour.RED and (Flags.A | Flags.B).value == 3"#,
    ),
    (
        "pathlib",
        "from pathlib import PurePosixPath as P, PureWindowsPath as W; assert (P('/a') / 'b.tar.gz').suffixes == ['.tar', '.gz'] and P('a/b').match('*/b') and W('C:\\\\x').drive == 'C:'",
    ),
    (
        "zoneinfo",
        "from zoneinfo import ZoneInfo; from datetime import datetime; assert str(datetime(2025, 7, 1, tzinfo=ZoneInfo('Europe/Zurich')).utcoffset()) == '2:00:00'",
    ),
    (
        "sqlite3",
        "import sqlite3; d = sqlite3.connect(':memory:'); d.execute('create table t(x)'); d.executemany('insert into t values (?)', [(1,), (2,)]); assert d.execute('select sum(x) from t').fetchone() == (3,)",
    ),
];

#[tokio::test]
async fn the_promised_modules_work() {
    let host = Host::with_python("");
    let mut failures = Vec::new();
    for (module, script) in WORKS {
        let execution = host.python(script.trim_start()).await;
        if execution.report.exit != Exit::Ok {
            failures.push(format!(
                "{module}: {:?}\n{}",
                execution.report.exit,
                stderr(&execution)
            ));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn the_promised_modules_are_in_memory_before_a_script_imports_them() {
    let names: Vec<&str> = WORKS.iter().map(|(module, _)| *module).collect();
    let script = format!("import sys; print([m for m in {names:?} if m not in sys.modules])");
    assert_eq!(output(&script).await, "[]\n");
}

#[tokio::test]
async fn the_documentation_lists_exactly_the_modules_that_cannot_be_imported() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(root.join("python/stdlib_imports.py")).unwrap();
    let outcomes: BTreeMap<String, String> = serde_json::from_str(&output(&script).await).unwrap();
    let missing: BTreeMap<&str, &str> = outcomes
        .iter()
        .filter(|(_, outcome)| *outcome != "ok")
        .map(
            |(module, outcome)| match outcome.split_once(" in the sandbox: ") {
                Some((_, reason)) => (module.as_str(), reason),
                None => (module.as_str(), outcome.as_str()),
            },
        )
        .collect();

    let document = std::fs::read_to_string(root.join("../docs/PROGRAMS.md")).unwrap();
    let (_, table) = document
        .split_once("| module | reason |\n|---|---|\n")
        .unwrap();
    let documented: BTreeMap<&str, &str> = table
        .lines()
        .map_while(|line| {
            line.strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .collect();
    assert_eq!(missing, documented);

    let sentence = format!(
        "Of the {} modules that `sys.stdlib_module_names` lists, {} can be imported.",
        outcomes.len(),
        outcomes.len() - missing.len()
    );
    assert!(document.contains(&sentence), "{sentence}");
}
