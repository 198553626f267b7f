"""DUQ: kernels that also say when an image is like no class (van Amersfoort et al., ICML 2020, arXiv 2003.02037)."""

from typing import Any, Literal, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from zdd.models import backbones, surgery, weights
from zdd.models.base import ZddModel, class_evidence, class_targets
from zdd.records import Batch, Prediction, Task
from zdd.settings import Amount, Backbone, Factor, Positive, Rate, Share

SURE = -1e-7  # the log of the largest kernel value that the loss tells from 1


class Kernels(nn.Module):
    """Normalised images (B, 3, H, W) -> (B, K) logarithms of the class kernels, in float32.

    With the features f(x) of a network and a matrix W_k for each class, z_k = W_k f(x), and the kernel is
    exp(-mean((z_k - e_k)^2) / (2 sigma^2)). The centres e_k = m_k / N_k are moving averages of the class's own z_k.

    Args:
        features: (B, 3, H, W) -> (B, F).
        n_features: F.
        n_classes: K.
        embedding_size: E, the length of z_k.
        length_scale: sigma.
    """

    m: Tensor  # (E, K)
    n: Tensor  # (K,)

    def __init__(
        self, features: nn.Module, n_features: int, n_classes: int, *, embedding_size: int, length_scale: float
    ) -> None:
        super().__init__()
        self.features, self.length_scale = features, length_scale
        self.weight = nn.Parameter(torch.empty(embedding_size, n_classes, n_features))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        # The authors start with N = 13; 1 lets go of the random first centres within an epoch of a small set.
        self.register_buffer("n", torch.ones(n_classes))
        self.register_buffer("m", torch.normal(torch.full((embedding_size, n_classes), 0.05), 1.0))

    def embed(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, E, K), each class's z, in float32: in half precision so short a distance is no number."""
        seen = self.features(image)
        with torch.autocast(image.device.type, enabled=False):
            return torch.einsum("bf,ekf->bek", seen.float(), self.weight.float())

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K)."""
        far = (self.embed(image) - self.m / self.n).square().mean(1)
        return -far / (2 * self.length_scale**2)


class Duq(ZddModel):
    """A classifier whose certainty is the nearness to its class's centre: 1 there, 0 far from all.

    Args:
        task: Classes and image size.
        backbone: The network: one of the zoo, or timm/<name>; its own head is left out.
        weights: "none", "imagenet", or a file.
        length_scale: Of the kernels, the paper's sigma.
        gamma: Of the moving averages: the share of a centre that stays in each step.
        gp_const: Weight of the two-sided gradient penalty, the paper's lambda; null: none.
        embedding_size: Length of the vectors that are compared with the centres.
        stem: "imagenet": the backbone's own; "small": 3 x 3, stride 1, no max-pool; "auto": small for images of up to
            64 x 64 pixels, where the backbone has such a stem.
        dropout: Probability of every dropout layer; null: the architecture's own.

    Raises:
        ZddError: If the weights are not there or don't fit, or the network can't take the image size or the stem.
    """

    def __init__(
        self,
        task: Task,
        *,
        backbone: Backbone = "mobilenet_v2",
        weights: str = "none",
        length_scale: Rate = 0.1,
        gamma: Factor = 0.999,
        gp_const: Amount | None = None,
        embedding_size: Positive = 256,
        stem: Literal["auto", "imagenet", "small"] = "auto",
        dropout: Share | None = None,
    ) -> None:
        super().__init__(task)
        net = backbones.build(backbone, task.n_classes, task.image_size, dropout=dropout)
        _load(net, backbone, weights)
        surgery.set_stem(net, backbone, stem, task.image_size)
        n_features = surgery.behead(net)
        self.net = Kernels(net, n_features, task.n_classes, embedding_size=embedding_size, length_scale=length_scale)
        self.gamma, self.gp_const = gamma, gp_const

    @property
    def kernels(self) -> Kernels:
        """The net, by its type."""
        return cast(Kernels, self.net)

    def loss(self, batch: Batch) -> Tensor:
        """Binary cross-entropy of the kernels against one-hot labels, plus the gradient penalty."""
        image, label = batch["image"], batch["label"]
        if not self.gp_const:
            return binary_cross_entropy(self.net(image), label).mean()
        image = image.detach().requires_grad_(True)
        with sdpa_kernel(SDPBackend.MATH):  # the fast kernels of attention have no second derivative
            raw = self.net(image)
            return binary_cross_entropy(raw, label).mean() + self.gp_const * gradient_penalty(raw.exp(), image)

    def val_loss(self, raw: Tensor, batch: Batch) -> Tensor:
        """(B,) binary cross-entropy of each image."""
        return binary_cross_entropy(raw, batch["label"])

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes and, with a good one, any defect."""
        return class_targets(self.task)

    def evidence(self, raw: Tensor, image: Tensor) -> Tensor:
        """(B, T): logarithms of the kernels, and of their share's odds of any defect."""
        return class_evidence(raw, self.task)

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """Probabilities are the kernels' shares; the uncertainty is 1 - the largest kernel, however large its share."""
        probability = raw.softmax(1)
        score = probability[:, 1:].sum(1) if self.task.has_good else 1 - probability.amax(1)
        # In double precision images far from every class still differ; Apple's GPUs have none.
        nearest = raw.amax(1) if raw.device.type == "mps" else raw.amax(1).double()
        return Prediction(score=score, label=raw.argmax(1), probability=probability, uncertainty=-torch.expm1(nearest))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Lightning's hook: the centres move after the step, by what the network in use says of the batch."""
        self.move_centres(batch)

    @torch.no_grad()
    def move_centres(self, batch: Batch) -> None:
        """One step of the moving averages, in eval mode, over the batches of all processes."""
        was = self.training
        self.eval()
        z = self.kernels.embed(batch["image"])
        self.train(was)
        hot = F.one_hot(batch["label"], self.task.n_classes).to(z)
        n, total = hot.sum(0), torch.einsum("bek,bk->ek", z, hot)
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(n)
            distributed.all_reduce(total)
        self.kernels.n.mul_(self.gamma).add_(n, alpha=1 - self.gamma)
        self.kernels.m.mul_(self.gamma).add_(total, alpha=1 - self.gamma)


def binary_cross_entropy(raw: Tensor, label: Tensor) -> Tensor:
    """(B, K) log kernels, (B,) -> (B,), mean over the classes; exact also where a kernel underflows to 0."""
    raw = raw.clamp(max=SURE)
    hot = F.one_hot(label, raw.shape[1]).to(raw)
    return -(hot * raw + (1 - hot) * torch.log(-torch.expm1(raw))).mean(1)


def gradient_penalty(kernels: Tensor, image: Tensor) -> Tensor:
    """(): mean over images of (|d sum_k K_k / d image| - 1)^2, two-sided (the paper's equation 5)."""
    (slope,) = torch.autograd.grad(kernels.sum(), image, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(2, dim=1) - 1).square().mean()
    return penalty


def _load(net: nn.Module, backbone: str, name: str) -> None:
    # Apart from the constructor, where `weights` is the setting and not the module.
    weights.load(net, backbone, name, backbones.layout(net))
