"""What a node can be told, as one typed object: defaults, then a TOML file, then PENSTOCK_* variables, then flags."""

import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from penstock.engines.functions.file_systems import parse_mapping

PREFIX = "PENSTOCK_"
FILE_NAME = "penstock.toml"
FILE_VARIABLE = "PENSTOCK_CONFIG"

Auth = Literal["open", "enforce"]
ClockName = Literal["real", "virtual"]
Limits = Literal["off", "aws"]
Isolation = Literal["auto", "sandbox", "process"]


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class ConfigError(Exception):
    """A setting that can't be; the message says which and what would be right."""


@dataclass(frozen=True, slots=True)
class Config:
    """A node's settings. Each is a key of penstock.toml and, in capitals after PENSTOCK_, a variable.

    host, port          where to listen; port 0 chooses a free one
    data                the folder that holds everything; a relative path is taken from the working directory
    auth                open: any credentials are the account's root; enforce: signatures and policies are checked
    clock               real, or virtual: time moves only when told to
    limits              off, or aws: throughput is bounded as on AWS, and what is beyond is throttled
    isolation           auto takes the strongest sandbox that the machine allows
    strict_runtimes     a function whose runtime isn't installed here is refused; else the nearest one runs it
    file_systems        folders that stand for EFS access points: fsap-1=/data/one,fsap-2=/data/two
    memory_mb           what all functions together may use; 0: half of the machine's
    environments_max    how many execution environments may exist at once; 0: by cores and memory
    log_level           debug, info, warning or error: what the node writes on stderr
    """

    host: str = "127.0.0.1"
    port: int = 4566
    data: Path = Path("~/.local/share/penstock")
    auth: Auth = "open"
    clock: ClockName = "real"
    limits: Limits = "off"
    isolation: Isolation = "auto"
    strict_runtimes: bool = False
    file_systems: str = ""
    memory_mb: int = 0
    environments_max: int = 0
    log_level: Literal["debug", "info", "warning", "error"] = "warning"

    @property
    def data_dir(self) -> Path:
        return self.data.expanduser().absolute()

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def load(*, flags: Mapping[str, Any], environment: Mapping[str, str], folder: Path) -> Config:
    """The settings in force. `flags` that are None weren't given. Raises ConfigError."""
    config = Config()
    path = environment.get(FILE_VARIABLE)
    file = Path(path) if path else folder / FILE_NAME
    if path or file.exists():
        config = _with(config, _read_file(file), where=str(file))
    variables = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != FILE_VARIABLE
    }
    config = _with(config, variables, where="the environment", shown=lambda key: PREFIX + key.upper())
    config = _with(config, {key: value for key, value in flags.items() if value is not None}, where="the command line")
    return _checked(config)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _with(config: Config, values: Mapping[str, Any], *, where: str, shown: Any = str) -> Config:
    known = {field.name: field.type for field in fields(Config)}
    changes = {}
    for key, value in values.items():
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {shown(near[0])}?" if near else f"known are {', '.join(map(shown, known))}"
            raise ConfigError(f"{where} sets {shown(key)}, which is not a setting: {hint}")
        changes[key] = _convert(value, known[key], f"{shown(key)} in {where}")
    return replace(config, **changes)


def _convert(value: Any, kind: Any, name: str) -> Any:
    if kind is int:
        try:
            if isinstance(value, bool):
                raise ValueError
            return int(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{name} must be a whole number, not {value!r}") from None
    if kind is bool:
        text = str(value).lower()
        if text not in _BOOLEANS:
            raise ConfigError(f"{name} must be true or false, not {value!r}")
        return _BOOLEANS[text]
    if kind is Path:
        return Path(value)
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text, not {value!r}")
    if (choices := get_args(kind)) and value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def _checked(config: Config) -> Config:
    if not 0 <= config.port <= 65535:
        raise ConfigError(f"port must be between 0 and 65535, not {config.port}")
    if min(config.memory_mb, config.environments_max) < 0:
        raise ConfigError("memory_mb and environments_max must not be negative")
    try:
        parse_mapping(config.file_systems)
    except ValueError as error:
        raise ConfigError(f"file_systems: {error}") from None
    if config.auth == "open" and not config.is_loopback:
        raise ConfigError(
            f"host {config.host} can be reached from other machines, and auth is open: anyone could run code here. "
            "Use --auth enforce, or keep --host 127.0.0.1"
        )
    return config
