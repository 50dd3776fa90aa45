"""Jobs: how an operation ended that the API answered with 202."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from meshnet.capi.errors import ApiError
from meshnet.capi.tables import Changes, Record, Table
from meshnet.store import Store

COMPLETE, FAILED = "COMPLETE", "FAILED"
# The cf CLI polls within seconds; CC itself forgets jobs after a while too.
MAX_JOBS = 2000


@dataclass(frozen=True)
class Job(Record):
    """A job.

    Attributes:
        operation: as CC names it, "route.delete".
        errors: each {code, title, detail}; not empty where `state` is FAILED.
        warnings: texts.
    """

    operation: str = ""
    state: str = COMPLETE
    errors: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


class Jobs(Table[Job]):
    """The latest jobs; all are finished when the call that started them is answered.

    The cf CLI polls every 3 s, so that a job which is complete at its first GET saves a user
    three seconds; nothing the API does takes longer than a client waits for an answer.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store, Job, "Job")

    def done(
        self,
        operation: str,
        changes: Changes | None = None,
        *,
        error: ApiError | None = None,
        warnings: Sequence[str] = (),
    ) -> Job:
        """Record that an operation has ended, well or with `error`; with `changes` or at once."""
        state, errors = (FAILED, tuple(error.entries())) if error else (COMPLETE, ())
        job = Job(operation=operation, state=state, errors=errors, warnings=tuple(warnings))
        if len(self._rows) >= MAX_JOBS:
            for old in self.all()[: MAX_JOBS // 10]:
                self.delete(old.guid, changes)
        return self.put(job, changes)

    def _load(self, value: Mapping[str, Any]) -> Job:
        return Job(**{**value, **{k: tuple(value[k]) for k in ("errors", "warnings")}})
