"""8-bit integers by NNCF: what is quantised, by which ranges, and which layers go back to float32."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zdd.errors import ZddError
from zdd.export.agreement import drop, one_by_one
from zdd.export.base import library
from zdd.export.openvino import INSTALL, Pixels, said_by

if TYPE_CHECKING:
    from zdd.export.graph import Whole

ATTENTION = {"Softmax", "ScaledDotProductAttention"}
WEIGHED = {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData", "MatMul"}
FEW = 8  # images by which the layers are put in order: on all of them that took most of an hour
# Layers that may go back: each costs a look at all images, and a worse one a new order, two minutes of 140 layers.
TRIES = 12
Agreement = Callable[[Any, Iterable[int]], tuple[float, list[float]]]


def quantised(model: Any, example: Pixels, whole: Whole, largest_drop: float | None) -> Any:
    """The model in int8, but for what is made of the last layers' output: distances, softmax, kernels, maps.

    Args:
        model: OpenVINO's, of float32.
        example: (N, H, W, 3) images, by which ranges and layers are chosen.
        whole: What the model was made of.
        largest_drop: Share of the images whose verdict may change; None: no layer goes back.

    Raises:
        ZddError: If nncf is not installed, or more than that changes after TRIES.
    """
    nncf = library("nncf", install=INSTALL)
    # Validation is handed the images' numbers, inference the images themselves.
    numbers = list(range(len(example)))
    images = nncf.Dataset(numbers, lambda number: example[number : number + 1])
    options = _options(nncf, model, len(example), whole)
    if largest_drop is None:
        with _quiet(nncf):
            return nncf.quantize(model, images, advanced_parameters=_ranges(nncf), **options)
    agreement = agreement_with(model, example, whole.names, whole.threshold)
    with _quiet(nncf):
        found = nncf.quantize_with_accuracy_control(
            model,
            images,
            images,
            agreement,
            max_drop=largest_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            advanced_quantization_parameters=_ranges(nncf),
            advanced_accuracy_restorer_parameters=_search(nncf, len(example)),
            **options,
        )
    dropped = 1 - agreement(exact(found), numbers)[0]
    if dropped > largest_drop:
        raise ZddError(
            f"precision = 'int8': {dropped:.3g} of the calibration images change their verdict, though up to {TRIES}"
            f" layers may stay in float32, more than largest_drop = {largest_drop:g}; allow more, calibrate on more"
            " images, or take bf16 or fp32"
        )
    return found


def _options(nncf: Any, model: Any, n_images: int, whole: Whole) -> dict[str, Any]:
    """What is quantised and how many images are looked at."""
    place = whole.names.index("raw")
    kept = behind(model, place) | before(model, place)
    attends = any(op.get_type_name() in ATTENTION for op in model.get_ops() if op.get_friendly_name() not in kept)
    return {
        "ignored_scope": nncf.IgnoredScope(names=sorted(kept), validate=False),
        "model_type": nncf.ModelType.TRANSFORMER if attends else None,
        "subset_size": n_images,
    }


def _ranges(nncf: Any) -> Any:
    """Ranges from the least to the largest value, as in `onnx_int8`.

    By default NNCF takes the mean of the images' extremes, which cuts off what large defects do: of 121 tiles that a
    U-Net judged, four changed their class.
    """
    ranges = nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    return nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges)


def _search(nncf: Any, n_images: int) -> Any:
    """How long layers are put back: by default without end, in order of all images, anew after every step back."""
    few = max(1, min(FEW, n_images - 1))  # of all images the agreement tells another number
    return nncf.AdvancedAccuracyRestorerParameters(
        ranking_subset_size=few, max_num_iterations=TRIES, num_ranking_workers=1
    )


@contextlib.contextmanager
def _quiet(nncf: Any) -> Iterator[None]:
    """NNCF talks on standard output, where the command's result belongs."""
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def behind(model: Any, place: int) -> set[str]:
    """Names of all operations that compute with the output at `place`, as far as they go."""
    found: set[str] = set()
    waiting = [model.get_results()[place].input_value(0).get_node()]
    while waiting:
        for output in waiting.pop().outputs():
            after = [target.get_node() for target in output.get_target_inputs()]
            new = [node for node in after if node.get_friendly_name() not in found]
            found.update(node.get_friendly_name() for node in new)
            waiting += new
    return found


def before(model: Any, place: int) -> set[str]:
    """Names of the operations between the last ones with weights and the output at `place`: PatchCore's distances."""
    found: set[str] = set()
    waiting = [model.get_results()[place].input_value(0).get_node()]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in found and node.get_type_name() not in {*WEIGHED, "Constant", "Parameter"}:
            found.add(node.get_friendly_name())
            waiting += [value.get_node() for value in node.input_values()]
    return found


def exact(model: Any) -> Any:
    """It, compiled; what is not in integers is computed in float32."""
    ov = library("openvino", install=INSTALL)
    return ov.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def agreement_with(model: Any, example: Pixels, names: tuple[str, ...], threshold: float | None) -> Agreement:
    """How far a compiled model says what this one does of images with these numbers: in all, and image by image.

    NNCF asks for all images to see whether enough verdicts stay; for some alone to put the layers in order, and there
    rounding changes no verdict: then the raw output's nearness tells more. NNCF must not compare outputs by itself: it
    would take the first one for the raw one, and the layer whose rounding harms least for the worst.
    """
    compiled = exact(model)
    was = one_by_one(lambda pixels: said_by(compiled, names, pixels), example)

    def agreement(compiled: Any, numbers: Iterable[int]) -> tuple[float, list[float]]:
        asked = list(numbers)
        said = one_by_one(lambda pixels: said_by(compiled, names, pixels), example[asked])
        wanted = {name: value[asked] for name, value in was.items()}
        near = -_off(said["raw"], wanted["raw"])
        whole = 1 - drop(wanted, said, threshold) if len(asked) == len(example) else float(near.mean())
        return whole, near.tolist()

    return agreement


def _off(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.float64]:
    """(N, ...) -> (N,) mean squared errors."""
    error: NDArray[np.float64] = np.square(found.astype(np.float64) - wanted).reshape(len(found), -1).mean(axis=1)
    return error
