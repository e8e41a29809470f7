"""Studies of many people and recognizers in one resumable run folder."""

from leam.study.plan import Plan, Settings
from leam.study.run import plan_study, run_study
from leam.study.store import RunFolder

__all__ = ["Plan", "RunFolder", "Settings", "plan_study", "run_study"]
