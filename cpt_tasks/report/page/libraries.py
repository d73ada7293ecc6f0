"""The chart library that stands inside the page, from an installed package: no file of it is in this repository."""

import functools
from importlib.util import find_spec

MISSING = (
    "report.html was not written: its charts need the extra `report`; install it with pip install 'cpt-tasks[report]'"
)


def is_installed() -> bool:
    """Whether the extra `report` is there."""
    return find_spec("vl_convert") is not None


@functools.cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed`, from vl-convert-python.

    Raises:
        ValueError: If the extra `report` is not installed.
    """
    if not is_installed():
        raise ValueError(MISSING)
    import vl_convert

    bundle = str(vl_convert.javascript_bundle())  # type: ignore[call-arg]  # its stub forgets the default
    # a script ends at the first such letters, even inside a string of it
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")
