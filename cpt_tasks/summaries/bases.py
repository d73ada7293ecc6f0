"""Which run of a report is the base of which adapter's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cpt_tasks.runs import ModelRun


def base_of(run: "ModelRun", runs: "Sequence[ModelRun]") -> "ModelRun | None":
    """The run without an adapter that an adapter's run is compared with; None for a base, or if there is no telling.

    It is the only one of the same base model (`--metadata base=`); where that is not said, the only one without
    adapter.
    """
    if run.adapter is None:
        return None
    bases = [other for other in runs if other.adapter is None]
    same = [other for other in bases if other.base == run.base]
    if not same and run.base == run.name:
        same = bases
    return same[0] if len(same) == 1 else None
