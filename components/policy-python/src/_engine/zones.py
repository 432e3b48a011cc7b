"""The IANA time zones, for `zoneinfo`. A component has no /usr/share/zoneinfo; the `tzdata` package is carried inside."""

import io
import os
import zlib
import zoneinfo._common

_zones: dict[str, bytes] = {}


def _load_tzdata(key: str) -> io.BytesIO:
    try:
        return io.BytesIO(zlib.decompress(_zones[key]))
    except KeyError:
        raise zoneinfo._common.ZoneInfoNotFoundError(f"No time zone found with key {key}") from None


def _available_timezones() -> set[str]:
    """The keys of all time zones."""
    return set(_zones)


def install() -> None:
    """Reads all zones of the `tzdata` package (present only at build time) and has `zoneinfo` use them."""
    import tzdata

    root = os.path.join(os.path.dirname(tzdata.__file__), "zoneinfo")
    with open(os.path.join(os.path.dirname(tzdata.__file__), "zones"), encoding="ascii") as names:
        for key in sorted(names.read().split()):
            with open(os.path.join(root, *key.split("/")), "rb") as zone:
                _zones[key] = zlib.compress(zone.read(), 9)
    zoneinfo._common.load_tzdata = _load_tzdata
    zoneinfo._tzpath.available_timezones = _available_timezones
    zoneinfo.available_timezones = _available_timezones
    zoneinfo.reset_tzpath(to=())
