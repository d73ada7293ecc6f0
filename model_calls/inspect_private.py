"""The private names of inspect-ai (0.3.285 to 0.4) that we use, each with its reason: where to look on an upgrade."""

from inspect_ai._util.error import PrerequisiteError  # printed by inspect without a traceback; raised for a missing key

__all__ = ["PrerequisiteError"]
