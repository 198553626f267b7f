"""Weights from files: found, read without running code, fitted, or refused with every mismatch named."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model

from zdd.errors import ZddError
from zdd.models import backbones, weights

SHARED = [Path(part) for part in os.environ.get("ZDD_WEIGHTS", "").split(os.pathsep) if part]
SHARED += [Path(__file__).parents[3] / "shared/weights"]


def shared(name: str) -> Path:
    found = next((folder / name for folder in SHARED if (folder / name).is_file()), None)
    if found is None:
        pytest.skip(f"no {name} in ZDD_WEIGHTS")
    return found


def load(path: Path | str, backbone: str = "resnet18", n: int = 3, size: tuple[int, int] = (64, 64)):
    net = backbones.build(backbone, n, size)
    weights.load(net, backbone, str(path), backbones.layout(net))
    return net


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    return {name: torch.randn(t.shape) if t.is_floating_point() else t for name, t in small("resnet18").items()}


def small(backbone: str, n: int = 5) -> dict[str, torch.Tensor]:
    return get_model(backbone, num_classes=n).state_dict()


WRAPPERS = {
    "plain": lambda s: s,
    "lightning": lambda s: {"epoch": 3, "state_dict": {f"net.{k}": v for k, v in s.items()}},
    "ddp": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
    "compiled": lambda s: {f"net._orig_mod.{k}": v for k, v in s.items()},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_state_dict_is_loaded_whatever_is_around_it(wrapper: str, state, tmp_path: Path) -> None:
    torch.save(WRAPPERS[wrapper](state), tmp_path / "w.pth")
    own = load(tmp_path / "w.pth").state_dict()
    assert own["fc.weight"].shape == (3, 512)  # the head of 5 classes was replaced
    assert all(torch.equal(own[name], state[name]) for name in state if not name.startswith("fc."))


def test_safetensors_with_a_head_of_as_many_classes_is_loaded_with_its_head(state, tmp_path: Path) -> None:
    save_file(state, tmp_path / "w.safetensors")
    own = load(tmp_path / "w.safetensors", n=5).state_dict()
    assert all(torch.equal(own[name], state[name]) for name in state)


def test_weights_without_a_head_or_counters_are_whole(state, tmp_path: Path) -> None:
    kept = {k: v for k, v in state.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
    torch.save(kept, tmp_path / "w.pth")
    assert torch.equal(load(tmp_path / "w.pth").conv1.weight, state["conv1.weight"])


def test_half_a_head_is_not_loaded(state, tmp_path: Path) -> None:
    state["fc.weight"] = torch.randn(3, 512)  # of 3 classes, but the bias is of 5
    torch.save(state, tmp_path / "w.pth")
    assert not torch.equal(load(tmp_path / "w.pth").fc.weight, state["fc.weight"])


def test_every_mismatch_is_named_at_once(state, tmp_path: Path) -> None:
    del state["layer1.0.conv1.weight"], state["bn1.running_mean"]
    state["extra.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ZddError) as error:
        load(tmp_path / "w.pth")
    first, missing, unexpected, shape = error.value.lines
    assert f"model.weights = '{tmp_path / 'w.pth'}': does not fit resnet18" in first
    assert missing == "2 missing in the file: bn1.running_mean, layer1.0.conv1.weight"
    assert unexpected == "1 unexpected in the file: extra.weight"
    assert shape == "1 other shapes in the file: conv1.weight [64, 1, 7, 7] instead of [64, 3, 7, 7]"


def test_another_architecture_is_refused_in_few_words(tmp_path: Path) -> None:
    torch.save(small("mobilenet_v2"), tmp_path / "w.pth")
    with pytest.raises(ZddError, match="does not fit resnet18") as error:
        load(tmp_path / "w.pth")
    assert max(len(line) for line in error.value.lines) < 1000


class Canary:
    """What a malicious file holds: unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_code_in_a_pickle_never_runs(save, state, tmp_path: Path) -> None:
    save({"state_dict": state, "epoch": Canary(tmp_path / "it ran")}, tmp_path / "w.pth")
    with pytest.raises(ZddError, match="refused, nothing was run"):
        load(tmp_path / "w.pth")
    assert not (tmp_path / "it ran").exists()
    torch.load(tmp_path / "w.pth", weights_only=False) if save is torch.save else pickle.loads(
        (tmp_path / "w.pth").read_bytes()
    )
    assert (tmp_path / "it ran").exists()  # the canary does sing where code is run


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(get_model("squeezenet1_1"), tmp_path / "model.pth")
    with pytest.raises(ZddError, match="holds more than weights"):
        load(tmp_path / "model.pth", "squeezenet1_1")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut"])
def test_a_broken_file_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ZddError, match=name) as error:
        load(tmp_path / name)
    assert len(error.value.lines) == 1


def test_a_truncated_file_is_named(state, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:200_000])
    with pytest.raises(ZddError, match="can't be read as weights"):
        load(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"epoch": 3, "lr": 0.1}, "no tensors: epoch, lr"),
        ([torch.zeros(1)], "holds list, not weights by name"),
        ({}, "holds dict, not weights by name"),
    ],
)
def test_what_is_no_state_dict_is_refused(content, said: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ZddError, match=said):
        load(tmp_path / "w.pth")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("ZDD_WEIGHTS", str(tmp_path))
    with pytest.raises(ZddError) as error:
        load("mine.pth")
    assert str(error.value) == (
        f"model.weights = 'mine.pth': there is no such file; looked at mine.pth, weights/mine.pth, {tmp_path}/mine.pth"
    )


def test_imagenet_prefers_the_files_at_hand(state, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZDD_WEIGHTS", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    torch.save(small("mobilenet_v2"), "resnet18.pth")  # a file beside the experiment was not meant: it would not fit
    torch.save(state, "elsewhere/resnet18.pth")
    assert torch.equal(load("imagenet").conv1.weight, state["conv1.weight"])
    state["conv1.weight"] = state["conv1.weight"] + 1
    Path("weights").mkdir()
    save_file(state, "weights/resnet18.safetensors")
    assert torch.equal(load("imagenet").conv1.weight, state["conv1.weight"])  # weights/ comes before ZDD_WEIGHTS


@pytest.mark.parametrize(
    ("backbone", "address"),
    [
        ("resnet18", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        ("dino_vits8", "https://dl.fbaipublicfiles.com/dino/dino_deitsmall8_pretrain/dino_deitsmall8_pretrain.pth"),
    ],
)
def test_offline_one_line_says_which_file_goes_where(backbone: str, address: str, tmp_path: Path, monkeypatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it tries again for a minute
    monkeypatch.setenv("ZDD_WEIGHTS", "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    with pytest.raises(ZddError) as error:
        load("imagenet", backbone)
    (line,) = error.value.lines
    assert address in line
    assert f"weights/{backbone}.pth" in line
    assert "ZDD_WEIGHTS" in line


def test_luna_has_no_imagenet_weights() -> None:
    with pytest.raises(ZddError, match="luna has none"):
        load("imagenet", "luna")


@pytest.mark.parametrize(("backbone", "key"), [("vit_b_16", "encoder.pos_embedding"), ("dino_vits8", "pos_embed")])
def test_position_embeddings_follow_the_image_size(backbone: str, key: str, tmp_path: Path) -> None:
    # A linear ramp over the patches: interpolated to twice as many, it is still one, from the left to the right.
    with torch.device("meta"):
        net = backbones.build(backbone, 2, (64, 64))
    state = {name: torch.zeros(tensor.shape) for name, tensor in net.state_dict().items()}
    side = round((state[key].shape[1] - 1) ** 0.5)
    ramp = torch.arange(side, dtype=torch.float32).repeat(side)
    state[key][0, 1:] = ramp[:, None]
    state[key][0, 0] = 7.0  # the class token's, which has no place
    torch.save(state, tmp_path / "w.pth")
    resized = load(tmp_path / "w.pth", backbone, size=(128, 128)).state_dict()[key]
    assert resized.shape[1] == 1 + (2 * side) ** 2
    assert resized[0, 0, 0] == 7.0
    row = resized[0, 1 : 1 + 2 * side, 0]
    assert (row.diff() > 0).all()
    assert row[side - 1] + row[side] == pytest.approx(side - 1, abs=0.1)  # symmetric about the middle


@pytest.mark.data
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "squeezenet1_1"])
def test_the_real_weights(backbone: str) -> None:
    path = shared(f"{backbone}.pth")
    reference = get_model(backbone)
    reference.load_state_dict(torch.load(path, weights_only=True))
    image = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(load(path, backbone, n=1000).eval()(image), reference.eval()(image))
        features = load(path, backbone, n=2).eval().features(image)
    assert torch.equal(features, reference.features(image))
