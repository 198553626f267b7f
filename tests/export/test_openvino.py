"""OpenVINO: the same numbers, kept precisions, a drop that is kept to."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from zdd.errors import ZddError
from zdd.export import openvino, openvino_int8, signal_stack
from zdd.export.base import probes
from zdd.export.graph import Whole, differs
from zdd.models.autoencoder import Autoencoder
from zdd.models.base import Recipe, ZddModel
from zdd.models.classifier import Classifier
from zdd.models.criteria.cross_entropy import CrossEntropy
from zdd.models.duq import Duq
from zdd.models.unet import Unet
from zdd.records import Task
from zdd.settings import Section

pytest.importorskip("openvino")
SIZE = 32
TASK = Task(("good", "crack", "dent"), True, (SIZE, SIZE))


def whole_of(name: str) -> Whole:
    torch.manual_seed(0)
    model: ZddModel = {
        "classifier": lambda: Classifier(TASK, backbone="luna"),
        "duq": lambda: Duq(TASK, backbone="luna"),
        "autoencoder": lambda: Autoencoder(TASK),
        "unet": lambda: Unet(TASK, encoder="resnet18", width=0.25),
    }[name]()
    model.recipe = Recipe(CrossEntropy(TASK), Section(name="SGD"), None, 1, "")
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):  # as after training: no two channels alike
            norm.running_mean, norm.running_var = torch.randn_like(norm.running_mean), 1 + torch.rand(norm.num_features)
    whole = Whole(model.net, model.decode, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    whole.run(example(1))
    return whole


def example(n: int = 8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["classifier", "duq", "autoencoder", "unet"])
def test_float32_is_exact_for_single_images_and_batches(name: str, tmp_path: Path) -> None:
    whole = whole_of(name)
    openvino.export(whole, example(), tmp_path)
    engine = openvino.load(tmp_path, threads=1)
    assert engine.names == whole.names and engine.largest_batch is None
    assert differs(engine, whole, [*probes(example()), example(7)]) is None


def test_float32_is_not_the_bf16_or_float16_that_openvino_takes_by_itself(tmp_path: Path) -> None:
    whole = whole_of("classifier")
    openvino.export(whole, example(), tmp_path)
    error = np.abs(openvino.load(tmp_path, threads=1)(example())["raw"] - whole.run(example())["raw"]).max()
    weights = sum(parameter.numel() for parameter in whole.parameters())
    assert error < 1e-6
    assert (tmp_path / "model.bin").stat().st_size > 4 * 0.9 * weights  # float16 would need 2 bytes each


def test_bf16_is_bf16_where_the_processor_has_it_and_refused_where_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import openvino as ov

    whole = whole_of("classifier")
    if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        openvino.export(whole, example(), tmp_path, precision="bf16")
        said, expected = openvino.load(tmp_path, threads=1)(example())["raw"], whole.run(example())["raw"]
        assert 1e-6 < np.abs(said - expected).max() < 0.05 * np.abs(expected).max()  # two to three digits are left
    monkeypatch.setattr(ov.Core, "get_property", lambda core, device, name: ["FP32"])
    with pytest.raises(ZddError, match="does not compute in bf16; use fp32 or int8"):
        openvino.export(whole, example(), tmp_path, precision="bf16")


def test_int8_is_small_and_near_and_leaves_what_is_behind_the_net_alone(tmp_path: Path) -> None:
    whole = whole_of("autoencoder")
    openvino.export(whole, example(), tmp_path, precision="int8", largest_drop=0.5)
    said, expected = openvino.load(tmp_path, threads=1)(example()), whole.run(example())
    assert 0 < np.abs(said["raw"] - expected["raw"]).max() < 0.2
    import openvino as ov

    model = ov.Core().read_model(tmp_path / "model.xml")
    behind = openvino_int8.behind(model, whole.names.index("raw"))
    assert "FakeQuantize" not in {op.get_type_name() for op in model.get_ops() if op.get_friendly_name() in behind}
    assert "FakeQuantize" in {op.get_type_name() for op in model.get_ops()}
    # The map is worked out of the net's raw output in float32, to the last digits.
    image = torch.from_numpy(example()).permute(0, 3, 1, 2) * whole.scale - whole.shift
    again = whole.decode(torch.from_numpy(said["raw"]), image).map
    assert again is not None and np.abs(again.numpy() - said["map"]).max() < 1e-5


def test_int8_s_ranges_hold_what_a_single_image_needs(tmp_path: Path) -> None:
    whole = whole_of("unet")
    images = np.concatenate([example(7) // 32 + 100, example(1)])  # seven are grey, nearly
    openvino.export(whole, images, tmp_path, precision="int8", largest_drop=None)
    said, expected = openvino.load(tmp_path, threads=1)(images[7:]), whole.run(images[7:])
    off = np.abs(said["raw"] - expected["raw"])
    assert 0 < off.mean() < 0.02 * np.abs(expected["raw"]).mean()  # 0.007; by means of extremes it would be 0.106


def test_a_drop_that_can_not_be_kept_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nncf

    def careless(model: object, *_: object, **options: object) -> object:
        assert options["max_drop"] == 0.25
        search = options["advanced_accuracy_restorer_parameters"]
        assert (search.ranking_subset_size, search.max_num_iterations) == (7, 12)  # of 8 images; it ends
        other = whole_of("classifier")
        with torch.no_grad():
            for parameter in other.net.parameters():
                parameter.neg_()  # another network
        import openvino as ov

        return openvino._converted(ov, other, example())

    monkeypatch.setattr(nncf, "quantize_with_accuracy_control", careless)
    with pytest.raises(
        ZddError, match=r"int8': [\d.]+ of the calibration .*, more than largest_drop = 0.25; .* bf16 or fp32"
    ):
        openvino.export(whole_of("classifier"), example(), tmp_path, precision="int8", largest_drop=0.25)
    assert not (tmp_path / "model.xml").exists()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (True, 0.75),  # of four labels one is another
        (False, 1 - 0.398942 / 2),  # scores off by half of the deviation of 0, 1, 2, 3, which is 1.118
    ],
)
def test_agreement_is_the_share_of_verdicts_that_stay_and_of_some_images_how_near_raw_is(
    monkeypatch: pytest.MonkeyPatch, labels: bool, expected: float
) -> None:
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(3, axis=3)

    def said(pixels: np.ndarray, *, off: float) -> list[np.ndarray]:
        number = pixels[:, 0, 0, 0].astype(np.float32)
        label = np.where((number == 3) & (off > 0), 1, 0)
        return [number + off, *([label] if labels else []), (number + off * number)[:, None]]

    monkeypatch.setattr(openvino_int8, "exact", lambda model: lambda pixels: said(pixels, off=0.0))
    names = ("score", "label", "raw") if labels else ("score", "raw")
    agreement = openvino_int8.agreement_with(None, images, names, None)
    share, near = agreement(lambda pixels: said(pixels, off=1.118034 / 2), range(4))
    assert share == pytest.approx(expected, abs=1e-5)
    assert near == pytest.approx([0, -0.3125, -4 * 0.3125, -9 * 0.3125])  # 0.3125 is the square of 0.559
    # NNCF asks for some images alone to put the layers in order.
    share, near = agreement(lambda pixels: said(pixels, off=1.118034 / 2), [1, 3])
    assert share == pytest.approx(-5 * 0.3125) and near == pytest.approx([-0.3125, -9 * 0.3125])


def test_what_is_made_of_the_last_layer_s_output_stays_in_float32() -> None:
    from openvino import Model, opset13

    image = opset13.parameter([1, 3, 8, 8], np.float32, name="image")
    kernel = opset13.constant(np.ones((2, 3, 3, 3), np.float32))
    layer = opset13.convolution(opset13.relu(image), kernel, [1, 1], [0, 0], [0, 0], [1, 1], name="layer")
    distance = opset13.sqrt(opset13.reduce_sum(opset13.power(layer, np.float32(2)), [1]), name="distance")
    raw, score = opset13.result(distance), opset13.result(opset13.reduce_max(distance, [1, 2], name="score"))
    model = Model([score, raw], [image])
    kept = openvino_int8.before(model, 1)
    kinds = {op.get_type_name() for op in model.get_ops() if op.get_friendly_name() in kept}
    assert kinds == {"Power", "ReduceSum", "Sqrt"}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "model.bin").unlink(), "is not there; export the run anew"),
        (lambda folder: (folder / "model.xml").write_text("<net"), "not an engine that zdd wrote"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, harm: object, said: str) -> None:
    openvino.export(whole_of("classifier"), example(), tmp_path)
    harm(tmp_path)  # type: ignore[operator]
    with pytest.raises(ZddError, match=said):
        openvino.load(tmp_path)


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    openvino.export(whole_of("classifier"), example(), tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; import numpy as np; from zdd.export import openvino\n"
        f"print(openvino.load(Path({str(tmp_path)!r}), threads=1)(np.zeros((2, 32, 32, 3), np.uint8))['raw'].shape)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.split("\n")[-2] == "(2, 3)"


def test_the_signal_stack_is_left_alone(tmp_path: Path) -> None:
    """Else the process dies of the next signal: OpenVINO unmaps what it left the thread with."""
    before = signal_stack.address()
    openvino.export(whole_of("autoencoder"), example(4), tmp_path, precision="int8", largest_drop=0.5)
    assert signal_stack.address() == before
    engines = [openvino.load(tmp_path, threads=1)]
    engines[0](example(1))
    engines[0](example(2))
    letting_go = threading.Thread(target=engines.clear)
    letting_go.start()
    letting_go.join()
    assert signal_stack.address() == before


def test_threads_that_begin_together_all_end(tmp_path: Path) -> None:
    """OpenVINO's requests, made while others compute, have stopped all of them for ever."""
    openvino.export(whole_of("classifier"), example(), tmp_path)
    engine = openvino.load(tmp_path, at_once=2)
    images = example(3)
    with ThreadPoolExecutor(6) as pool:
        said = list(pool.map(lambda n: engine(images[:n])["raw"], [3, 1, 2] * 40))
    for number, raw in enumerate(said):
        np.testing.assert_allclose(raw, said[0][: len(raw)], atol=1e-5, err_msg=str(number))
