"""Which folder of this machine stands for an EFS access point, or a bucket's file system.

Unless told otherwise it's one of the node's own, made when it's first used, and kept.
Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-filesystem.html
"""

import os
from collections.abc import Mapping
from pathlib import Path

from penstock.engines.functions.ports import FileSystemUnavailable, FunctionSpec

OWNER_UID = 99_999
"""Whom the node's own folders belong to: every function that has one mounted acts as this user."""


class FileSystems:
    """`mapped` has folders by access point: its whole ARN or the id at its end."""

    def __init__(self, own_dir: Path, mapped: Mapping[str, Path]) -> None:
        self._own_dir, self._mapped = own_dir, mapped

    def of(self, spec: FunctionSpec) -> list[tuple[str, str]]:
        """(where the function sees it, the folder) of each. Raises FileSystemUnavailable."""
        return [(local_path, str(self._folder(arn))) for arn, local_path in spec.file_systems]

    def owner(self, spec: FunctionSpec) -> int | None:
        """Who has to read and write there, as an access point's POSIX user would; None: anybody may."""
        owners = {os.stat(folder).st_uid for _, folder in self.of(spec)} - {0}
        return min(owners, default=None)

    def _folder(self, arn: str) -> Path:
        id = arn.rsplit("/", 1)[-1]
        given = self._mapped.get(arn) or self._mapped.get(id)
        if given is not None:
            if not given.is_dir():
                raise FileSystemUnavailable(f"{id} is mapped to {given}, which is no folder")
            return given
        own = self._own_dir / id
        if not own.is_dir():
            own.mkdir(parents=True)
            if os.geteuid() == 0:
                os.chown(own, OWNER_UID, OWNER_UID)
        return own


def parse_mapping(text: str) -> dict[str, Path]:
    """`fsap-1=/data/one,fsap-2=/data/two`. Raises ValueError."""
    mapped = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        id, equals, folder = pair.partition("=")
        if not equals or not id or not folder:
            raise ValueError(f"{pair!r} isn't ACCESS_POINT=FOLDER")
        mapped[id.strip()] = Path(folder.strip()).expanduser().absolute()
    return mapped
