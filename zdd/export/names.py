"""What engines are called: those of torch itself, and ENGINE-PRECISION for those that runs are exported to."""

from zdd import checks
from zdd.plugins import available, nearest, one_of
from zdd.wording import Mistake

LIVE = ("eager", "channels_last", "compile")  # torch, on the trained network: nothing has to be exported


def misspelt(name: str) -> str:
    """Why no engine can be called `name`; empty if one can, whether it was exported yet or not."""
    if name in LIVE:
        return ""
    engine, _, precision = name.partition("-")
    known = [*LIVE, *(f"{engine}-fp32" for engine in available("export"))]
    if engine not in available("export") or not precision:
        near = nearest(name, known)
        return f"there is no engine '{name}'; " + (f"did you mean '{near}'?" if near else one_of(known))
    found: list[Mistake] = []
    checks.plugin_section("export", ("engine",), {"name": engine, "precision": precision}, found)
    return f"there is no engine '{name}' (its precision {found[0].text})" if found else ""
