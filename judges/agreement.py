"""The old place of `Estimate`, for imports that have not moved to `judges.interval` yet."""

from judges.interval import Estimate

__all__ = ["Estimate"]
