"""The report says what the figures say, holds everything it shows, and takes no text for HTML."""

import csv
import html.parser
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from zdd import decide, files, metrics
from zdd.records import Columns, Record, Task
from zdd.report import curves, page_of_group, page_of_run, pictures, style, words
from zdd.report.summarise import summarise
from zdd.report.tested import Tested as Outcome
from zdd.report.tested import write_predictions
from zdd.rundir import Group, RunDir
from zdd.settings import ThresholdSettings
from zdd.stats import Figure

EVIL = '<script>alert("x")</script> & sons'


def make(
    path: Path,
    label: list[int],
    score: list[float],
    *,
    groups: list[str] | None = None,
    looks: int = 1,
    at: float = 0.5,
) -> Outcome:
    """A tested run of a two-class task with images that exist."""
    path.mkdir(parents=True)
    n, truth, s = len(label), np.array(label), np.array(score)
    names = [path / f"part {i}.png" for i in range(n)]
    for i, name in enumerate(names):
        Image.new("L", (30, 20 + i), 100).save(name)
    task = Task(("good", EVIL), True, (32, 32))
    columns = Columns(np.arange(n), truth, s, (s > 0.5).astype(int), np.stack([1 - s, s], axis=1))
    fixed = ThresholdSettings(rule="fixed", target=at)
    threshold = decide.choose(s, truth > 0, fixed)
    run = RunDir(path)
    figures = metrics.figures(columns, task, at, parts=groups)
    files.write_json(run.metrics, {"val": {k: f.as_dict() for k, f in figures.items()}, "training": {"epochs": 2}})
    files.write_json(run.audit, {"counts": {"test": {"good": 3, EVIL: 3}}, "n_pairs": 0, "root": EVIL})
    files.write_json(run.config, {"seed": 3, "about": EVIL})
    records = [Record(str(name), k, g) for name, k, g in zip(names, label, groups or [""] * n, strict=True)]
    return Outcome(run, task, threshold, columns, records, figures, looks)


@pytest.fixture
def tested(tmp_path: Path) -> Outcome:
    """Six images: a missed defect at 0.3, a false alarm at 0.9."""
    return make(tmp_path / "exp" / "start" / "run_0", [0, 0, 0, 1, 1, 1], [0.1, 0.9, 0.2, 0.3, 0.8, 0.5])


class Strict(html.parser.HTMLParser):
    """Every tag is closed, and nothing is fetched from elsewhere."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "src":
                assert (value or "").startswith("data:")
            assert not name.startswith("on")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


def parse(page: str) -> Strict:
    parser = Strict()
    parser.feed(page)
    assert parser.open == []
    return parser


def test_the_page_is_whole_and_safe(tested: Outcome) -> None:
    page_of_run.write(tested)
    page = tested.run.report.read_text()
    parsed = parse(page)
    assert "script" not in parsed.tags and "link" not in parsed.tags
    assert "http:" not in page and "https:" not in page and "@import" not in page
    assert EVIL not in page and "&lt;script&gt;" in page
    assert parsed.tags.count("figure") == 2 + 6  # two mistakes; four curves, confusions, reliability
    for part in ("Figures", "Curves", "Mistakes", "Data", "How to reproduce"):
        assert f"<h2>{part}</h2>" in page


def test_the_verdict_in_words(tested: Outcome) -> None:
    assert words.headline(tested) == "Catches 66.7 % of the defects and stops 33.3 % of the good parts."
    said = words.sentences(tested)
    assert said[0].startswith("2 of 3 defective test images were caught: 66.7 %, 95 % interval 20.8 % to 93.9 %.")
    assert said[1].startswith("1 of 3 good test images were stopped by mistake: 33.3 %")
    # 1 of 3: (1-p)^3 + 3p(1-p)^2 = 0.05 at p = 0.8646
    assert "at most 86.5 % of such defects escape" in said[2]
    assert "299 for at most 1.0 % and 2,995 for at most 0.1 %" in said[3]
    assert said[4].startswith("A part is stopped when its score reaches 0.5.") and "by hand" in said[4]


def test_cautions(tmp_path: Path) -> None:
    one = make(tmp_path / "a", [0, 1] * 12, [0.1, 0.9] * 12)
    assert words.cautions(one, 0) == []
    many = make(tmp_path / "b", [0, 1, 1], [0.1, 0.9, 0.8], groups=["", "p", "p"], looks=3)
    said = " ".join(words.cautions(many, 2))
    for part in ("2 pairs", "looked at 3 times", "Fewer than 10", "count parts"):
        assert part in said
    assert (words.missed(many).n, words.missed(many).unit) == (1, "parts")


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.98765, "98.8 %"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.9996, "99.96 %"),  # not 100.0 %
        (0.0002, "0.02 %"),  # not 0.0 %
        (None, "not known"),
    ],
)
def test_percent_never_rounds_to_certainty(share: float | None, text: str) -> None:
    assert words.percent(share) == text


def test_report_json_holds_what_the_page_says(tested: Outcome) -> None:
    page_of_run.write(tested)
    report = files.read_json(tested.run.report_json)
    assert report["confusion"] == [[2, 1], [1, 2]]
    assert report["claims"]["missed"] == {
        "events": 1,
        "n": 3,
        "unit": "images",
        "at_most": pytest.approx(0.8646, abs=1e-4),
    }
    assert report["claims"]["needed_with_none"] == {"0.01": 299, "0.001": 2995}
    assert [(m["kind"], m["confidence"]) for m in report["mistakes"]] == [("false alarm", 0.9), ("missed defect", 0.7)]
    assert (tested.run.path / report["mistakes"][0]["picture"]).is_file()


def test_pictures_of_an_earlier_test_do_not_stay(tested: Outcome) -> None:
    tested.run.mistakes.mkdir()
    (tested.run.mistakes / "0001_old.png").touch()
    found = pictures.write_mistakes(tested.run.mistakes, tested)
    assert sorted(tested.run.mistakes.iterdir()) == sorted(found.values())
    assert list(found) == [1, 3]  # the false alarm is surer


def test_annotations_say_what_went_wrong(tested: Outcome) -> None:
    assert pictures.describe(tested, 3) == [
        "missed defect",
        f"true: {EVIL}   predicted: good (probability 0.700, of the true class 0.300)",
        "score 0.3, below the threshold 0.5",
    ]
    picture = pictures.annotate(tested, 1)
    # 30 x 21 pixels are shown 640 wide and 448 high, below a bar of three lines.
    assert picture.size == (640, 448 + 2 * 12 + 3 * 26)
    assert picture.getpixel((2, 2)) == (0x1B, 0x5E, 0x94)
    assert picture.getpixel((320, 400)) == (100, 100, 100)
    bar = np.asarray(picture.crop((0, 0, 640, 100)))
    assert (bar == 255).all(axis=2).sum() > 300  # white letters


def test_sixteen_bits_and_turned_pictures_are_shown_as_they_are(tmp_path: Path) -> None:
    Image.fromarray(np.full((20, 30), 128 * 257, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert pictures.upright(str(tmp_path / "deep.png")).getpixel((5, 5)) == (128, 128, 128)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (30, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert pictures.upright(str(tmp_path / "turned.jpg")).size == (20, 30)


def test_the_gallery_is_capped_and_counted(tmp_path: Path) -> None:
    many = make(tmp_path / "run", [0] * 30 + [1] * 3, [0.9] * 30 + [0.8] * 3)
    page_of_run.write(many)
    page = many.run.report.read_text()
    assert "30 of 33 test images were judged wrongly. The 24 most confident are shown" in page
    assert page.count('<figure class="false">') == 24
    assert len(list(many.run.mistakes.iterdir())) == 30


def test_no_mistake_and_no_defect(tmp_path: Path) -> None:
    fine = make(tmp_path / "fine", [0, 1] * 3, [0.1, 0.9] * 3)
    page_of_run.write(fine)
    page = fine.run.report.read_text()
    assert "None of the 6 test images was judged wrongly." in page
    assert "no mistake to resample" in page
    only_good = make(tmp_path / "only", [0] * 5, [0.1, 0.2, 0.3, 0.2, 0.6])
    page_of_run.write(only_good)
    page = only_good.run.report.read_text()
    parse(page)
    assert "no defective images in the test split" in page and "(ROC)" not in page
    assert "There is no such figure here" in page


def test_predictions_keep_every_digit_and_awkward_names(tested: Outcome) -> None:
    write_predictions(tested.run.predictions, tested)
    with tested.run.predictions.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["score"]) for row in rows] == tested.columns.score.tolist()
    assert rows[3]["label"] == EVIL and rows[3]["predicted"] == "good"


def test_charts_show_the_threshold_and_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    label = (np.arange(20000) % 2).astype(int)
    score = np.clip(rng.normal(0.3 + 0.4 * label, 0.15), 0, 1)
    columns = Columns(np.arange(20000), label, score, label, np.stack([1 - score, score], axis=1))
    fixed = decide.choose(score, label > 0, ThresholdSettings(rule="fixed", target=0.4))
    big = Outcome(RunDir(tmp_path), Task(("good", "bad"), True, (8, 8)), fixed, columns, [], {})
    drawn = curves.charts(big)
    assert set(drawn) == {"confusion", "reliability", "scores", "shares", "roc", "pr"}
    assert all(svg.lstrip().startswith("<?xml") and len(svg) < 700_000 for svg in drawn.values())
    assert drawn == curves.charts(big)  # the same every time


def test_training_curves_without_some_columns() -> None:
    rows = [{"epoch": 1.0, "train/loss": 1.0, "best": 0.0}, {"epoch": 2.0, "train/loss": 0.5, "best": 1.0}]
    assert set(curves.training(rows)) == {"loss"}


def test_the_bar_of_a_figure() -> None:
    assert style.bar(None, None, None) == ""
    assert "rect" not in style.bar(0.5, None, None)
    assert 'x="74.0"' in style.bar(0.5, 0.5, 0.6) and 'width="16.4"' in style.bar(0.5, 0.5, 0.6)  # 144 px from 0 to 1


def fake_group(path: Path, values: list[dict[str, Any]]) -> Group:
    group = Group(path)
    for i, value in enumerate(values):
        run = group.run(i)
        files.write_json(run.metrics, value)
        run.finish()
    return group


def test_summary_by_hand(tmp_path: Path) -> None:
    figure = [Figure(v, 0, 1, "Wilson", 10).as_dict() for v in (0.8, 0.9, 1.0)]
    gone = Figure.missing("no images of this class").as_dict()
    values = [
        {"val": {"accuracy": figure[i], "recall/a": gone if i else figure[0]}, "training": {"epochs": 10 + i}}
        for i in range(3)
    ]
    group = fake_group(tmp_path / "exp" / "start", values)
    summary = summarise(group)
    # mean 0.9, deviation 0.1, t(2) = 4.3027: 0.9 -+ 0.2484, and a share is at most 1
    row = summary["val"]["accuracy"]
    assert (row["n"], row["mean"], row["sd"], row["low"]) == pytest.approx((3, 0.9, 0.1, 0.6516), abs=1e-4)
    assert row["high"] == 1.0 and row["values"] == [0.8, 0.9, 1.0]
    assert summary["val"]["recall/a"] == {
        "n": 1, "mean": 0.8, "sd": None, "low": None, "high": None, "values": [0.8, None, None],
    }  # fmt: skip
    assert summary["training"]["epochs"]["mean"] == 11 and summary["test"] == {}
    assert json.loads(group.summary.read_text()) == summary
    text = group.summary_text.read_text()
    assert "| accuracy | 3 | 0.9 | 0.1 | 0.6516 to 1 | 0.8 | 0.9 | 1 |" in text
    assert "| recall/a | 1 | 0.8 |  | one run, no interval | 0.8 |  |  |" in text


def test_figures_that_are_no_shares_may_be_larger_than_one(tmp_path: Path) -> None:
    names = ("area_error_percent", "false_regions_per_good_image", "iou")
    values = [{"test": {name: Figure(v, 0, 1, "", 9).as_dict() for name in names}} for v in (2.0, 3.0, 1.0)]
    found = summarise(fake_group(tmp_path, values))["test"]
    # mean 2, deviation 1: 2 -+ 2.4841
    assert (found["area_error_percent"]["low"], found["area_error_percent"]["high"]) == pytest.approx((0, 4.48414))
    assert found["false_regions_per_good_image"]["high"] == pytest.approx(4.48414) and found["iou"]["high"] == 1.0


def test_only_finished_runs_count(tmp_path: Path) -> None:
    figure = Figure(0.8, 0, 1, "Wilson", 10).as_dict()
    group = fake_group(tmp_path, [{"val": {"accuracy": figure}}] * 11)
    (group.run(2).path / "DONE").unlink()
    summary = summarise(group)
    assert summary["n_runs"] == 10 and summary["runs"][-1] == "run_10"  # in the order of numbers, not of letters


def finish(tested: Outcome) -> None:
    """As after a test: its figures, which are those of validation here, and its page."""
    stored = files.read_json(tested.run.metrics)
    files.write_json(tested.run.metrics, stored | {"test": stored["val"]})
    page_of_run.write(tested)
    tested.run.finish()


def page_of(group: Group) -> str:
    page_of_group.write(group, summarise(group))
    return group.report.read_text()


def test_the_groups_page_names_images_that_several_runs_get_wrong(tmp_path: Path) -> None:
    for i in range(3):
        label, score = [0, 0, 0, 1, 1, 1], [0.1, 0.9, 0.2, 0.3 if i < 2 else 0.7, 0.8, 0.5]
        tested = make(tmp_path / "exp" / "start" / f"run_{i}", label, score)
        shared = [Record(str(tmp_path / "exp/start/run_0" / Path(r.path).name), r.label) for r in tested.records]
        same = Outcome(tested.run, tested.task, tested.threshold, tested.columns, shared, tested.figures)
        finish(same)
    page = page_of(Group(tmp_path / "exp" / "start"))
    parse(page)
    assert "wrong in 3 of 3 runs" in page and "wrong in 2 of 3 runs" in page
    assert EVIL not in page and "On average over 3 runs: 77.8 % of the defects caught" in page  # 2/3, 2/3 and 1


def test_the_page_of_a_single_run_speaks_of_one(tmp_path: Path) -> None:
    tested = make(tmp_path / "exp" / "start" / "run_0", [0, 0, 1, 1], [0.1, 0.2, 0.3, 0.8])
    finish(tested)
    page = page_of(Group(tmp_path / "exp" / "start"))
    assert "over one run" in page and "One run: 50.0 % of the defects caught" in page and "1 runs" not in page
