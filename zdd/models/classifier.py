"""A classifier: one backbone, pretrained or not, trained as its transfer strategy says."""

from typing import Any, Literal, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from zdd import plugins
from zdd.models import backbones, surgery, weights
from zdd.models.base import ZddModel, class_evidence, class_targets
from zdd.models.criteria.base import Criterion, in_full
from zdd.models.transfer.base import Transfer
from zdd.records import Batch, Prediction, Task
from zdd.settings import Backbone, Section, Share

EVER = 10**9  # an epoch after every stage


class Classifier(ZddModel):
    """Class probabilities of a whole image.

    Args:
        task: Classes and image size.
        backbone: The network: one of the zoo, or timm/<name>.
        weights: "none", "imagenet", or a safetensors file or state dict (as given, in weights/ or in ZDD_WEIGHTS).
        transfer: How pretrained weights are put to use.
        stem: "imagenet": the backbone's own; "small": 3 x 3, stride 1, no max-pool; "auto": small for images of up to
            64 x 64 pixels, where the backbone has such a stem.
        dropout: Probability of every dropout layer, 0 switches stochastic depth off, too; null: the architecture's own.

    Raises:
        ZddError: If the weights are not there or don't fit, or the network can't take the image size.
    """

    def __init__(
        self,
        task: Task,
        *,
        backbone: Backbone = "mobilenet_v2",
        weights: str = "none",
        transfer: Section = Section(name="full"),  # noqa: B008 (frozen)
        stem: Literal["auto", "imagenet", "small"] = "auto",
        dropout: Share | None = None,
    ) -> None:
        super().__init__(task)
        self.net = backbones.build(backbone, task.n_classes, task.image_size, dropout=dropout)
        self.layout = backbones.layout(self.net)
        _load(self.net, backbone, weights, self.layout)
        surgery.set_stem(self.net, backbone, stem, task.image_size)
        self.transfer: Transfer = plugins.load("transfer", transfer.name)(**transfer.options)
        self.epoch = 0
        # Here only what never moves: DDP takes no parameter on later that rests when it wraps the net.
        never = self.transfer.frozen(self.layout, EVER)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name not in never)

    @property
    def criterion(self) -> Criterion:
        """The recipe's criterion: the loss, and how logits are read as probabilities."""
        if self.recipe is None:
            raise RuntimeError(
                "a classifier needs a recipe, also for decoding: model.recipe = build.recipe(config, task)"
            )
        return cast(Criterion, self.recipe.criterion)

    def loss(self, batch: Batch) -> Tensor:
        """Mean of the images' losses, by the classes' weights where the criterion has them, as torch's own."""
        label = batch["label"]
        losses = self.criterion(self.net(batch["image"]), label)
        weight = self.criterion.weight(label)
        return cast(Tensor, losses.mean() if weight is None else losses.sum() / _share_of_total(weight))

    def val_loss(self, raw: Tensor, batch: Batch) -> Tensor:
        """(B,) loss of each image, times its class's weight."""
        return cast(Tensor, self.criterion(raw, batch["label"]))

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes and, with a good one, any defect."""
        return class_targets(self.task)

    def evidence(self, raw: Tensor, image: Tensor) -> Tensor:
        """(B, T): logits, and the log-odds of any defect."""
        return class_evidence(raw, self.task)

    def decode(self, raw: Tensor, image: Tensor) -> Prediction:
        """Probabilities as the criterion means them; the score is P(any defect), or 1 - max without a good class."""
        probability = self.criterion.probability(raw)
        # Summed over the defects, not 1 - P(good), which would round the scores of clearly good images to a tie at 0.
        score = probability[:, 1:].sum(1) if self.task.has_good else 1 - probability.amax(1)
        return Prediction(
            score=score,
            label=probability.argmax(1),
            probability=probability,
            uncertainty=1 - probability.amax(1),
            energy=-in_full(raw).logsumexp(1),
        )

    def groups(self, lr: float) -> list[dict[str, Any]]:
        """One group a learning rate, of the parameters that ever move, head first."""
        parameters = dict(self.net.named_parameters())
        never = self.transfer.frozen(self.layout, EVER)
        groups: dict[float, list[nn.Parameter]] = {}
        for depth, stage in enumerate([self.layout.head, *reversed(self.layout.stages)]):
            moving = [parameters[name] for name in stage if name not in never]
            if moving:
                groups.setdefault(self.transfer.rate(lr, depth), []).extend(moving)
        return [{"params": group, "lr": rate} for rate, group in groups.items()]

    def scheduled_epochs(self, epochs: int) -> int:
        """Those after the stages that have a learning rate of their own."""
        return epochs - self.transfer.stage_epochs

    def start_epoch(self, epoch: int) -> None:
        """Let move what moves in this epoch, and no other."""
        self.epoch = epoch
        if not _several_processes():  # else DDP would wait for gradients: they are dropped before the step instead
            frozen = self.transfer.frozen(self.layout, epoch)
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(name not in frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Classifier":
        """Training mode but for frozen batch norms: they neither use nor learn the batch's statistics."""
        super().train(mode)
        frozen = self.transfer.frozen(self.layout, self.epoch)
        for name, module in self.net.named_modules():
            if isinstance(module, _BatchNorm) and f"{name}.weight" in frozen:
                module.eval()
        return self

    def on_train_epoch_start(self) -> None:
        """Lightning's hook: the stage's learning rate, or the schedule's, in every epoch: also after resuming."""
        super().on_train_epoch_start()
        if self.transfer.stage_epochs == 0:
            return
        optimizer, scheduler = cast(Optimizer, self.optimizers(use_pl_optimizer=False)), cast(Any, self.lr_schedulers())
        own = self.transfer.own_lr(self.epoch)
        for group, rate in zip(optimizer.param_groups, scheduler.get_last_lr(), strict=True):
            group["lr"] = rate if own is None else own

    def schedule_waits(self) -> bool:
        """While the stage has a learning rate of its own."""
        return self.transfer.own_lr(self.epoch) is not None

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Lightning's hook: without a gradient neither momentum nor weight decay moves a parameter."""
        frozen = self.transfer.frozen(self.layout, self.epoch)
        for name, parameter in self.net.named_parameters():
            if name in frozen:
                parameter.grad = None


def _load(net: nn.Module, backbone: str, name: str, layout: backbones.Layout) -> None:
    # Apart from the constructor, where `weights` is the setting and not the module.
    weights.load(net, backbone, name, layout)


def _several_processes() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _share_of_total(weight: Tensor) -> Tensor:
    """What a process divides by, so that the mean over processes, which DDP takes, is the step's weighted mean."""
    total = weight.sum()
    if _several_processes():
        distributed.all_reduce(total)
        total = total / distributed.get_world_size()
    return torch.clamp_min(total, torch.finfo(total.dtype).tiny)  # a batch whose classes all weigh 0
