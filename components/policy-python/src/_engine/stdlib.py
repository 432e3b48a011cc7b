"""The standard library in a component that has no file system.

A module that is not in memory when the snapshot is taken cannot be imported afterwards. Importing all of them would make
every instance larger; so the common ones are imported (`PRELOADED`), and the compiled code of all others is kept
compressed in `_archive`, from which `Finder` imports them when a script asks.
"""

import importlib
import importlib.abc
import importlib.machinery
import marshal
import os
import sys
import types
import zlib

PRELOADED = """
abc argparse array ast asyncio atexit base64 binascii bisect calendar cmath codecs collections collections.abc configparser
contextlib contextvars copy copyreg csv dataclasses datetime decimal difflib email email.message email.mime.text
email.parser email.policy email.utils encodings.ascii encodings.idna encodings.latin_1 encodings.utf_16 enum errno fnmatch
fractions functools gc getopt gettext glob graphlib gzip hashlib heapq hmac html html.parser http importlib inspect io
ipaddress itertools json keyword linecache locale logging math numbers operator os os.path pathlib pickle platform pprint
queue random re sched secrets select selectors shlex shutil signal socket sqlite3 stat statistics string string.templatelib
struct subprocess sys sysconfig tempfile textwrap threading time timeit token tokenize tomllib traceback types typing
unicodedata unittest urllib.error urllib.parse uuid warnings weakref xml.etree.ElementTree xml.dom.minidom zipfile zlib
zoneinfo
""".split()

# Parts of the library that a script has no use for: its own tests, its editor and windows, and installers.
_LEFT_OUT = {"__phello__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "test", "tkinter", "turtledemo", "turtle", "venv"}

# Modules that cannot exist here, and why. (Without this, the reason would read "No module named '_ctypes'".)
_UNAVAILABLE = {
    "_ctypes": "a component cannot call foreign functions",
    "_curses": "there is no terminal",
    "_multiprocessing": "there are no processes",
    "_posixsubprocess": "there are no processes",
    "_posixshmem": "there is no shared memory",
    "_ssl": "there are no sockets",
    "_bz2": "libbz2 is not built in; zlib and gzip are",
    "_lzma": "liblzma is not built in; zlib and gzip are",
    "_zstd": "libzstd is not built in; zlib and gzip are",
    "_curses_panel": "there is no terminal",
    "_hashlib": "OpenSSL is not built in; hashlib has its own SHA-1, SHA-2, SHA-3 and BLAKE2",
    "_interpchannels": "there are no subinterpreters",
    "_interpqueues": "there are no subinterpreters",
    "_interpreters": "there are no subinterpreters",
    "_remote_debugging": "there are no processes",
    "_uuid": "libuuid is not built in; uuid does without",
    "_dbm": "there are no database files",
    "_gdbm": "there are no database files",
    "_tkinter": "there is no display",
    "fcntl": "there are no files to lock",
    "grp": "there are no users and groups",
    "mmap": "there are no files to map",
    "pwd": "there are no users and groups",
    "readline": "there is no terminal",
    "resource": "the host sets the limits",
    "syslog": "there is no system log",
    "termios": "there is no terminal",
}
_UNAVAILABLE |= {
    "curses": _UNAVAILABLE["_curses"],
    "ssl": _UNAVAILABLE["_ssl"],
    "bz2": _UNAVAILABLE["_bz2"],
    "lzma": _UNAVAILABLE["_lzma"],
    "tkinter": _UNAVAILABLE["_tkinter"],
    "turtle": _UNAVAILABLE["_tkinter"],
    "idlelib": _UNAVAILABLE["_tkinter"],
    "turtledemo": _UNAVAILABLE["_tkinter"],
    "pty": _UNAVAILABLE["termios"],
    "tty": _UNAVAILABLE["termios"],
    "ensurepip": "nothing can be installed in the sandbox",
    "venv": "nothing can be installed in the sandbox",
    "msvcrt": "this is not Windows",
    "winreg": "this is not Windows",
    "winsound": "this is not Windows",
    "_winapi": "this is not Windows",
    "nt": "this is not Windows",
    "_overlapped": "this is not Windows",
    "_wmi": "this is not Windows",
    "_scproxy": "this is not macOS",
    "pydoc_data": "the texts of help() are left out",
}

# `ctypes.util`; `ctypes` itself is `foreign`.
_UTIL = '''
def find_library(name):
    """None: there are no libraries."""
'''

# Name → (whether it is a package, the compressed code).
_archive: dict[str, tuple[bool, bytes]] = {}


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports from `_archive`, and says of what is missing why it is."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        """The spec of a module in the archive, or None."""
        if fullname in _archive:
            spec = importlib.machinery.ModuleSpec(fullname, self, is_package=_archive[fullname][0])
            spec.origin = f"<stdlib>/{fullname}"
            return spec
        reason = _UNAVAILABLE.get(fullname)
        # Only an import fails with the reason: who merely asks, with importlib.util.find_spec, is told None as usual.
        if reason is not None and sys._getframe(2).f_code.co_name == "_find_and_load_unlocked":
            raise ModuleNotFoundError(f"No module named {fullname!r} in the sandbox: {reason}", name=fullname)
        return None

    def get_code(self, fullname: str) -> types.CodeType:
        """The compiled code of a module in the archive."""
        return marshal.loads(zlib.decompress(_archive[fullname][1]))

    def get_source(self, fullname: str) -> None:
        """None: the archive holds no sources."""

    def is_package(self, fullname: str) -> bool:
        """Whether a module in the archive is a package."""
        return _archive[fullname][0]


def _modules(folder: str, prefix: str = ""):
    """The modules below `folder`, in order: name, whether it is a package, path."""
    for entry in sorted(os.listdir(folder)):
        path = os.path.join(folder, entry)
        stem, extension = os.path.splitext(entry)
        if extension == ".py" and stem != "__init__" and stem not in _LEFT_OUT:
            yield prefix + stem, False, path
        elif stem == entry and entry not in _LEFT_OUT and os.path.isfile(init := os.path.join(path, "__init__.py")):
            yield prefix + entry, True, init
            yield from _modules(path, f"{prefix}{entry}.")


def _pack(name: str, package: bool, source: str | bytes) -> None:
    code = compile(source, f"<stdlib>/{name}", "exec", dont_inherit=True)
    _archive[name] = package, zlib.compress(marshal.dumps(code), 9)


def install() -> None:
    """Imports `PRELOADED`, packs the rest, and takes the file system out of the import path."""
    for name in PRELOADED:
        importlib.import_module(name)
    library = next(path for path in sys.path if os.path.isfile(os.path.join(path, "json", "__init__.py")))
    for name, package, path in _modules(library):
        if name in sys.modules or name in _UNAVAILABLE or name.split(".")[0] == "ctypes":
            continue
        with open(path, "rb") as file:
            _pack(name, package, file.read())
    here = os.path.dirname(__file__)
    with open(os.path.join(here, "foreign.py"), "rb") as file:
        _pack("ctypes", True, file.read())
    _pack("ctypes.util", False, _UTIL)
    at = next(index for index, finder in enumerate(sys.meta_path) if finder is importlib.machinery.PathFinder)
    sys.meta_path.insert(at, Finder())
    sys.path.clear()
    sys.path_importer_cache.clear()
    for module in list(sys.modules.values()):
        # Submodules of a preloaded package come from the archive or not at all.
        if getattr(module, "__path__", None):
            module.__path__ = []
