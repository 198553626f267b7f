"""Pretrained weights: found, read without running code, fitted to a network, or refused, every mismatch named."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.models import get_model_weights
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from zdd import files
from zdd.errors import ZddError
from zdd.models import backbones

ENDINGS = (".safetensors", ".pth")
WRAPPED_IN = ("state_dict", "model", "model_state_dict")
PREFIXES = ("net.", "module.", "model.", "_orig_mod.")  # of Lightning, DDP and torch.compile
NAMED_AT_MOST = 20  # of each kind of mismatch; more of them mean another architecture

State = dict[str, Tensor]


def load(net: nn.Module, backbone: str, weights: str, layout: backbones.Layout) -> None:
    """Load `weights` ("none", "imagenet", or a file) into `net`; a head of other shapes stays freshly initialised.

    A net on the meta device is only checked against the file.

    Raises:
        ZddError: If there is no such file, it can't be read, or does not fit.
    """
    if weights == "none":
        return
    path = find(backbone, weights)
    where = f"model.weights = '{weights}'" + (f" ({path})" if path is not None and str(path) != weights else "")
    state = read(path, where) if path is not None else download(backbone)
    state = _resized(net, state)
    own = net.state_dict()
    for name in layout.head:
        if name not in state or state[name].shape != own[name].shape:
            state = {key: value for key, value in state.items() if key not in layout.head}
            break
    mismatches = compare(own, state, optional=layout.head)
    if mismatches:
        raise ZddError(f"{where}: does not fit {backbone}", *mismatches)
    if not any(tensor.is_meta for tensor in own.values()):
        net.load_state_dict(state, strict=False)


def find(backbone: str, weights: str) -> Path | None:
    """The file that holds the weights; None if ImageNet's must be downloaded.

    Raises:
        ZddError: If there is no such file, or no such weights of this backbone.
    """
    if weights != "imagenet":
        places = files.search_places(weights, folder="weights", variable="ZDD_WEIGHTS")
    else:
        if backbone == "luna":
            raise ZddError("model.weights = 'imagenet': luna has none; write 'none' or name a file")
        names = [f"{backbone}{ending}" for ending in ENDINGS]
        # Not "as given": a file of that name in the working directory was not meant.
        places = [p for n in names for p in files.search_places(n, folder="weights", variable="ZDD_WEIGHTS")[1:]]
    for place in places:
        if place.is_file():
            return place
    if weights == "imagenet":
        return None
    raise ZddError(f"model.weights = '{weights}': there is no such file; looked at {', '.join(map(str, places))}")


def read(path: Path, where: str = "") -> State:
    """The tensors of a safetensors file or of a state dict, by name; code in a pickle is never run.

    Args:
        path: The file.
        where: What an error begins with; the path if empty.

    Raises:
        ZddError: If it is neither, or would run code.
    """
    where = where or str(path)
    try:
        content = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ZddError(
            f"{where}: holds more than weights (a whole pickled model, or code), or is no file of weights at all; "
            "refused, nothing was run"
        ) from None
    except (SafetensorError, OSError, RuntimeError, EOFError, KeyError, ValueError, IndexError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ZddError(f"{where}: can't be read as weights ({reason})") from None
    return _state(content, where)


def download(backbone: str) -> State:
    """ImageNet weights by the library that has the architecture, with its own check of the file.

    Raises:
        ZddError: If they can't be had; the message says which file to put where.
    """
    try:
        if backbones.timm_name(backbone):
            return _download_timm(backbone)
        state: State = get_model_weights(backbone).DEFAULT.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; a wrong hash is a RuntimeError
        reason = str(getattr(error, "reason", None) or error).partition("\n")[0]
        raise ZddError(
            f"model.weights = 'imagenet': can't download {_address(backbone)} ({reason}); "
            f"put that file there as weights/{backbone}.pth, or into a folder of ZDD_WEIGHTS under this name"
        ) from None
    return state


def compare(own: Mapping[str, Tensor], state: Mapping[str, Tensor], *, optional: tuple[str, ...] = ()) -> list[str]:
    """A line for each kind of mismatch between a network's tensors and a file's."""
    lacking = [name for name in own if name not in state and name not in optional]
    kinds = {
        # Files from before torch 0.4.1 have no counters, and need none.
        "missing in the file": [name for name in lacking if not name.endswith("num_batches_tracked")],
        "unexpected in the file": [name for name in state if name not in own],
        "other shapes in the file": [
            f"{name} {list(state[name].shape)} instead of {list(own[name].shape)}"
            for name in own
            if name in state and state[name].shape != own[name].shape
        ],
    }
    return [f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names]


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _state(content: Any, where: str) -> State:
    """The tensors by the network's own names, out of whatever training programs wrap around them."""
    for key in WRAPPED_IN:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise ZddError(f"{where}: holds {type(content).__name__}, not weights by name")
    wrong = [str(name) for name, value in content.items() if not isinstance(value, Tensor) or not isinstance(name, str)]
    if wrong:
        raise ZddError(f"{where}: no tensors: {_listed(wrong)}")
    state: State = dict(content)
    while prefix := next((p for p in PREFIXES if all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _resized(net: nn.Module, state: State) -> State:
    """Position embeddings interpolated to the network's image size."""
    key = "encoder.pos_embedding" if isinstance(net, VisionTransformer) else "pos_embed"
    own = dict(net.named_parameters()).get(key)
    if own is None or key not in state or state[key].ndim != 3 or state[key].shape[1] == own.shape[1]:
        return state
    if isinstance(net, VisionTransformer):
        return dict(interpolate_embeddings(net.image_size, net.patch_size, OrderedDict(state)))
    size, n_tokens = list(cast(Any, net).patch_embed.grid_size), cast(int, net.num_prefix_tokens)
    resample = backbones.timm("timm").layers.resample_abs_pos_embed
    return {**state, key: resample(state[key], size, num_prefix_tokens=n_tokens)}


def _download_timm(backbone: str) -> State:
    net = backbones.timm(backbone).create_model(backbones.timm_name(backbone), pretrained=True)
    state: State = net.state_dict()
    return state


def _address(backbone: str) -> str:
    its_name = backbones.timm_name(backbone)
    if its_name is None:
        return str(get_model_weights(backbone).DEFAULT.url)
    known = backbones.timm(backbone).get_pretrained_cfg(its_name)
    return str(known.url or f"https://huggingface.co/{known.hf_hub_id}") if known else its_name
