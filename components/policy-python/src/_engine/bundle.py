"""The modules and packages of a bundle, imported from memory."""

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.resources.abc
import importlib.util
import io
import linecache
import pathlib
import sys
import types
import zipfile
from collections.abc import Iterable, Iterator

from wit_world.exports.runtime import Bundle, File


class BundleError(Exception):
    """The bundle cannot be used; says why."""

    __module__ = "builtins"


class Source(importlib.abc.InspectLoader):
    """One module: where it is, and what reads it."""

    def __init__(self, origin: str, package: bool, archive: zipfile.ZipFile | None, path: str) -> None:
        self.origin = origin
        self.package = package
        self.archive = archive
        self.path = path

    def get_source(self, fullname: str) -> str:
        """The source, as it is in the bundle."""
        return importlib.util.decode_source(self.get_data(self.path))

    def get_code(self, fullname: str) -> types.CodeType:
        """The source, compiled. Tracebacks look its lines up by its place in the bundle."""
        source = self.get_source(fullname)
        linecache.cache[self.origin] = len(source), None, source.splitlines(True), self.origin
        return compile(source, self.origin, "exec", dont_inherit=True)

    def get_data(self, path: str) -> bytes:
        """A file beside the module."""
        try:
            if self.archive is None:
                return _sources[path]
            return self.archive.read(path.removeprefix(f"{self.archive.filename}/"))
        except KeyError:
            raise FileNotFoundError(path) from None

    def get_filename(self, fullname: str) -> str:
        """Where it is in the bundle."""
        return self.origin

    def is_package(self, fullname: str) -> bool:
        """Whether it is a package."""
        return self.package

    def get_resource_reader(self, fullname: str) -> importlib.resources.abc.TraversableResources | None:
        """The files of a package that came in an archive."""
        if self.archive is None:
            return None
        return _Resources(zipfile.Path(self.archive, self.path.rpartition("/")[0] + "/"))


class _Resources(importlib.resources.abc.TraversableResources):
    def __init__(self, folder: zipfile.Path) -> None:
        self._folder = folder

    def files(self) -> zipfile.Path:
        return self._folder


# A module's name → where it is; the path of a file → its bytes; and what says what packages there are.
_modules: dict[str, Source] = {}
_sources: dict[str, bytes] = {}
_archives: list[zipfile.ZipFile] = []


class _Finder(importlib.metadata.DistributionFinder):
    """Imports from the bundle."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        found = _modules.get(fullname)
        if found is not None:
            spec = importlib.machinery.ModuleSpec(fullname, found, origin=found.origin, is_package=found.package)
            spec.has_location = True
            return spec
        # A folder without `__init__.py` is a package too.
        if any(name.startswith(f"{fullname}.") for name in _modules):
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            return spec
        return None

    def find_distributions(self, context: importlib.metadata.DistributionFinder.Context = importlib.metadata.DistributionFinder.Context()) -> Iterator[importlib.metadata.Distribution]:
        for archive in _archives:
            for name in archive.namelist():
                folder, _, file = name.rpartition("/")
                if file == "METADATA" and folder.endswith(".dist-info"):
                    found = _Distribution(archive, folder)
                    if context.name is None or _normal(found.name) == _normal(context.name):
                        yield found


class _Distribution(importlib.metadata.Distribution):
    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive = archive
        self._folder = folder

    def read_text(self, filename: str) -> str | None:
        try:
            return self._archive.read(f"{self._folder}/{filename}").decode()
        except KeyError:
            return None

    def locate_file(self, path: object) -> zipfile.Path:
        return zipfile.Path(self._archive, str(path))


def _normal(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


def load(bundle: Bundle) -> None:
    """Makes what is in a bundle importable. Raises `BundleError`."""
    for file in bundle.packages:
        _add_package(file)
    for file in bundle.modules:
        path = _path(file.name)
        if path in _sources:
            raise BundleError(f"'{file.name}' is twice in the bundle")
        _sources[path] = file.content
        _add(path, path, None)
    # Before the standard library: as a script's folder comes before it on `sys.path`.
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(_after_frozen(), _Finder())


def module_of(name: str) -> str:
    """The name by which the bundle's file `name` is imported. Raises `BundleError`."""
    path = _path(name)
    if path not in _sources:
        raise BundleError(f"the main module '{name}' is not in the bundle")
    found = _name_of(path)
    if found is None:
        raise BundleError(f"the main module '{name}' is no Python module: its name must end with .py, and its parts be identifiers")
    return found[0]


def _path(name: str) -> str:
    parts = pathlib.PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in name:
        raise BundleError(f"'{name}' is no path in a bundle")
    return "/".join(parts)


def _name_of(path: str) -> tuple[str, bool] | None:
    """The module's name, and whether it is a package."""
    if not path.endswith(".py"):
        return None
    parts = path.removesuffix(".py").split("/")
    package = parts[-1] == "__init__" and len(parts) > 1
    if package:
        parts.pop()
    return (".".join(parts), package) if all(part.isidentifier() for part in parts) else None


def _add(path: str, origin: str, archive: zipfile.ZipFile | None) -> None:
    named = _name_of(path)
    if named is not None:
        _modules[named[0]] = Source(origin, named[1], archive, path)


def _add_package(file: File) -> None:
    name = file.name
    if not name.endswith((".whl", ".zip")):
        raise BundleError(f"the package '{name}' is neither a wheel nor a .zip of modules")
    tags = name.removesuffix(".whl").split("-")
    if name.endswith(".whl") and (len(tags) < 5 or tags[-1] != "any" or tags[-2] != "none"):
        raise BundleError(f"the wheel '{name}' is native: it is built for '{'-'.join(tags[-3:])}', and a component cannot load native code; a pure-Python wheel ends with '-none-any.whl'")
    try:
        archive = zipfile.ZipFile(io.BytesIO(file.content))
        archive.filename = name
        names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise BundleError(f"the package '{name}' is no archive: {error}") from None
    native = next((it for it in names if it.endswith((".so", ".pyd", ".dylib")) or ".so." in it), None)
    if native is not None:
        raise BundleError(f"the wheel '{name}' is native: it has '{native}', and a component cannot load native code")
    _archives.append(archive)
    for path in _code(names):
        _add(path, f"{name}/{path}", archive)


def _code(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.split("/", 1)[0].endswith((".dist-info", ".data")))


def _after_frozen() -> int:
    places = [index for index, finder in enumerate(sys.meta_path) if finder is importlib.machinery.FrozenImporter]
    return places[0] + 1 if places else 0
