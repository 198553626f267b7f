"""Whether a map depends on what the network has learnt (Adebayo et al. 2018, arXiv 1810.03292).

The weights are drawn anew, from the head down, stage by stage. A map that stays as it was shows the image's edges and
not the network's reasons, however convincing it looks.
"""

import copy
import inspect
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zdd.explain.agreement import spearman
from zdd.explain.base import Subject

STAGES = 8
DEPENDS = 0.7  # mean rank correlation over the stages from which a map does not depend on the weights: pictures and
# architectures alone make maps alike (0.3 to 0.5 of a plain gradient, SqueezeNet on tiles and castings); guided
# backpropagation, Adebayo's example of one that fails, has 0.9 there

Explain = Callable[[Subject, Tensor, Tensor], Tensor]  # subject, images, targets -> (B, 1, H, W) values


def cascade(
    subject: Subject, explain: Explain, image: Tensor, target: Tensor, *, stages: int = STAGES, seed: int = 0
) -> list[tuple[str, NDArray[np.float64]]]:
    """How much the maps of a network whose weights are drawn anew are like those of the trained one.

    Every stage explains a fresh copy: `subject` is left as it is, and nothing that an explainer may have kept of one
    copy is used for the next. Layers follow the order in which they run. The head is the first stage; the others take
    the same number of layers each. A weight is drawn from a normal distribution with the mean and the spread that the
    trained ones of its tensor have, so that signals keep their size; buffers stay.

    Args:
        subject: What is explained.
        explain: Gives the maps. Signed ones are compared as they are.
        image: (B, 3, H, W) normalised.
        target: (B,) int64.
        stages: At most so many.
        seed: Of the weights.

    Returns:
        For each stage the name of the lowest layer that was drawn anew, and (B,) Spearman's rank correlation with the
        trained network's map; NaN where that one is constant, 0 where the other is, or isn't finite.

    Raises:
        ValueError: If the network has no weights, or `subject.own` is a closure, which a copy would share.
    """
    if inspect.isfunction(subject.own) and subject.own.__closure__:
        raise ValueError("the subject's own map is a closure: a copy would keep the trained weights; give a bound "
                         "method or functools.partial")  # fmt: skip
    layers = _layers(subject, image)
    if not layers:
        raise ValueError("the network has no weights that could be drawn anew")
    trained = _maps(explain, subject, image, target)
    found = []
    for end in _ends(len(layers), stages):
        maps = _maps(explain, _redrawn(subject, layers[:end], seed), image, target)
        found.append((layers[end - 1], np.array([_alike(a, b) for a, b in zip(trained, maps, strict=True)])))
    return found


def depends(correlations: NDArray[np.float64]) -> bool:
    """The verdict: whether maps depend on the weights.

    Args:
        correlations: (stages, B), those of `cascade`; NaN ones don't count.

    Returns:
        True if the mean over images and stages lies below `DEPENDS`, or if there is none.
    """
    known = correlations[np.isfinite(correlations)]
    return bool(known.mean() < DEPENDS) if known.size else True


def _layers(subject: Subject, image: Tensor) -> list[str]:
    """The names of the modules that have weights of their own, the last that runs first."""
    order: dict[str, int] = {}
    modules = dict(subject.net.named_modules())

    def note(name: str) -> Callable[..., None]:
        def ran(*_: object) -> None:
            order.setdefault(name, len(order))

        return ran

    hooks = [module.register_forward_pre_hook(note(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            subject.net(image[:1])
    finally:
        for hook in hooks:
            hook.remove()

    def ran(name: str) -> int:  # an attention's last projection, say, does not run itself but the module around it does
        return next(order[each] for each in _around(name) if each in order)

    return sorted((name for name in modules if list(modules[name].parameters(recurse=False))), key=ran, reverse=True)


def _around(name: str) -> Iterator[str]:
    """a.b.c, a.b, a, and the network itself."""
    while name:
        yield name
        name = name.rpartition(".")[0]
    yield ""


def _ends(n: int, stages: int) -> list[int]:
    """Up to which of n layers each stage goes: 1, then evenly up to n."""
    return sorted({round(end) for end in np.linspace(1, n, max(2, min(n, stages)))})


def _redrawn(subject: Subject, layers: list[str], seed: int) -> Subject:
    """A copy of which these layers' weights are drawn anew; each always the same of a seed, whatever the others."""
    fresh = copy.deepcopy(subject)
    for i, name in enumerate(layers):
        generator = torch.Generator().manual_seed(seed + i)
        for weight in fresh.net.get_submodule(name).parameters(recurse=False):
            _redraw(weight, generator)
    return fresh


@torch.no_grad()
def _redraw(weight: nn.Parameter, generator: torch.Generator) -> None:
    spread, mean = torch.std_mean(weight.float().cpu(), correction=0)
    weight.copy_(mean + spread * torch.randn(weight.shape, generator=generator))


def _maps(explain: Explain, subject: Subject, image: Tensor, target: Tensor) -> NDArray[np.float64]:
    return explain(subject, image, target)[:, 0].detach().double().cpu().numpy()


def _alike(trained: NDArray[np.float64], redrawn: NDArray[np.float64]) -> float:
    if np.ptp(trained) == 0:
        return float("nan")
    return spearman(trained, redrawn) if np.isfinite(redrawn).all() else 0.0
