"""Attention rollout: the patches that an answer is mixed from (Abnar and Zuidema, ACL 2020, arXiv 2005.00928)."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.swin_transformer import PatchMerging, ShiftedWindowAttention, SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

from zdd.explain.attention import Heads, back
from zdd.explain.base import Attribution, Subject, Unfit
from zdd.explain.chunks import in_chunks

SIGNED = False
TIMM = ("timm.models.vision_transformer", "VisionTransformer", "Block", "Attention")


def attribute(
    subject: Subject, image: Tensor, target: Tensor, *, heads: Literal["mean", "max", "min"] = "mean"
) -> Attribution:
    """Each patch's share in the answer, as far as attention and residuals tell: the same for every target.

    Of Swin, windows, shifts and mergings are put together exactly; what it takes from padding counts for nothing.

    Args:
        subject: What is explained.
        image: (B, 3, H, W) normalised.
        target: (B,) int64; has no influence.
        heads: How the heads of a layer are put together: "mean" as in the paper, "max" or "min" (then rows are made to
            add up to 1 again).

    Raises:
        Unfit: If the network is no vision transformer whose attention is known: ViT, DINO, Swin.
    """
    net = transformer(subject.net)
    return in_chunks(lambda part, _: Attribution(_rolled(subject.net, net, part, heads)), image, target)


def transformer(net: nn.Module) -> nn.Module:
    """The vision transformer in a network.

    Raises:
        Unfit: If there is none, or its layers are of an unknown kind.
    """
    for part in net.modules():
        if isinstance(part, VisionTransformer | SwinTransformer) or _is_timm(part):
            break
    else:
        attentive = sorted({type(part).__name__ for part in net.modules() if "Attention" in type(part).__name__})
        why = f"attention that it does not know ({', '.join(attentive)})" if attentive else "no attention"
        raise Unfit(f"attention_rollout: this network has {why}; take grad_cam")
    return part


def _is_timm(net: nn.Module) -> bool:
    """Whether it is timm's plain ViT, which DINO's is, and its answer is the class token or the patches' mean."""
    module, name, block, attention = TIMM
    given: Any = net
    return (
        (type(net).__module__, type(net).__name__) == (module, name)
        and all(type(one).__name__ == block and type(one.attn).__name__ == attention for one in given.blocks)
        and all(one.attn.gate is None for one in given.blocks if hasattr(one.attn, "gate"))
        and given.global_pool in ("token", "avg")
    )


def _rolled(whole: nn.Module, net: nn.Module, image: Tensor, heads: Heads) -> Tensor:
    """(B, 3, H, W) -> (B, 1, H, W)."""
    mixing = (nn.MultiheadAttention, ShiftedWindowAttention, PatchMerging)
    seen: list[tuple[nn.Module, Tensor]] = []
    grids: list[tuple[int, int]] = []
    hooks = []
    for part in net.modules():
        if isinstance(part, mixing) or type(part).__name__ == TIMM[-1]:
            hooks.append(part.register_forward_pre_hook(lambda layer, given: seen.append((layer, given[0]))))
        if isinstance(part, nn.Conv2d):
            hooks.append(part.register_forward_hook(lambda *said: grids.append((said[2].shape[2], said[2].shape[3]))))
    try:
        with torch.no_grad():
            whole(image)
            share = _start(net, seen[-1][1])
            for layer, x in reversed(seen):
                share = back(layer, x, share, heads)
    finally:
        for hook in hooks:
            hook.remove()
    cells = share.flatten(1)[:, -grids[-1][0] * grids[-1][1] :].reshape(len(share), 1, *grids[-1])
    return F.interpolate(cells.float(), image.shape[-2:], mode="bilinear", align_corners=False)


def _start(net: nn.Module, x: Tensor) -> Tensor:
    """Shares in the answer after the last layer, of the shape of its tokens: Swin's mean, else the class token's."""
    share = x.new_zeros(x.shape[:-1])
    pool = getattr(net, "global_pool", "token")
    if isinstance(net, SwinTransformer):
        return share + 1 / (x.shape[1] * x.shape[2])
    if pool == "token":
        share[:, 0] = 1
        return share
    prefix: Any = getattr(net, "num_prefix_tokens", 0)
    share[:, prefix:] = 1 / (x.shape[1] - prefix)
    return share
