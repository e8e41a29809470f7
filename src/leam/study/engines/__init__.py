"""Where a study's jobs are done: in this process, or on many machines. The shards are the same."""

from leam.study.engines.engine import Done, Engine
from leam.study.engines.local import LocalEngine
from leam.study.engines.processes import ProcessEngine
from leam.study.engines.ray import RayEngine

__all__ = ["Done", "Engine", "LocalEngine", "ProcessEngine", "RayEngine"]
