"""A long file that is written in parts: a killed command finds those that are complete, and goes on with the rest."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import InputError
from explore_rl.files import held, write_atomic

log = logging.getLogger(__name__)


class Parts:
    """The folder of parts beside `out`, with the settings that they belong to.

    Raises InputError if `out` is there already, if the folder holds parts of other settings, or if another process
    makes them now.

    out: the file that the parts become.
    settings: whatever decides the parts, but for their content; plain JSON.
    """

    def __init__(self, out: Path, settings: dict[str, Any]):
        if out.exists():
            raise InputError(f"{out}: is there already; choose another --out, or remove it to begin again")
        self.out = out
        self.folder = out.with_name(out.name + ".parts")
        wanted = json.loads(json.dumps(settings))
        mark = self.folder / "settings.json"
        if mark.exists():
            begun = json.loads(mark.read_text())
            for key, value in wanted.items():
                if begun.get(key) != value:
                    raise InputError(
                        f"{self.folder}: holds parts made with another {key}; finish them as they began, "
                        "or remove the folder"
                    )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(mark, json.dumps(wanted, indent=2))
        self.holding = ExitStack()
        self.holding.enter_context(held(self.folder, "folder of parts"))

    def missing(self, count: int) -> list[int]:
        """Which of `count` parts are not there yet."""
        missing = [index for index in range(count) if not self._path(index).exists()]
        if len(missing) < count:
            log.info("%s: %d of %d parts are there already; going on", self.out, count - len(missing), count)
        return missing

    def write(self, index: int, table: pa.Table) -> None:
        """Writes a part, which is there completely or not at all."""
        aside = self._path(index).with_suffix(".tmp")
        pq.write_table(table, aside, compression="zstd")
        aside.replace(self._path(index))

    def tables(self, count: int) -> Iterator[pa.Table]:
        """The parts in order, one in memory at a time."""
        for index in range(count):
            yield pq.read_table(self._path(index))

    def remove(self) -> None:
        """When the file is there."""
        self.holding.close()
        shutil.rmtree(self.folder)

    def _path(self, index: int) -> Path:
        return self.folder / f"part-{index:06d}.parquet"
