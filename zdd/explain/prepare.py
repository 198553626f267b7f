"""The same network in a form that hooks on activations can be right for.

DeepLift and guided backpropagation hook modules. A module that is called twice, an activation called as a function, one
that works in place, or whose input also feeds another branch, makes Captum 0.9 raise or, without a word, wrong
(pytorch/captum#519, #1082, #1104). Here every call of an activation becomes a module of its own with an input of its
own. Parameters are shared with the network, which itself is left as it is.
"""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from zdd.explain.base import Unfit

TOLERANCE = 1e-4  # by how much the outputs may differ, as a share of the largest: rounding alone

_FUNCTIONS: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU, F.relu_: nn.ReLU, torch.relu: nn.ReLU, torch.relu_: nn.ReLU, "relu": nn.ReLU, "relu_": nn.ReLU,
    F.relu6: nn.ReLU6, F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU, F.silu: nn.SiLU, F.gelu: nn.GELU, F.mish: nn.Mish,
    F.hardswish: nn.Hardswish, F.hardsigmoid: nn.Hardsigmoid, F.softplus: nn.Softplus, F.max_pool2d: nn.MaxPool2d,
    F.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid, "sigmoid": nn.Sigmoid, "sigmoid_": nn.Sigmoid,
    F.tanh: nn.Tanh, torch.tanh: nn.Tanh, "tanh": nn.Tanh, "tanh_": nn.Tanh,
}  # fmt: skip
_POOLING = ["kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices"]  # the function's own order
GATES = (nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.MaxPool2d)  # they choose or scale, and pass gradients of either sign
ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.SiLU, nn.GELU, nn.Mish,
    nn.Hardswish, nn.Hardtanh, nn.Softplus, *GATES,
)  # fmt: skip


class Clone(nn.Module):
    """The same values in a tensor of its own: Captum takes the gradient at a hooked module's input for its alone."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return x.clone()


class Capped(nn.ReLU):
    """ReLU6 as one module that passes for a ReLU where gradients are guided: its gradient is 0 at both ends."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return F.hardtanh(x, 0.0, 6.0)


class Split(nn.Module):
    """ReLU6 as relu(x) - relu(x - 6), which DeepLift has rules for."""

    def __init__(self) -> None:
        super().__init__()
        self.rises, self.ends = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        rising: Tensor = self.rises(x.clone())
        ended: Tensor = self.ends(x - 6)
        return rising - ended


class Windows(nn.Module):
    """Max-pooling by windows that lie apart, each a copy of what it sees: overlapping ones break Captum's rule."""

    def __init__(self, pool: nn.MaxPool2d) -> None:
        super().__init__()
        self.window, self.stride, self.padding = (
            _pair(value) for value in (pool.kernel_size, pool.stride, pool.padding)
        )
        self.ceil = pool.ceil_mode
        self.apart = nn.MaxPool2d(self.window)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, h, w)."""
        rows, columns = (self._places(side, i, x.device) for i, side in enumerate(x.shape[-2:]))
        seen: Tensor = self.apart(x[..., rows[:, None], columns[None, :]])
        return seen

    def _places(self, side: int, axis: int, device: torch.device) -> Tensor:
        """Which row (or column) each row of the copies is of; padding repeats the nearest in the same window."""
        window, stride, padding = self.window[axis], self.stride[axis], self.padding[axis]
        reach = side + 2 * padding - window
        n = (-(-reach // stride) if self.ceil else reach // stride) + 1
        n -= int(self.ceil and (n - 1) * stride >= side + padding)  # a window must start inside, or it is left out
        places = torch.arange(n)[:, None] * stride - padding + torch.arange(window)
        return places.clamp(0, side - 1).flatten().to(device)


def prepared(net: nn.Module, image: Tensor, *, guided: bool = False) -> nn.Module:
    """Another form of a network in eval mode, with the same outputs.

    Args:
        net: What is explained.
        image: (B, 3, H, W); on it the outputs are compared.
        guided: For gradients that are guided: ReLU6 stays one module, and max-pooling as it is.

    Raises:
        Unfit: If no form of the same outputs was found.
    """
    made = _form(net, guided)
    with torch.no_grad():
        before, after = net(image), made(image)
    if before.shape != after.shape or (before - after).abs().max() > TOLERANCE * before.abs().max():
        raise Unfit("this network can't be put in the form that hooks need; take integrated_gradients")
    return made


def activations(net: nn.Module) -> list[nn.Module]:
    """The activations of a prepared network, poolings among them, in the order of its modules."""
    return [module for module in net.modules() if isinstance(module, ACTIVATIONS)]


def _form(module: nn.Module, guided: bool) -> nn.Module:
    """A module as it is hooked; one whose way depends on its input stays as it is, but for its parts."""
    if isinstance(module, ACTIVATIONS):
        return nn.Sequential(Clone(), _alone(module, guided))
    if not any(True for _ in module.children()) and fx.Tracer().is_leaf_module(module, ""):
        return module
    try:
        made = fx.symbolic_trace(module)
    except Exception:  # whatever its own code raises when it is handed a placeholder
        # Not the hooks: there is none to be called twice. Parameters stay shared.
        made_of_parts = copy.copy(module)
        made_of_parts._modules = {name: child and _form(child, guided) for name, child in module._modules.items()}
        return made_of_parts
    for node in list(made.graph.nodes):
        found = _activation(made, node)
        if found is not None:
            _replace(made, node, _form(found, guided))
    made.delete_all_unused_submodules()
    made.recompile()
    return made


def _alone(activation: nn.Module, guided: bool) -> nn.Module:
    """An activation that nobody else calls, not in place, and in Captum's terms."""
    if isinstance(activation, nn.ReLU6):
        return Capped() if guided else Split()
    if isinstance(activation, nn.MaxPool2d) and not guided and _overlaps(activation):
        return Windows(activation)
    alone = copy.deepcopy(activation)
    if hasattr(alone, "inplace"):
        setattr(alone, "inplace", False)  # noqa: B010 (to mypy an attribute of any module is a tensor)
    return alone


def _overlaps(pool: nn.MaxPool2d) -> bool:
    apart = all(window <= stride for window, stride in zip(_pair(pool.kernel_size), _pair(pool.stride), strict=True))
    return not apart and _pair(pool.dilation) == (1, 1) and not pool.return_indices


def _activation(made: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The activation that a node of a graph calls, as a module; None: it calls none."""
    if node.op == "call_module":
        module = made.get_submodule(str(node.target))
        return module if isinstance(module, ACTIVATIONS) else None
    kind = _FUNCTIONS.get(node.target) if node.op in ("call_function", "call_method") else None
    if kind is None:
        return None
    names = _POOLING if kind is nn.MaxPool2d else list(inspect.signature(kind).parameters)
    given = dict(zip(names, node.args[1:], strict=False)) | dict(node.kwargs)
    return kind(**{name: value for name, value in given.items() if name not in ("input", "inplace")})


def _replace(made: fx.GraphModule, node: fx.Node, form: nn.Module) -> None:
    name = f"hooked_{node.name}"
    made.add_submodule(name, form)
    with made.graph.inserting_before(node):
        called = made.graph.call_module(name, (node.args[0] if node.args else node.kwargs["input"],))
    node.replace_all_uses_with(called)
    made.graph.erase_node(node)


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
