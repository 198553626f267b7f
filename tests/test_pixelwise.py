"""Figures of maps and masks: numbers by hand, scikit-learn, and MVTec's own way of counting regions."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn import metrics as reference

from zdd import decide
from zdd.area import Scale
from zdd.pixelwise import Tally
from zdd.preprocess import Preprocess
from zdd.records import UNKNOWN, Batch, Columns, Prediction, Record, Task
from zdd.report.tested import Tested as Outcome
from zdd.report.tested import write_predictions
from zdd.rundir import RunDir
from zdd.settings import Grade

TWO = Task(("good", "defect"), True, (8, 8))
THREE = Task(("good", "crack", "dent"), True, (8, 8))


def preprocess(size: tuple[int, int] = (8, 8), fit: str = "letterbox") -> Preprocess:
    return Preprocess(size, fit, "rgb", "bilinear", (0.5,) * 3, (0.5,) * 3)  # type: ignore[arg-type]


def tally(
    tmp_path: Path,
    maps: NDArray[np.float32],
    masks: NDArray[np.uint8],
    *,
    task: Task = TWO,
    threshold: float | None = 0.5,
    pixels: NDArray[np.uint8] | None = None,
    batches: tuple[int, ...] = (2,),
    size: tuple[int, int] | None = None,
    groups: list[str] | None = None,
    labels: list[int] | None = None,
    scale: Scale | None = None,
) -> Tally:
    """Maps and masks (N, H, W), handed over in batches whose sizes repeat."""
    n, high, wide = maps.shape
    records = []
    for i in range(n):
        path = tmp_path / f"{i}.png"
        Image.new("L", size or (wide, high)).save(path)
        label = labels[i] if labels else int(masks[i].max() > 0)
        records.append(Record(str(path), label, group=groups[i] if groups else ""))
    made = Tally(task, pixel_threshold=threshold, images=records, preprocess=preprocess((high, wide)), scale=scale)
    start = 0
    while start < n:
        rows = torch.arange(start, min(n, start + batches[start % len(batches)]))
        batch: Batch = {
            "image": torch.zeros(len(rows), 3, high, wide),
            "label": torch.zeros(len(rows), dtype=torch.int64),
            "index": rows,
            "mask": torch.from_numpy(masks[rows.numpy()][:, None]),
        }
        score = torch.zeros(len(rows))
        said = None if pixels is None else torch.from_numpy(pixels[rows.numpy()])
        made(batch, Prediction(score, map=torch.from_numpy(maps[rows.numpy()][:, None]), pixels=said))
        start += len(rows)
    return made


def scene(n: int = 12, side: int = 32, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Discs on noise; every third picture is good."""
    rng = np.random.default_rng(seed)
    maps = rng.gamma(2, 0.1, (n, side, side)).astype(np.float16).astype(np.float32)
    masks = np.zeros((n, side, side), np.uint8)
    y, x = np.mgrid[:side, :side]
    for i in range(n):
        for _ in range(i % 3):
            cy, cx, r = [*rng.integers(4, side - 4, 2).tolist(), int(rng.integers(1, 5))]
            masks[i][(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = 1
    maps += (masks * rng.uniform(0, 0.6, (n, side, side))).astype(np.float32)
    return maps.astype(np.float16).astype(np.float32), masks


def pro_reference(maps: NDArray[np.float32], masks: NDArray[np.uint8], limit: float = 0.3) -> float:
    """MVTec's definition, threshold by threshold, without a trick."""
    regions = []
    for i, mask in enumerate(masks):
        labelled, n = ndimage.label(mask, np.ones((3, 3), int))
        regions += [maps[i][labelled == k] for k in range(1, n + 1)]
    good = maps[masks == 0]
    rate, overlap = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        rate.append(float((good >= threshold).mean()))
        overlap.append(float(np.mean([(region >= threshold).mean() for region in regions])))
    area = 0.0
    for i in range(1, len(rate)):
        a, b, low, high = rate[i - 1], rate[i], overlap[i - 1], overlap[i]
        if b <= limit:
            area += (b - a) * (low + high) / 2
        elif a < limit:
            at = low + (high - low) * (limit - a) / (b - a)
            area += (limit - a) * (low + at) / 2
    return area / limit


def test_curves_are_scikit_learn_s_and_mvtec_s(tmp_path: Path) -> None:
    maps, masks = scene()
    figures = tally(tmp_path, maps, masks, threshold=None).figures()
    truth, value = (masks > 0).ravel(), maps.ravel()
    assert figures["pixel_auroc"].value == pytest.approx(reference.roc_auc_score(truth, value), abs=1e-9)
    expected = reference.average_precision_score(truth, value)
    assert figures["pixel_average_precision"].value == pytest.approx(expected, abs=1e-9)
    assert figures["aupro"].value == pytest.approx(pro_reference(maps, masks), abs=1e-9)
    assert figures["iou"].method == "does not exist: no pixel threshold"
    for name in ("pixel_auroc", "pixel_average_precision", "aupro"):
        figure = figures[name]
        assert figure.low is not None and figure.high is not None and figure.value is not None
        assert figure.low < figure.value < figure.high


def test_batches_and_their_order_change_nothing(tmp_path: Path) -> None:
    maps, masks = scene(7)
    whole = tally(tmp_path, maps, masks, batches=(7,)).figures()
    assert tally(tmp_path, maps, masks, batches=(1,)).figures() == whole
    short = tally(tmp_path, maps, masks, batches=(3,))  # 3, 3, 1
    short({"image": torch.zeros(1), "label": torch.zeros(1), "index": torch.tensor([2]),
           "mask": torch.ones(1, 1, 32, 32, dtype=torch.uint8)},
          Prediction(torch.zeros(1), map=torch.ones(1, 1, 32, 32)))  # fmt: skip
    assert short.figures() == whole  # an image that filled up a batch counts once


def test_overlaps_by_hand(tmp_path: Path) -> None:
    maps, masks = np.zeros((3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8)
    masks[0, 0, :4] = 1
    maps[0, 0, 1:5] = 0.5  # 3 found, 1 invented, 1 missed
    masks[1, 4:6, 4:6] = 1
    maps[1, 4, 4] = 0.9  # 1 found, 3 missed
    maps[2, 7, 7] = maps[2, 0, 0] = 0.6  # a good one, 2 invented in two places
    figures = tally(tmp_path, maps, masks).figures()
    assert figures["iou"].value == pytest.approx(4 / (4 + 3 + 4))
    assert figures["dice"].value == pytest.approx(8 / (8 + 3 + 4))
    assert figures["iou_per_image"].value == pytest.approx((3 / 5 + 1 / 4) / 2)
    assert figures["dice_per_image"].value == pytest.approx((6 / 8 + 2 / 5) / 2)
    assert figures["clean_good_images"].value == 0.0
    assert figures["false_regions_per_good_image"].value == 2.0
    # 4, 1 and 2 of 64 pixels against 4, 4 and 0
    assert figures["area_error_percent"].value == pytest.approx(100 * (0 + 3 + 2) / 64 / 3)
    assert figures["region_recall"].value == 1.0 and figures["region_recall"].n == 2
    assert figures["region_recall/large"].n == 2  # 4 of 64 pixels are 6 %, from 3 % on it is large
    assert figures["region_recall/small"].value is None


def test_a_region_is_found_from_a_tenth_of_its_pixels_on(tmp_path: Path) -> None:
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[0, 2:7, 2:6] = masks[0, 40:45, 40:44] = 1  # 20 pixels each, 0.49 %; from 0.33 % on it is medium
    masks[0, 7, 6] = 1  # touches the first by a corner: 21 pixels
    masks[0, 60, 60] = 1  # 0.02 %
    maps = np.zeros((1, 64, 64), np.float32)
    maps[0, 2, 2:4] = 1  # 2 of 21 is too little
    maps[0, 40, 40:42] = 1  # 2 of 20 is a tenth
    made = tally(tmp_path, maps, masks)
    figures = made.figures()
    assert (figures["region_recall"].value, figures["region_recall"].n) == (pytest.approx(1 / 3), 3)
    assert (figures["region_recall/medium"].value, figures["region_recall/medium"].n) == (0.5, 2)
    assert (figures["region_recall/small"].value, figures["region_recall/small"].n) == (0.0, 1)
    assert made.rows()[0]["regions"] == 3 and made.rows()[0]["regions_found"] == 1


def test_kinds_of_defect(tmp_path: Path) -> None:
    masks, maps = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.float32)
    masks[0, 0, :4], masks[0, 7, :2] = 1, 2
    maps[0, 0, :4] = maps[0, 7, :2] = 1
    pixels = np.ones((1, 8, 8), np.uint8)
    pixels[0, 0, 3] = 2  # one pixel of the crack is taken for a dent, and the dent for a crack
    figures = tally(tmp_path, maps, masks, task=THREE, pixels=pixels).figures()
    assert figures["iou"].value == 1.0
    assert figures["iou/crack"].value == pytest.approx(3 / 6)
    assert figures["iou/dent"].value == 0.0


def test_padding_is_no_pixel(tmp_path: Path) -> None:
    masks, maps = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.float32)
    maps[0, :2] = 9.0  # 16 x 8 pictures fill rows 2 to 5
    masks[0, 2, :4] = 1
    maps[0, 2, :4] = 1.0
    made = tally(tmp_path, maps, masks, size=(16, 8))
    figures = made.figures()
    assert figures["iou"].value == 1.0 and figures["pixel_auroc"].value == 1.0
    assert made.rows()[0]["area_percent"] == pytest.approx(100 * 4 / 32)


def test_what_is_not_known_counts_nowhere(tmp_path: Path) -> None:
    maps, masks = scene(6)
    known = tally(tmp_path, maps[:5], masks[:5]).figures()
    masks[5] = UNKNOWN
    made = tally(tmp_path, maps, masks)
    assert made.figures() == known
    assert made.rows()[5]["true_area_percent"] is None and made.rows()[5]["area_percent"] > 0


def test_good_images_alone_have_no_curve_and_say_why(tmp_path: Path) -> None:
    figures = tally(tmp_path, np.zeros((3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8)).figures()
    assert figures["clean_good_images"].value == 1.0
    assert figures["clean_good_images"].low == pytest.approx(0.4385, abs=1e-3)  # Wilson, 3 of 3
    for name in ("iou", "pixel_auroc", "aupro", "pixel_average_precision", "iou_per_image", "region_recall"):
        assert figures[name].value is None and "does not exist" in figures[name].method, name
    nothing = tally(tmp_path, np.zeros((1, 8, 8), np.float32), np.full((1, 8, 8), UNKNOWN, np.uint8)).figures()
    assert nothing["iou"].method == "does not exist: no image whose truth is known"


def test_pictures_of_one_part_are_drawn_together(tmp_path: Path) -> None:
    maps, masks = scene(12, seed=3)
    alone = tally(tmp_path, maps, masks).figures()["iou"]
    maps, masks = (np.concatenate([x, x, x, x]) for x in (maps, masks))
    together = tally(tmp_path, maps, masks, groups=[f"part {i % 12}" for i in range(48)]).figures()["iou"]
    apart = tally(tmp_path, maps, masks).figures()["iou"]
    assert together.value == apart.value == alone.value

    def width(figure: object) -> float:
        return figure.high - figure.low  # type: ignore[attr-defined,no-any-return]

    assert width(together) > 1.5 * width(apart)


def test_a_defect_that_its_mask_does_not_show_makes_no_good_image(tmp_path: Path) -> None:
    maps, masks = np.ones((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.uint8)
    maps[1] = 0
    figures = tally(tmp_path, maps, masks, labels=[1, 0]).figures()
    assert (figures["clean_good_images"].value, figures["clean_good_images"].n) == (1.0, 1)
    assert figures["false_regions_per_good_image"].value == 0.0
    assert figures["iou"].value == 0.0  # its pixels count as they are drawn


def test_a_map_of_zeros_and_one_of_ones(tmp_path: Path) -> None:
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[0, :4] = 1
    nothing = tally(tmp_path, np.zeros((2, 8, 8), np.float32), masks).figures()
    assert nothing["iou"].value == nothing["dice"].value == nothing["region_recall"].value == 0.0
    assert nothing["pixel_auroc"].value == 0.5 and nothing["clean_good_images"].value == 1.0
    assert nothing["pixel_average_precision"].value == pytest.approx(32 / 128)
    assert nothing["aupro"].value == pytest.approx(0.15)  # a straight line from (0, 0) to (1, 1), up to 0.3
    all_of_it = tally(tmp_path, np.ones((2, 8, 8), np.float32), masks).figures()
    assert all_of_it["iou"].value == pytest.approx(32 / 128) and all_of_it["region_recall"].value == 1.0
    assert all_of_it["false_regions_per_good_image"].value == 1.0 and all_of_it["clean_good_images"].value == 0.0


def test_rows_with_areas_and_grades(tmp_path: Path) -> None:
    table = (Grade(name="bad", above_percent=10.0, discount_percent=50.0),)
    maps, masks = np.zeros((4, 8, 8), np.float32), np.zeros((4, 8, 8), np.uint8)
    masks[0, 2, :4] = 1  # 4 of the picture's 32 pixels are 12.5 %
    maps[0, 2, :2] = 1  # 6.25 %
    maps[1, 2:4] = 1  # half of it, on a good image
    masks[3] = UNKNOWN
    made = tally(tmp_path, maps, masks, size=(16, 8), scale=Scale(0.5, table))
    first, second, third, last = made.rows()
    assert first == {
        "area_percent": 6.25, "area_mm2": 16 * 8 * 0.25 / 16, "grade": "none",
        "true_area_percent": 12.5, "true_grade": "bad", "iou": 0.5, "regions": 1, "regions_found": 1,
    }  # fmt: skip
    assert (second["grade"], second["true_grade"], second["iou"], second["regions"]) == ("bad", "none", 0.0, 0)
    assert third["iou"] is None and third["true_area_percent"] == 0.0  # nothing to find, nothing found
    assert last["area_percent"] == 0.0 and last["grade"] == "none"
    assert [last[name] for name in ("true_area_percent", "true_grade", "iou", "regions")] == [None] * 4
    assert made.grade_confusion().tolist() == [[1, 1], [1, 0]]
    figures = made.figures()
    assert figures["grade_accuracy"].value == pytest.approx(1 / 3)
    assert figures["discount_too_high_percent"].value == pytest.approx(50 / 3)
    assert figures["discount_too_low_percent"].value == pytest.approx(50 / 3)
    without = tally(tmp_path, maps, masks, threshold=None, scale=Scale(0.5, table))
    assert without.rows()[0]["area_percent"] is None and without.rows()[0]["true_grade"] == "none"  # 4 of 64
    assert not without.grade_confusion().any()


def test_a_method_without_a_map_has_no_figures(tmp_path: Path) -> None:
    made = Tally(TWO, pixel_threshold=0.5, images=[], preprocess=preprocess())
    batch: Batch = {"image": torch.zeros(1), "label": torch.zeros(1), "index": torch.tensor([0])}
    made(batch, Prediction(torch.zeros(1)))
    assert made.rows() == [] and {figure.value for figure in made.figures().values()} == {None}


def test_rows_stand_in_predictions_csv(tmp_path: Path) -> None:
    maps, masks = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.uint8)
    masks[0, :4] = UNKNOWN
    maps[0, 0, :4] = 1
    made = tally(tmp_path, maps, masks, labels=[1, 0], scale=Scale(2.0))
    columns = Columns(np.arange(2), np.array([1, 0]), np.array([1.0, 0.0]))
    threshold = decide.Threshold(0.5, "fixed", 0.5, 1, 1, 0.0, 0.0, 1.0, 1.0, pixel=0.5)
    tested = Outcome(RunDir(tmp_path), TWO, threshold, columns, list(made.images), {}, tally=made)
    write_predictions(tmp_path / "predictions.csv", tested)
    first, second = csv.DictReader((tmp_path / "predictions.csv").open())
    assert (first["predicted"], first["area_percent"], first["area_mm2"]) == ("defect", "6.25", "16.0")
    assert (first["true_area_percent"], first["iou"], first["regions"]) == ("", "", "")
    assert (second["true_area_percent"], second["regions"], second["regions_found"]) == ("0.0", "0", "0")


def test_kinds_lie_beside_the_padding_like_their_maps(tmp_path: Path) -> None:
    masks, maps = np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.float32)
    masks[0, 2, :4] = 2  # the first row of a 16 x 8 picture
    maps[0, 2, :4] = 1
    pixels = np.where(masks > 0, masks, 1).astype(np.uint8)
    pixels[0, 2, 3] = 1  # a crack where no mask has one
    figures = tally(tmp_path, maps, masks, task=THREE, pixels=pixels, size=(16, 8)).figures()
    assert figures["iou/dent"].value == 0.75 and figures["iou/crack"].method == "does not exist: no mask of this class"


def test_an_image_labelled_good_with_a_defect_in_its_mask_is_none(tmp_path: Path) -> None:
    maps, masks = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.uint8)
    masks[0, 0, :4] = 1
    figures = tally(tmp_path, maps, masks, labels=[0, 0]).figures()
    assert figures["clean_good_images"].n == 1 and figures["iou_per_image"].n == 1
