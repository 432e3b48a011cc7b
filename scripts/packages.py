"""Writes the packages for PyPI, npm and registries of OCI: packages.py ROOT STAGE OUT, called by build-packages.sh.

Archives have their files in order, with one time and one owner, so the same files make the same bytes.
"""

import base64
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import time
import zipfile
from pathlib import Path

ROOT, STAGE, OUT = map(Path, sys.argv[1:])
EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])
VERSION = re.search(r"^package hypervisor:plugin@(.*);$", (ROOT / "wit/world.wit").read_text(), re.M)[1]

Files = dict[str, bytes]


def below(folder: Path, prefix: str = "") -> Files:
    """The files below a folder, by their paths behind the prefix."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {prefix + path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def licences() -> Files:
    return {path.name: path.read_bytes() for path in ROOT.glob("LICENSE-*")}


def value(manifest: str, key: str) -> str:
    """The first text of this key in a manifest, which is written plainly."""
    return re.search(rf'^{key} = "(.*)"$', manifest, re.M)[1]


def check_version(package: str, version: str) -> None:
    if version != VERSION:
        sys.exit(f"packages: {package} has the version {version}, and wit/world.wit {VERSION}: make them the same")


def tar(path: Path, top: str, files: Files) -> None:
    """A tar of files below one folder, compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mtime, entry.mode = len(content), EPOCH, 0o644
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(gzip.compress(buffer.getvalue(), mtime=0))


def wheel(path: Path, name: str, files: Files, metadata: bytes) -> None:
    info = f"{name}-{VERSION}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = metadata
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: hypervisor-plugin\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    for licence, content in licences().items():
        files[f"{info}/licenses/{licence}"] = content
    record = [f"{file},sha256={digest(content)},{len(content)}\n" for file, content in sorted(files.items())]
    files[f"{info}/RECORD"] = "".join([*record, f"{info}/RECORD,,\n"]).encode()
    # A zip has no time before 1980.
    written = time.gmtime(max(EPOCH, 315532800))[:6]
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in sorted(files.items()):
            entry = zipfile.ZipInfo(file, written)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)


def digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def python() -> None:
    source = ROOT / "packages/python"
    manifest = (source / "pyproject.toml").read_text()
    check_version("packages/python/pyproject.toml", value(manifest, "version"))
    project = value(manifest, "name")
    package = below(source / "hypervisor_plugin", "hypervisor_plugin/")
    package |= below(STAGE / "wit", "hypervisor_plugin/wit/")
    package |= below(STAGE / "python", "hypervisor_plugin/types/")
    fields = {
        "Metadata-Version": "2.4",
        "Name": project,
        "Version": VERSION,
        "Summary": value(manifest, "description"),
        "License-Expression": value(manifest, "license"),
        "License-File": sorted(licences()),
        "Requires-Python": value(manifest, "requires-python"),
        "Description-Content-Type": "text/markdown",
    }
    lines = [
        f"{key}: {value}\n"
        for key, values in fields.items()
        for value in (values if isinstance(values, list) else [values])
    ]
    readme = (source / "README.md").read_bytes()
    metadata = "".join([*lines, "\n"]).encode() + readme
    name = project.replace("-", "_")
    wheel(OUT / f"{name}-{VERSION}-py3-none-any.whl", name, package, metadata)
    rest = {"PKG-INFO": metadata, "README.md": readme, "pyproject.toml": manifest.encode()}
    tar(OUT / f"{name}-{VERSION}.tar.gz", f"{name}-{VERSION}", package | rest | licences())


def javascript() -> None:
    source = ROOT / "packages/js"
    manifest = json.loads((source / "package.json").read_text())
    check_version("packages/js/package.json", manifest["version"])
    types = below(STAGE / "js", "types/")
    index = [f'/// <reference path="./{name}" />\n' for name in sorted(types) if name.startswith("types/interfaces/")]
    # What resources are disposed by.
    index.insert(0, '/// <reference lib="esnext.disposable" />\n')
    files = below(source) | types | below(STAGE / "wit", "wit/") | licences()
    files["index.d.ts"] = "".join([*index, "export {};\n"]).encode()
    tar(OUT / f"{manifest['name']}-{VERSION}.tgz", "package", files)


def oci() -> None:
    """A layout with one artifact, as `wkg` writes and reads it: a configuration, and the binary as the one layer."""
    binary = (STAGE / "package.wasm").read_bytes()
    shutil.copyfile(STAGE / "package.wasm", OUT / f"hypervisor-plugin-{VERSION}.wasm")
    layout = OUT / "oci"
    (layout / "blobs/sha256").mkdir(parents=True)

    def blob(media_type: str, content: bytes) -> dict[str, object]:
        sha256 = hashlib.sha256(content).hexdigest()
        (layout / "blobs/sha256" / sha256).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{sha256}", "size": len(content)}

    def document(value: object) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH))
    layer = blob("application/wasm", binary)
    component = {"exports": (STAGE / "names").read_text().split(), "imports": [], "target": None}
    config = {
        "created": created,
        "author": None,
        "architecture": "wasm",
        "os": "wasip2",
        "layerDigests": [layer["digest"]],
        "component": component,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.wasm.config.v0+json", document(config)),
        "layers": [layer],
        "annotations": {
            "org.opencontainers.image.licenses": "MIT OR Apache-2.0",
            "org.opencontainers.image.title": "hypervisor:plugin",
            "org.opencontainers.image.version": VERSION,
        },
    }
    entry = blob(manifest["mediaType"], document(manifest))
    entry["annotations"] = {"org.opencontainers.image.ref.name": VERSION}
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    (layout / "index.json").write_bytes(document(index))
    (layout / "oci-layout").write_bytes(document({"imageLayoutVersion": "1.0.0"}))


check_version("packages/rust/Cargo.toml", value((ROOT / "packages/rust/Cargo.toml").read_text(), "version"))
python()
javascript()
oci()
