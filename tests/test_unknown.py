"""Images of no class: tested beside the known ones, told by their uncertainty, shown in the report."""

import csv
import html.parser
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_part import draw_part
from finished_run import finish, finish_group, settings
from PIL import Image
from sklearn.metrics import average_precision_score, roc_auc_score

from zdd import cli, files
from zdd.data import dataset as datasets
from zdd.data.module import DataModule
from zdd.errors import ZddError
from zdd.evaluate import collect, evaluate
from zdd.examine import conclude, examine
from zdd.models.classifier import Classifier
from zdd.predict import predict
from zdd.records import Batch, Prediction
from zdd.report.certainty import title
from zdd.report.pictures import describe
from zdd.report.tested import Tested as Outcome
from zdd.report.words import certainty
from zdd.rundir import Group, RunDir
from zdd.stats import Figure
from zdd.trained import load_trained


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five pictures of stripes and four of noise, in folders of those names."""
    root = tmp_path_factory.mktemp("of no class")
    rng = np.random.default_rng(0)
    for kind, n in (("stripes", 5), ("noise & dots", 4)):
        (root / kind).mkdir()
        for i in range(n):
            pixels = (
                rng.integers(0, 256, (30, 30, 3)) if kind != "stripes" else np.indices((30, 30, 3))[0] * (i + 3) % 256
            )
            Image.fromarray(pixels.astype(np.uint8)).save(root / kind / f"picture {i}.png")
    return root


@pytest.fixture(scope="module")
def run(parts: Path, strange: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run without the class `dent mark`, tested on it and on strange pictures."""
    made = RunDir(tmp_path_factory.mktemp("runs") / "small" / "20261121-010000" / "run_0")
    dataset = {"name": "folder", "root": str(parts), "held_out": "dent mark", "ood": str(strange)}
    finish(made, settings(parts, dataset=dataset))
    examine(made.path, device="cpu")
    return made


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def figures(run: RunDir) -> dict[str, float]:
    return {name: figure["value"] for name, figure in files.read_json(run.metrics)["test"].items()}


def test_every_unknown_image_is_a_row_of_its_own_file(run: RunDir, strange: Path) -> None:
    rows = read(run.unknown)
    kinds = [row["label"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == {"dent mark": 28, "stripes": 5, "noise & dots": 4}
    assert {row["image"] for row in rows if row["label"] == "stripes"} == {
        str(p) for p in (strange / "stripes").iterdir()
    }
    assert {row["predicted"] for row in rows} <= {"good", "crack"}
    known = read(run.predictions)
    assert len(known) == 24 and {row["label"] for row in known} == {"good", "crack"}  # the unknown are not among them
    assert list(known[0]) == list(rows[0])


@pytest.mark.parametrize("score", ["uncertainty", "energy"])
@pytest.mark.parametrize("kind", ["", "/dent mark", "/stripes", "/noise & dots"])
def test_figures_are_those_of_the_rows(run: RunDir, score: str, kind: str) -> None:
    known = np.array([float(row[score]) for row in read(run.predictions)])
    of = [row for row in read(run.unknown) if not kind or row["label"] == kind[1:]]
    unknown = np.array([float(row[score]) for row in of])
    truth, both = np.repeat([0, 1], [len(known), len(unknown)]), np.concatenate([known, unknown])
    found = figures(run)
    assert found[f"ood_auroc/{score}{kind}"] == pytest.approx(roc_auc_score(truth, both))
    # 23 of 24 are the first that are 95 %.
    assert found[f"ood_fpr95/{score}{kind}"] == pytest.approx((unknown <= np.sort(known)[22]).mean())
    if not kind:
        assert found[f"ood_aupr/{score}"] == pytest.approx(average_precision_score(truth, both))
    assert (f"ood_aupr/{score}{kind}" in found) == (not kind)  # of a kind it depends on how many there are


def test_mistakes_are_those_of_the_verdict(run: RunDir) -> None:
    rows = sorted(read(run.predictions), key=lambda row: float(row["uncertainty"]))
    assert len({row["uncertainty"] for row in rows}) == 24  # no tie here
    for name, column in (("aurc", "predicted"), ("argmax_aurc", "argmax")):
        wrong = np.array([row["label"] != row[column] for row in rows])
        assert figures(run)[name] == pytest.approx((np.cumsum(wrong) / np.arange(1, 25)).mean())
    wrong = np.array([row["label"] != row["predicted"] for row in rows])
    assert figures(run)["accuracy_at_80"] == pytest.approx(1 - wrong[:20].mean())  # 19.2 images: 20


def test_uncertainty_is_that_of_the_most_probable_class(run: RunDir) -> None:
    for row in [*read(run.predictions), *read(run.unknown)]:
        p = [float(row[f"probability/{name}"]) for name in ("good", "crack")]
        assert float(row["uncertainty"]) == pytest.approx(1 - max(p), abs=1e-6)


def test_two_classes_have_no_entropy_of_their_own(run: RunDir, parts: Path, strange: Path, tmp_path: Path) -> None:
    assert not any("entropy" in name for name in figures(run))
    three = RunDir(tmp_path / "run_0")
    finish(three, settings(parts))
    examine(three.path, ood=str(strange))
    rows = [*read(three.predictions), *read(three.unknown)]
    p = np.array([[float(v) for k, v in row.items() if k.startswith("probability/")] for row in rows])
    truth = np.repeat([0, 1], [31, 9])
    assert p.shape == (40, 3)
    assert figures(three)["ood_auroc/entropy"] == pytest.approx(roc_auc_score(truth, -(p * np.log(p)).sum(axis=1)))


def test_the_report_says_how_sure_it_is(run: RunDir) -> None:
    page, report = run.report.read_text(), files.read_json(run.report_json)
    section = page.split("<h2>How sure is it?</h2>")[1].split("<h2>")[0]
    html.parser.HTMLParser().feed(page)
    assert "noise &amp; dots" in section and "noise & dots" not in section
    assert report["certainty"]["kinds"] == {"dent mark": 28, "noise & dots": 4, "stripes": 5}
    assert report["certainty"]["n_known"] == 24 and report["certainty"]["n_unknown"] == 37
    shown = report["certainty"]["most_certain"]
    sure = sorted(float(row["uncertainty"]) for row in read(run.unknown))
    assert [one["uncertainty"] for one in shown] == sure[:12]
    assert section.count("<figure class") == 12
    assert f"certainty {certainty(sure[0])}" in section
    for chart in ("Fewer mistakes", "Uncertainty of known", "Energy of known"):
        assert chart in section
    fpr95 = figures(run)["ood_fpr95/uncertainty"]
    assert f"Of 37 images of nothing that it was trained on, {100 * fpr95:.1f} % pass for known" in section
    assert f"guessing has {37 / 61:.4f}" in section


def test_another_folder_by_hand_takes_the_place_of_the_folder_alone(run: RunDir, parts: Path, tmp_path: Path) -> None:
    again = RunDir(shutil.copytree(run.path, tmp_path / "run_0"))
    other = tmp_path / "other"
    other.mkdir()
    for seed in range(3):
        draw_part("crack", 900 + seed).save(other / f"{seed}.png")
    examine(again.path, ood=str(other))
    kinds = [row["label"] for row in read(again.unknown)]
    assert kinds == ["dent mark"] * 28 + ["other"] * 3
    same = [name for name in figures(run) if not name.startswith("ood_")]
    assert {name: figures(again)[name] for name in same} == {name: figures(run)[name] for name in same}
    assert figures(again)["ood_auroc/energy/dent mark"] == figures(run)["ood_auroc/energy/dent mark"]


def test_without_unknown_images_there_is_no_such_figure(parts: Path, strange: Path, tmp_path: Path) -> None:
    alone = RunDir(tmp_path / "run_0")
    finish(alone, settings(parts))
    examine(alone.path, ood=str(strange))
    assert alone.unknown.is_file()
    examine(alone.path)
    assert not alone.unknown.exists()  # what an earlier test found does not stay
    found = figures(alone)
    assert not any(name.startswith("ood_") for name in found)
    assert found["aurc"] is not None
    page = alone.report.read_text()
    assert "No image of no class was tested" in page and "Fewer mistakes for fewer verdicts" in page
    assert "Energy of known" not in page


def test_a_method_that_says_nothing_of_its_certainty(
    run: RunDir, strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = RunDir(shutil.copytree(run.path, tmp_path / "run_0"))
    decode = Classifier.decode
    silent = {"uncertainty": None, "energy": None}
    monkeypatch.setattr(Classifier, "decode", lambda *of: replace(decode(*of), **silent))
    examine(again.path)
    assert not any(name.startswith(("ood_", "aurc")) for name in figures(again))
    assert len(read(again.unknown)) == 37 and "uncertainty" not in read(again.unknown)[0]
    assert "This method does not say how sure it is. 37 images of no class" in again.report.read_text()
    finish(RunDir(tmp_path / "run_1"), settings(Path(json.loads(again.config.read_text())["dataset"]["root"])))
    examine(tmp_path / "run_1")
    assert "How sure is it?" not in (tmp_path / "run_1" / "report.html").read_text()


def test_a_group_has_the_mean_over_its_runs(parts: Path, strange: Path, tmp_path: Path) -> None:
    group = finish_group(tmp_path / "small" / "start", settings(parts))
    result = examine(group.path, ood=str(strange))
    each = [figures(one)["ood_auroc/uncertainty"] for one in group.runs]
    assert result["mean"]["ood_auroc/uncertainty"] == pytest.approx(np.mean(each))
    page = Group(group.path).report.read_text()
    assert "Unknown against known by uncertainty, AUROC" in page
    assert "stripes" not in page  # single kinds are in the summary
    assert "ood_auroc/uncertainty/stripes" in group.summary_text.read_text()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda folder: None, "--ood = '{}': there is no such folder or file"),
        (lambda folder: folder.mkdir(), "--ood = '{}': there is no image in"),
        (lambda folder: (folder.mkdir(), (folder / "bad.png").write_bytes(b"no")), "--ood = '{}': 1 of its 1 images"),
    ],
)
def test_a_folder_that_does_not_serve_is_refused(run: RunDir, tmp_path: Path, make: object, line: str) -> None:
    folder = tmp_path / "folder"
    make(folder)  # type: ignore[operator]
    before = run.looks.read_text()
    with pytest.raises(ZddError) as caught:
        examine(run.path, ood=str(folder))
    assert caught.value.lines[0].replace('"', "'").startswith(line.format(folder))
    assert run.looks.read_text() == before


def test_changed_unknown_images_are_named(run: RunDir, strange: Path, parts: Path, tmp_path: Path) -> None:
    own = shutil.copytree(strange, tmp_path / "own")
    made = RunDir(tmp_path / "run_0")
    finish(made, settings(parts, dataset={"name": "folder", "root": str(parts), "ood": str(own)}))
    (own / "stripes" / "picture 2.png").unlink()
    with pytest.raises(ZddError, match=r"picture 2\.png"):
        examine(made.path)


def test_the_command_line_prints_the_figures(run: RunDir, strange: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main("test", [str(run.path), "--ood", str(strange), "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert "ood_fpr95/energy" in json.loads(out)["runs"]["run_0"]
    assert "ood_auroc/uncertainty " in err and "aurc" in err
    assert "ood_auroc/uncertainty/" not in err and "recall/" not in err  # single kinds and classes are in the files


@pytest.mark.parametrize(
    ("uncertainty", "text"),
    [(0.0704, "0.930"), (0.0, "1.000"), (0.0004, "0.999"), (1.0, "0.000"), (0.07, "0.930"), (0.5, "0.500")],
)
def test_certainty_is_never_rounded_up_to_1(uncertainty: float, text: str) -> None:
    assert certainty(uncertainty) == text


def test_annotated_pictures_say_how_certain_the_model_was(run: RunDir) -> None:
    rows = [row for row in read(run.predictions) if row["label"] != row["predicted"]]
    assert rows
    trained = load_trained(run)
    records = datasets.load(run.data).split("test")
    loader = DataModule(datasets.load(run.data), trained.preprocess, trained.config).loader("test")
    columns = evaluate(trained.model.net, trained.model.decode, loader)
    tested = Outcome(run, trained.task, trained.threshold, columns, records, {})
    for i in tested.mistakes:
        row = next(row for row in rows if row["image"] == records[i].path)
        assert describe(tested, i)[-1] == f"certainty {certainty(float(row['uncertainty']))}"
    silent = replace(tested, columns=replace(columns, uncertainty=None))
    assert "certainty" not in " ".join(describe(silent, tested.mistakes[0]))


def test_figures_that_a_test_brings_along_stand_beside(run: RunDir, tmp_path: Path) -> None:
    again = RunDir(shutil.copytree(run.path, tmp_path / "run_0"))
    trained, dataset = load_trained(run), datasets.load(run.data)
    data = DataModule(dataset, trained.preprocess, trained.config)
    columns = evaluate(trained.model.net, trained.model.decode, data.loader("test"))
    brought = {"pixel_iou": Figure(0.25, 0.2, 0.3, "by hand", 24)}
    tested = Outcome(again, trained.task, trained.threshold, columns, dataset.split("test"), brought)
    assert conclude(tested, seed=0).figures["pixel_iou"].value == 0.25
    assert figures(again)["pixel_iou"] == 0.25 and figures(again)["accuracy"] == figures(run)["accuracy"]
    short = replace(columns, index=columns.index[:-1], label=columns.label[:-1], score=columns.score[:-1])
    with pytest.raises(RuntimeError, match="23 of 24 images were judged"):
        conclude(replace(tested, columns=short), seed=0)


def test_predicting_says_it_too(run: RunDir, tmp_path: Path) -> None:
    known = read(run.predictions)
    predict(run.path, [Path(row["image"]) for row in known], out=tmp_path / "said.csv", device="cpu")
    predict(run.path, [Path(row["image"]) for row in known], out=tmp_path / "said.jsonl", device="cpu")
    lines = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    for row, said, line in zip(known, read(tmp_path / "said.csv"), lines, strict=True):
        assert float(said["uncertainty"]) == pytest.approx(float(row["uncertainty"]), abs=1e-6)
        assert line["uncertainty"] == float(said["uncertainty"]) and said["error"] == ""


def test_a_bad_image_has_no_certainty(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    predict(run.path, [tmp_path / "bad.png"], out=tmp_path / "said.csv", device="cpu")
    (row,) = read(tmp_path / "said.csv")
    assert row["uncertainty"] == "" and "not an image" in row["error"]


@pytest.mark.parametrize("name", ["uncertainty", "energy"])
def test_what_is_no_number_is_refused(name: str) -> None:
    nothing = torch.zeros(2)
    batch: Batch = {"image": torch.zeros(2, 3, 8, 8), "label": nothing.long(), "index": torch.arange(2)}
    said = Prediction(score=nothing, **{name: torch.tensor([0.5, float("nan")])})
    with pytest.raises(ZddError, match=rf"{name} is not a finite number for 1 images \(index 1\)"):
        collect([(batch, said)])


def test_titles_of_figures() -> None:
    assert title("ood_aupr/energy") == "Unknown against known by energy, AUPR"
    assert title("ood_auroc/energy/stripes") is None and title("accuracy") is None and title("recall/energy") is None
