"""The samples of every step into the run folder, beside the steps that follow: one writer thread, one file a step."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any

from explore_rl.experiments.run_folder import RunFolder
from explore_rl.rollout.records import columns_of, table_of
from explore_rl.types import Group


class Recorder:
    """At most one step is being written; the next one waits for it. What goes wrong is raised by the call after it.

    As a context manager it leaves nothing half written behind.
    """

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self._thread: ThreadPoolExecutor | None = None
        self._writing: Future[None] | None = None

    def write(self, groups: list[Group], dropped: list[Group], *, step: int) -> None:
        """Has the samples of a step written. What strategies change in them afterwards does not count.

        groups, dropped, step: as `columns_of` takes them.
        """
        columns = columns_of(groups, dropped, step=step)
        self.flush()
        self._thread = self._thread or ThreadPoolExecutor(1, "records")
        self._writing = self._thread.submit(self._write, step, columns)

    def _write(self, step: int, columns: dict[str, list[Any]]) -> None:
        self.folder.write_rollouts(step, table_of(columns))

    def flush(self) -> None:
        """Until all steps are on disk. Raises OSError if one could not be written."""
        writing = self._writing
        self._writing = None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.flush()
        elif self._writing is not None:
            wait([self._writing])
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
