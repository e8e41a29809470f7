"""An engine: jobs in this process, the last one first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from leam.recognizers.recognizer import Recognizer
from leam.study.engine import Done, Engine, EngineOptions, attempt
from leam.study.plan import Plan
from leam.study.schedule import Job
from leam.study.store import RunFolder
from leam.study.worker import Worker


class BackwardsEngine:
    """Does the jobs of a step in reverse order."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def run(self, jobs: Iterable[Job]) -> Iterator[Done]:
        """Do the jobs."""
        for job in reversed(list(jobs)):
            yield attempt(self._worker, job)

    def close(self) -> None:
        """Stop what still runs."""
        self._worker.close()


def backwards(
    plan: Plan, folder: RunFolder, recognizers: Sequence[Recognizer], _options: EngineOptions
) -> Engine:
    """Make the engine."""
    return BackwardsEngine(Worker(plan, folder, recognizers))
