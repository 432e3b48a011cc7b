"""`ctypes` as far as packages of pure Python import it: what C's types are here. Foreign functions cannot be called.

Packages ask at their top how large a `long` is. What else they look for is not here, so that one that asks for functions
before it goes on without them finds out at once.
"""

import operator
import struct

_WHOLE = frozenset("bBhHiIlLqQPnN")


class _Simple:
    """A value of one of C's types."""

    _type_ = ""
    __slots__ = ("_value",)

    def __init__(self, value: object = None) -> None:
        self.value = (False if self._type_ == "?" else 0) if value is None else value

    @property
    def value(self) -> object:
        """The value, as far as the type holds it."""
        return self._value

    @value.setter
    def value(self, value: object) -> None:
        if self._type_ == "?":
            self._value = bool(value)
        elif self._type_ in _WHOLE:
            bits = 8 * sizeof(self)
            rest = operator.index(value) & (1 << bits) - 1
            is_negative = self._type_ in "bhilqn" and rest >> bits - 1
            self._value = rest - (1 << bits) if is_negative else rest
        else:
            (self._value,) = struct.unpack(self._type_, struct.pack(self._type_, value))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value!r})"


def sizeof(it: object) -> int:
    """The bytes of a type, or of a value."""
    kind = it if isinstance(it, type) else type(it)
    if not issubclass(kind, _Simple) or not kind._type_:
        raise TypeError("this type has no size")
    return struct.calcsize(kind._type_)


alignment = sizeof


def __getattr__(name: str) -> object:
    raise AttributeError(f"module 'ctypes' has no attribute {name!r} in the sandbox: a component cannot call foreign functions")


for _name, _type in {
    "c_bool": "?", "c_byte": "b", "c_ubyte": "B", "c_short": "h", "c_ushort": "H", "c_int": "i", "c_uint": "I", "c_long": "l",
    "c_ulong": "L", "c_longlong": "q", "c_ulonglong": "Q", "c_size_t": "N", "c_ssize_t": "n", "c_void_p": "P", "c_float": "f",
    "c_double": "d", "c_int8": "b", "c_uint8": "B", "c_int16": "h", "c_uint16": "H", "c_int32": "i", "c_uint32": "I",
    "c_int64": "q", "c_uint64": "Q",
}.items():
    globals()[_name] = type(_name, (_Simple,), {"_type_": _type, "__slots__": (), "__module__": "ctypes"})
del _name, _type
