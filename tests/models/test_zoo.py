"""The contract of every backbone: what evaluation, export and training take for granted."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from zdd.models import build
from zdd.models.base import Recipe, predict_batch
from zdd.records import Task
from zdd.settings import BACKBONES, Section

CLASSIFIER = "classifier"


@pytest.fixture(scope="module", params=BACKBONES)
def model(request, make_classifier, make_batch):
    made = make_classifier(request.param)
    settle_norms(made, make_batch(made, 6)["image"])
    return made


def settle_norms(model, image: torch.Tensor) -> None:
    """Give batch norms the statistics of real activations: with the initial ones, deep nets answer all images alike."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(image)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


@pytest.fixture
def name(request):
    return request.node.callspec.params["model"]


@pytest.fixture
def evaluated(model):
    return model.eval()


def test_forward_gives_finite_logits_that_depend_on_the_image(evaluated, make_batch) -> None:
    with torch.no_grad():
        raw = evaluated(make_batch(evaluated, 3)["image"])
    assert raw.shape == (3, 3)
    assert raw.isfinite().all()
    assert (raw[0] - raw[1]).abs().max() > 1e-4  # else all that follows would be vacuous
    assert not torch.allclose(raw.sum(1), torch.ones(3))  # LUNA's original softmax would be found here


def test_backward_reaches_every_parameter(model, make_batch) -> None:
    model.train()
    model.zero_grad()
    model.loss(make_batch(model)).backward()
    for name, parameter in model.net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
    model.zero_grad()


def test_an_image_alone_is_judged_as_in_a_batch(evaluated, make_batch) -> None:
    image = make_batch(evaluated, 3)["image"]
    alone = torch.cat([predict_batch(evaluated, image[i : i + 1]).probability for i in range(3)])
    torch.testing.assert_close(alone, predict_batch(evaluated, image).probability, rtol=1e-4, atol=1e-5)


def test_channels_last_gives_the_same(evaluated, make_batch) -> None:
    image = make_batch(evaluated, 2)["image"]
    expected = predict_batch(evaluated, image).probability
    evaluated.net.to(memory_format=torch.channels_last)
    got = predict_batch(evaluated, image.contiguous(memory_format=torch.channels_last)).probability
    evaluated.net.to(memory_format=torch.contiguous_format)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_saved_and_loaded_it_says_the_same(evaluated, name, make_batch, tmp_path: Path) -> None:
    image = make_batch(evaluated, 2)["image"]
    save_file(evaluated.net.state_dict(), tmp_path / "model.safetensors")
    section = Section(name=CLASSIFIER, options={"backbone": name, "weights": "not-there.pth"})
    again = build.build(section, evaluated.task, trained=True)
    again.recipe = evaluated.recipe
    again.net.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(predict_batch(again.eval(), image).probability, predict_batch(evaluated, image).probability)


def test_without_dropout_training_mode_repeats_itself(model, name, make_batch, make_classifier) -> None:
    quiet = make_classifier(name, dropout=0.0).train()
    image = make_batch(quiet)["image"]
    with torch.no_grad():
        assert torch.equal(quiet(image), quiet(image))


def test_it_can_be_sent_to_another_process() -> None:
    for name in BACKBONES:  # on the meta device: the weights are no question here
        task = _task()
        with torch.device("meta"):
            model = build.build(Section(name=CLASSIFIER, options={"backbone": name}), task)
        model.recipe = Recipe(build.criterion(Section(name="focal"), task), Section(name="SGD"), None, 1)
        again = pickle.loads(pickle.dumps(model))
        assert [name for name, _ in again.named_parameters()] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("size", [(96, 64), (100, 130)])
@pytest.mark.parametrize("backbone", sorted(set(BACKBONES) - {"vit_b_16", "dino_vits8"}))
def test_any_image_size(backbone: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        model = build.build(Section(name=CLASSIFIER, options={"backbone": backbone}), _task(size)).eval()
        assert model(torch.empty(2, 3, *size)).shape == (2, 3)


def _task(size: tuple[int, int] = (64, 64)) -> Task:
    return Task(("good", "crack", "dent mark"), True, size, (3, 2, 1))
