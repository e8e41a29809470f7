"""Jobs done one after the other in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from leam.study.engines.engine import Done, attempt
from leam.study.jobs import Job
from leam.study.worker import Worker


class LocalEngine:
    """Does jobs in this process, in their order."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Do the jobs in order."""
        for job in jobs:
            yield attempt(self._worker, job)

    def close(self) -> None:
        """Stop reading ahead."""
        self._worker.close()
