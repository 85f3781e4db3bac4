"""Which Penstock this is."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("penstock")
    except PackageNotFoundError:  # run from a source tree that isn't installed
        return "0.0.0"


VERSION = _installed()
