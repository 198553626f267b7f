"""Where Grad-CAM looks in every network, and that what it takes for places are places, the right way up."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import resnet18, resnet50, swin_t, vit_b_16
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.ops import Permute

from tests.explain.lively import NETS, linear_evidence, make_model, subject_of
from zdd.errors import ZddError
from zdd.explain import grad_cam, layers
from zdd.explain.base import Subject, Unfit
from zdd.explain.places import Spot
from zdd.models import build
from zdd.models.autoencoder import Network as Autoencoder
from zdd.models.tiles import Tiled
from zdd.models.unet_net import Network as Unet
from zdd.records import Task
from zdd.settings import Section

CHOSEN = {  # at 64 pixels, with ImageNet's stems: name, grid
    "resnet18": ("layer4", (2, 2)),
    "resnet50": ("layer4", (2, 2)),
    "mobilenet_v2": ("features", (2, 2)),
    "efficientnet_b1": ("features", (2, 2)),
    "efficientnet_v2_s": ("features", (2, 2)),
    "shufflenet_v2_x1_0": ("conv5", (2, 2)),
    "convnext_tiny": ("features", (2, 2)),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", (4, 4)),
    "swin_t": ("permute", (2, 2)),
    "alexnet": ("features.11", (3, 3)),  # the last max-pool leaves one place
    "vgg16": ("features", (2, 2)),
    "squeezenet1_1": ("classifier.2", (3, 3)),  # its head is a convolution: the classes' own maps
    "xception": ("act4", (2, 2)),
    "dino_vits8": ("blocks.11.norm1", (8, 8)),
    "luna": ("blocks", (4, 4)),
    "duq": ("features.layer4", (2, 2)),
    "autoencoder": ("up.0", (16, 16)),
    "unet": ("encoder.features.17", (2, 2)),
}


def of(net: nn.Module) -> Subject:
    return Subject(net.eval(), linear_evidence)


UNLIKE = ("dino_vits8", "swin_t")  # tokens and channels at the end: in every run of the tests
ZOO = [pytest.param(*net.values, marks=() if net.values[0] in UNLIKE else net.marks) for net in NETS]


@pytest.fixture(scope="module", params=ZOO)
def zoo(request) -> tuple[str, Subject]:
    return request.param, subject_of(make_model(request.param))


def test_the_layer_of_every_network(zoo) -> None:
    name, subject = zoo
    spot = layers.find(subject, (64, 64))
    assert (spot.name, spot.grid) == CHOSEN[name]
    assert spot.prefix == (1 if name in ("vit_b_16", "dino_vits8") else 0)
    assert spot.canvas == (64, 64)


def test_the_map_of_every_network_is_captums_spread_over_the_image(zoo) -> None:
    _, subject = zoo
    image = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    target = torch.zeros(2, dtype=torch.int64)
    before = {key: value.clone() for key, value in subject.net.state_dict().items()}
    with torch.no_grad():
        made = grad_cam.attribute(subject, image, target).values
        assert torch.allclose(made[1:], grad_cam.attribute(subject, image[1:], target[1:]).values, rtol=1e-3, atol=1e-6)
    assert made.shape == (2, 1, 64, 64) and made.dtype == torch.float32 and float(made.min()) >= 0
    spot = layers.find(subject, (64, 64))
    module = subject.net.get_submodule(spot.name)
    if spot.order == "channels first":
        captum = LayerGradCam(subject.module(), module)
        cam = captum.attribute(image, target, attribute_to_layer_input=spot.side == "in", relu_attributions=True)
        assert torch.allclose(made, F.interpolate(cam, (64, 64), mode="bilinear"), rtol=1e-3, atol=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in subject.net.state_dict().items())
    assert all(parameter.grad is None for parameter in subject.net.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in subject.net.modules())


def test_tokens_and_swins_places_lie_where_the_image_has_them(zoo) -> None:
    name, subject = zoo
    if name not in ("vit_b_16", "dino_vits8", "swin_t", "convnext_tiny", "luna"):
        return  # what deeper convolutions see is the whole of so small an image
    spot = layers.find(subject, (64, 64))
    image = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    changed = image.clone()
    changed[..., :32, 32:] = torch.randn(4, 3, 32, 32)  # above on the right
    said = [layers.activations(subject, x, torch.zeros(4, dtype=torch.int64), spot)[0][0] for x in (image, changed)]
    moved = (said[1] - said[0]).abs().mean((0, 1))
    assert moved.shape == spot.grid
    half = spot.grid[0] // 2
    assert float(moved[:half].sum() / moved.sum()) > 0.6 < float(moved[:, half:].sum() / moved.sum())


def test_of_a_tall_image_too() -> None:
    net = resnet18(num_classes=2)
    spot = layers.find(of(net), (64, 160))
    assert (spot.name, spot.grid, spot.canvas) == ("layer4", (2, 5), (64, 160))


def test_the_small_stem_keeps_more_places() -> None:
    task = Task(("good", "crack"), True, (64, 64), (8, 4))
    model = build.build(Section(name="duq", options={"backbone": "resnet18"}), task).eval()
    assert layers.find(subject_of(model), (64, 64)).grid == (8, 8)


@pytest.mark.parametrize(
    ("net", "size", "name", "grid", "order"),
    [
        # One place is left in layer4; its first block has two by two in one of its branches, which is no stage.
        (resnet50, 32, "layer3", (2, 2), "channels first"),
        (swin_t, 32, "features.5", (2, 2), "channels last"),
    ],
)
def test_of_small_images_the_last_whole_stage_with_places(net, size, name, grid, order) -> None:
    spot = layers.find(of(net(num_classes=2)), (size, size))
    assert (spot.name, spot.grid, spot.order) == (name, grid, order)


def test_a_cube_is_read_by_the_layers_before_it() -> None:
    # 16 x 16 x 16 numbers: the shape does not say which are channels.
    swin = SwinTransformer([4, 4], 16, [1, 1], [1, 2], [4, 4], num_classes=2)
    assert layers.find(of(swin), (64, 64), "features.1").order == "channels last"
    plain = nn.Sequential(nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 4, 2, 2), nn.Flatten(), nn.Linear(256, 2))
    assert layers.find(of(plain), (64, 64), "1").order == "channels first"
    turned = [nn.Conv2d(3, 16, 4, 4), Permute([0, 2, 3, 1]), nn.Linear(16, 16), Permute([0, 3, 1, 2]), nn.ReLU()]
    convnexts = nn.Sequential(*turned, nn.Flatten(), nn.Linear(4096, 2))
    assert layers.find(of(convnexts), (64, 64), "4").order == "channels first"
    assert layers.find(of(convnexts), (64, 64), "2").order == "channels last"


def test_a_dense_layer_says_nothing_of_the_order() -> None:
    # 8 channels of 12 x 16: read with the channels last, the strides fit nearly as well.
    task = Task(("good", "bad"), True, (48, 64), (1, 1))
    net = Autoencoder(task, [16, 8], 3, 2, 32)
    spot = layers.find(of_errors(net), (48, 64))
    assert (spot.name, spot.side, spot.grid, spot.order) == ("up.0", "in", (12, 16), "channels first")


def of_errors(net: nn.Module) -> Subject:
    return Subject(net.eval(), lambda raw, image: (raw - image).square().mean((1, 2, 3))[:, None])


def test_what_a_functional_relu_gave_is_taken_after_it() -> None:
    net = Autoencoder(Task(("good", "bad"), True, (32, 32), (1, 1)), [16, 8], 3, 2, None)
    subject = of_errors(net)
    spot = layers.find(subject, (32, 32))
    ((activation, _),) = layers.activations(subject, torch.randn(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64), spot)
    assert (spot.name, spot.side) == ("up.0", "in")
    assert float(activation.min()) == 0  # down.1 itself gives negative numbers, too


def test_of_a_module_called_several_times_the_last_call_counts() -> None:
    subject = of(resnet18(num_classes=2))
    image, target = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
    said = [
        layers.activations(subject, image, target, layers.find(subject, (64, 64), name))
        for name in ("layer4.1.relu", "layer4")
    ]
    for (one, its), (other, others) in zip(*said, strict=True):
        assert torch.equal(one, other) and torch.allclose(its, others)


def test_a_module_stands_where_its_last_call_does() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.gate = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.ReLU()
            self.head = nn.Linear(4, 2)

        def forward(self, image: Tensor) -> Tensor:
            return self.head(self.gate(self.second(self.gate(self.first(image)))).mean((2, 3)))

    assert layers.find(of(Twice()), (8, 8)).name == "gate"


def test_tokens_lie_row_by_row_behind_the_class_token() -> None:
    spot = Spot("", "out", (2, 3), "tokens", 1, (4, 6), ())
    tokens = torch.arange(7.0)[None, :, None].repeat(1, 1, 5)
    assert spot.places(tokens).shape == (1, 5, 2, 3)
    assert spot.places(tokens)[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_relu_that_works_in_place_does_not_overwrite_the_layer_before_it() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 4, 3)
    net = nn.Sequential(convolution, nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 2))
    subject, image = of(net), torch.randn(2, 3, 8, 8)
    spot = layers.find(subject, (8, 8), "0")
    ((activation, slope),) = layers.activations(subject, image, torch.tensor([0, 1]), spot)
    assert torch.equal(activation, convolution(image))
    expected = net[3].weight.reshape(2, 4, 6, 6) * (activation > 0)
    assert torch.allclose(slope, expected)
    assert layers.find(subject, (8, 8)).name == "1"


def test_named_layers_that_are_none() -> None:
    subject = of(resnet18(num_classes=2))
    with pytest.raises(ZddError, match=r"layer = 'layr4'.* did you mean 'layer4'\? Or take auto, .*layer3, layer4"):
        layers.find(subject, (64, 64), "layr4")
    with pytest.raises(ZddError, match=r"grad_cam: layer = 'avgpool': has a single place at this image size"):
        layers.find(subject, (64, 64), "avgpool")
    with pytest.raises(ZddError, match=r"layer = 'fc': no layer of that name has places"):
        layers.find(subject, (64, 64), "fc")
    assert layers.find(subject, (64, 64), "layer2").grid == (8, 8)


def lively_vit() -> nn.Module:
    torch.manual_seed(0)
    net = vit_b_16(image_size=32, num_classes=2)
    nn.init.normal_(net.heads.head.weight)  # torchvision begins with zeros
    return net


def test_the_last_block_of_a_transformer_hands_on_the_class_token_alone() -> None:
    subject = of(lively_vit())
    for name in ("encoder.ln", "encoder.layers.encoder_layer_11"):
        with pytest.raises(ZddError, match=rf"'{name}': the score does not depend on its places; take auto"):
            layers.find(subject, (32, 32), name)
    assert layers.find(subject, (32, 32), "encoder.layers.encoder_layer_10").prefix == 1
    assert layers.find(subject, (32, 32)).name == "encoder.layers.encoder_layer_11.ln_1"


def test_an_untrained_head_of_zeros_is_no_mistake() -> None:
    spot = layers.find(of(vit_b_16(image_size=32, num_classes=2)), (32, 32))
    assert (spot.grid, spot.order) == ((2, 2), "tokens")


def test_a_network_without_places_says_so() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(Unfit, match="grad_cam: no layer of this network has more than one place at 8 x 8"):
        layers.find(of(net), (8, 8))


def test_padding_is_cut_off_and_tiles_go_where_they_lie() -> None:
    # Four places of 2 x 2 pixels span 4 x 4; the image has 3 x 3 of these, above on the left.
    cells = torch.tensor([[0.0, 4.0], [8.0, 12.0]])[None, None]
    whole = Spot("", "out", (2, 2), "channels first", 0, (4, 4), ((slice(0, 3), slice(0, 3)),))
    along = torch.tensor([0.0, 1.0, 3.0])  # of 0 and 4 at pixels 0.5 and 2.5, seen at 0, 1 and 2
    assert torch.allclose(whole.spread([cells])[0, 0], along[None, :] + 2 * along[:, None])
    windows = ((slice(0, 2), slice(0, 2)), (slice(0, 2), slice(1, 3)))
    tiles = Spot("", "out", (1, 1), "channels first", 0, (2, 2), windows)
    made = tiles.spread([torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 6.0)])
    assert made[0, 0].tolist() == [[2, 4, 6], [2, 4, 6]]


def test_the_unets_padding_is_seen() -> None:
    spot = layers.find(of_pixels(Unet("mobilenet_v2", "none", 2, width=0.25)), (48, 80))
    assert (spot.grid, spot.canvas) == ((2, 3), (64, 96))


def of_pixels(net: nn.Module) -> Subject:
    return Subject(net.eval(), lambda raw, image: (raw[:, 1] - raw[:, 0]).mean((1, 2))[:, None])


def test_tiles_are_looked_at_one_by_one() -> None:
    inner = nn.Sequential(nn.Conv2d(3, 5, 4, 4), nn.ReLU(), nn.ConvTranspose2d(5, 2, 4, 4, bias=False))
    subject = of_pixels(Tiled(inner, 16, 8))
    spot = layers.find(subject, (16, 24))
    assert (spot.name, spot.grid, spot.canvas, len(spot.windows)) == ("net.1", (4, 4), (16, 16), 2)
    image = torch.randn(2, 3, 16, 24)
    target = torch.zeros(2, dtype=torch.int64)
    said = layers.activations(subject, image, target, spot)
    for (activation, _), window in zip(said, spot.windows, strict=True):
        expected: Tensor = inner[:2](image[(..., *window)])
        assert torch.allclose(activation, expected, atol=1e-6)
    # What comes after is linear, so that slope times activation is the score.
    score = torch.stack([(activation * slope).sum((1, 2, 3)) for activation, slope in said]).sum(0)
    assert torch.allclose(score, subject.score(image, target), atol=1e-6)
