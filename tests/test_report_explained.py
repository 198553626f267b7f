"""The report's section "Where does it look?": what is not to be believed is said large, and nothing is made up."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_report import EVIL, make, parse

from zdd import files
from zdd.report import explained, explained_scores, page_of_group, page_of_run, style
from zdd.report.summarise import summarise
from zdd.report.tested import Tested as Outcome
from zdd.rundir import Group, RunDir
from zdd.stats import Figure
from zdd.training.final import write_explained

FLAG = "in pictures of 'crack', 41% of the attribution lies in one place (top left)"
SAID = "In pictures of &#x27;crack&#x27;, 41% of the attribution lies in one place (top left)."
MISS = "deeplift: unreliable for this network: its values miss the score by 34 %"


def figure(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return Figure(value, low, high, "bootstrap", 9).as_dict()


def write_variant(run: Path, name: str, **about: Any) -> None:
    """Three images, one of them judged wrongly; `message` for one without pictures."""
    folder = run / "explain" / name
    folder.mkdir(parents=True)
    told = {"variant": name, "options": {}, "signed": False, "n": 3, "scale": 0.5, "error_median": None}
    told |= {"unreliable": False, "message": None} | about
    files.write_json(folder / "about.json", told)
    rows: list[dict[str, Any]] = []
    if told["message"] is None:
        Image.new("RGB", (300, 500), (9, 99, 9)).save(folder / "sheet.png")
        rows = [{"image": f"{i} {EVIL}.png", "true": "crack", "predicted": "crack" if i else "good"} for i in range(3)]
    (folder / "explained.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_scores(run: Path, **changes: Any) -> None:
    """Grad-CAM is better than the gradient, and guided backpropagation does not care for the weights."""
    named = {
        "saliency": {"pointing_game": figure(0.25, 0.2, 0.3), "deletion": figure(0.5), "iou/small": figure(0.1)},
        "grad_cam": {"pointing_game": figure(0.75, 0.7, 0.8), "deletion": figure(0.25), "max_sensitivity": figure(4.0)},
        "guided_backpropagation": {"pointing_game": figure(None), "novel_figure": figure(0.5)},
    }
    scores = {
        "variants": named,
        "ranking": [{"variant": name, "rank": k, "mean_rank": k + 0.25} for k, name in enumerate(ORDER, start=1)],
        "best": "grad_cam",
        "reason": "its mean rank is best & it is sane.",
        "sanity": {
            "grad_cam": {"correlations": [0.9, 0.1], "depends": True},
            "guided_backpropagation": {"correlations": [0.99, 0.97], "depends": False},
        },
        "shortcut": SHORTCUT,
        "agreement": {"grad_cam": {"spearman": figure(0.6, 0.5, 0.7), "top_iou": figure(0.3)}},
        "n": 9,
        "masks": 5,
    }
    files.write_json(run / "explain" / "scores.json", scores | changes)


SHORTCUT = {
    "variant": "grad_cam",
    "border": {"share": 0.31, "area": 0.19, "n": 9, "flag": False},
    "background": {"share": None, "area": None, "n": 0, "flag": False},
    "places": [{"name": "crack", "box": [0, 0, 0.125, 0.25], "share": 0.41, "area": 0.03125, "elsewhere": 0.02}],
    "flags": [FLAG],
}
ORDER = ("grad_cam", "guided_backpropagation", "saliency")


def explain(run: Path, **changes: Any) -> None:
    """All that `zdd explain --score` leaves in a run."""
    write_variant(run, "saliency")
    write_variant(run, "grad_cam")
    write_variant(run, "guided_backpropagation", signed=True)
    write_variant(run, "deeplift", signed=True, error_median=0.34, unreliable=True, message=MISS)
    write_variant(run, "attention_rollout", message="attention_rollout: no attention here; take grad_cam")
    write_scores(run, **changes)


def new_run(tmp_path: Path, number: int = 0) -> Outcome:
    path = tmp_path / "exp" / "start" / f"run_{number}"
    return make(path, [0, 0, 0, 1, 1, 1], [0.1, 0.9, 0.2, 0.3, 0.8, 0.5])


def page(run: RunDir) -> str:
    text = run.report.read_text()
    assert EVIL not in text
    parse(text)
    return text


def test_a_run_without_explanations_has_no_such_section(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    page_of_run.write(tested)
    assert "Where does it look?" not in page(tested.run)
    assert files.read_json(tested.run.report_json)["explained"] is None
    (tested.run.path / "explain" / "scored" / "test").mkdir(parents=True)  # what was begun, but not finished
    assert explained.gather(tested.run) is None


def test_the_page_says_which_to_take_and_which_not_to_believe(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    explain(tested.run.path)
    page_of_run.write(tested)
    text = page(tested.run)
    assert text.count("<h2>Where does it look?</h2>") == 1
    assert "3 explainers marked in 3 images" in text
    assert "take grad_cam: its mean rank is best &amp; it is sane." in text
    assert "<b>deeplift: unreliable for this network</b>" in text and "by 34.0 % (median)" in text
    assert "<b>guided_backpropagation: does not depend on the weights</b>" in text
    assert (
        "<li>attention_rollout: no attention here; take grad_cam</li>" in text
    )  # no fault of the network: said softly
    assert text.count('class="doubt"') == 3  # these two, and that it looks beside the defect
    assert text.index("grad_cam</td>") < text.index("saliency</td>") < text.index("deeplift</td>")


def test_a_shortcut_is_said_at_the_top_too(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    explain(tested.run.path)
    page_of_run.write(tested)
    text, flag = page(tested.run), SAID
    assert text.index(flag) < text.index("<h2>Figures</h2>") and text.count(flag) == 2
    assert "<b>It may look beside the defect</b>" in text
    assert "0 to 12 % across, 0 to 25 % down, in images of crack" in text and "41.0 %" in text
    assert "2.0 % in the others" in text and "none could be told from the part" in text
    write_scores(tested.run.path, shortcut=SHORTCUT | {"places": [], "flags": []})
    page_of_run.refresh(tested.run)
    assert "No sign of it was found. Measured by grad_cam." in page(tested.run)
    assert flag not in page(tested.run) and "It may look beside the defect" not in page(tested.run)


def test_pictures_the_best_first_the_others_folded(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    explain(tested.run.path)
    Image.new("RGB", (900, 90)).save(tested.run.path / "explain" / "beside.png")
    page_of_run.write(tested)
    text = page(tested.run)
    assert text.count('<figure class="sheet">') == 4  # beside each other, and three explainers; none of the two others
    assert "The same images by each explainer" in text
    first, saliency, last = (
        text.index(mark)
        for mark in ("<h3>grad_cam</h3>", "<summary>saliency</summary>", "<summary>guided_backpropagation <span")
    )
    assert first < saliency < last  # what must not be believed comes last, though it has a better rank
    assert "3 images, 1 of them judged wrongly; the brighter, the more it matters, all on one scale." in text


def test_explained_after_the_test(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    page_of_run.write(tested)
    before = page(tested.run)
    explain(tested.run.path)
    page_of_run.refresh(tested.run)
    after = page(tested.run)
    assert "Where does it look?" in after and "Where does it look?" not in before
    page_of_run.write(tested)
    written = page(tested.run)
    start = after.index("<h2>Figures")  # the time of the test stands above
    assert after[start:] == written[written.index("<h2>Figures") :]
    assert files.read_json(tested.run.report_json)["explained"]["scores"]["best"] == "grad_cam"
    page_of_run.refresh(tested.run)
    assert page(tested.run)[start:] == after[start:]


def test_there_is_nothing_to_refresh_before_a_test(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run_0")
    explain(run.path)
    page_of_run.refresh(run)
    assert not run.report.exists() and not run.report_json.exists()


def test_pictures_without_numbers_say_so(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    write_variant(tested.run.path, "integrated_gradients", signed=True, error_median=0.0123)
    page_of_run.write(tested)
    text = page(tested.run)
    assert "1 explainer marked in 3 images" in text and "explain with --score" in text
    assert "Which explainer to believe" not in text and 'class="doubt"' not in text
    assert "red speaks for it, blue against it" in text and "Completeness error 1.2 % (median)." in text


def test_none_can_be_recommended(tmp_path: Path) -> None:
    tested = new_run(tmp_path)
    explain(tested.run.path, best=None, reason="no figure exists.", shortcut=None, agreement=None, sanity={})
    page_of_run.write(tested)
    text = page(tested.run)
    assert "No explainer can be recommended here: no figure exists." in text and "take this one" not in text
    assert "Agreement between seeds" not in text


def test_figures_by_hand(tmp_path: Path) -> None:
    explain(tmp_path)
    scores = files.read_json(tmp_path / "explain" / "scores.json")
    html = explained_scores.tables(scores["variants"], ORDER, 5)
    parse(html)
    against, rest = html.split("<h3>Against what the network does</h3>")
    assert "of 5 images" in against and "<b>0.750</b>" in against and "<b>0.250</b>" not in against
    assert "<b>0.250</b>" in rest and "<b>0.500</b>" not in rest  # of deletion the lower is better
    assert "0.700 to 0.800" in against and "no interval" in rest
    # 3 + 112 ... the bar goes to 4, the largest: 4 of 4 is its end, 3 + 144
    assert "4.000" in rest and 'd="M147.0 0V16"' in rest
    assert "Novel figure" in rest  # one that this page does not know is shown nevertheless
    assert "By size of the defects" in rest and "IoU, small defects" in rest


def test_ranks_weights_and_verdicts(tmp_path: Path) -> None:
    explain(tmp_path)
    found = explained.gather(RunDir(tmp_path))
    assert found is not None
    rows = explained_scores.ranking(found["scores"], found["variants"]).split("<tr>")[2:]
    assert [row.split("</td>")[0].removeprefix("<td>") for row in rows] == [*ORDER, "attention_rollout", "deeplift"]
    assert "take this one" in rows[0] and "yes (0.10)" in rows[0] and "1.25" in rows[0] and "<polyline" in rows[0]
    assert "no (0.97)" in rows[1] and "does not depend on the weights" in rows[1]
    assert "stamp" not in rows[2] and "polyline" not in rows[2]  # saliency: not tested for it
    assert "not for this network" in rows[3]
    assert "34.0 %" in rows[4] and "unreliable for this network" in rows[4]


def test_what_was_scored_and_not_drawn_is_told_too(tmp_path: Path) -> None:
    named = {"saliency": {"deletion": figure(0.5)}}
    sanity = {"saliency": {"correlations": [0.9, 0.8], "depends": False}}
    messages = {"deeplift": MISS, "attention_rollout": "attention_rollout: no attention here; take grad_cam"}
    told = {"variants": named, "ranking": [], "best": None, "sanity": sanity, "messages": messages}
    tested = new_run(tmp_path)
    write_scores(tested.run.path, **told, reason="none depends on what it has learnt")
    page_of_run.write(tested)
    text = page(tested.run)
    assert "No picture was drawn" in text and "No explainer can be recommended here: none depends" in text
    assert "<b>deeplift: unreliable for this network</b>" in text and "miss the score by 34 %" in text
    assert "<li>attention_rollout: no attention here; take grad_cam</li>" in text
    assert "<td>saliency</td>" in text and ">does not depend on the weights</span>" in text


@pytest.mark.parametrize(
    ("name", "called"),
    [("iop", "IoP"), ("iou/large", "IoU, large defects"), ("top_iou", "Overlap of the strongest pixels")],
)
def test_titles(name: str, called: str) -> None:
    assert explained_scores.title(name) == called


def test_a_part_of_a_page_is_put_in_anew() -> None:
    whole = f"a{style.part('x', 'old')}b{style.part('y', 'other')}c"
    assert style.replaced(whole, "x", "<p>new</p>") == f"a{style.part('x', '<p>new</p>')}b{style.part('y', 'other')}c"
    assert style.replaced(whole, "z", "new") == whole and style.replaced("a<!--x-->b", "x", "new") == "a<!--x-->b"


def finished(tmp_path: Path, n: int) -> Group:
    for number in range(n):
        tested = new_run(tmp_path, number)
        explain(tested.run.path, shortcut={"flags": [FLAG] if number == 1 else []})
        page_of_run.write(tested)
        stored = files.read_json(tested.run.metrics)
        files.write_json(tested.run.metrics, stored | {"test": stored["val"]})
        tested.run.finish()
    return Group(tmp_path / "exp" / "start")


def test_the_group_shows_its_runs_side_by_side(tmp_path: Path) -> None:
    group = finished(tmp_path, 3)
    for name in ("grad_cam", "saliency"):
        (group.path / "explain" / name).mkdir(parents=True)
        Image.new("RGB", (500, 100)).save(group.path / "explain" / name / "sheet.png")
    page_of_group.write(group, summarise(group))
    text = group.report.read_text()
    assert EVIL not in text
    parse(text)
    assert "<b>1 of 3 runs may look beside the defect</b>" in text and f"run_1: {SAID}" in text
    assert "<h3>Side by side: grad_cam</h3>" in text and "<summary>saliency</summary>" in text  # grad_cam is best
    assert "rank 2; does not depend on the weights" in text and "Agreement between seeds" in text
    assert "unreliable for this network; completeness error 34.0 %" in text


def test_the_group_is_written_anew_after_it_was_explained(tmp_path: Path) -> None:
    group = finished(tmp_path, 2)
    page_of_group.refresh(group)
    assert not group.report.exists()  # not tested as a group yet
    page_of_group.write(group, summarise(group))
    for run in group.runs:
        files.write_json(run.report_json, files.read_json(run.report_json) | {"explained": None})
    page_of_group.refresh(group)
    assert "Where do the runs look?" not in group.report.read_text()


def test_contact_sheets_stand_in_tensorboard_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run_0")
    explain(run.path)
    write_explained(run)
    write_explained(run)
    events = list(run.log.iterdir())
    assert len(events) == 1
    read = EventAccumulator(str(run.log)).Reload()
    assert sorted(read.Tags()["images"]) == [f"explain/{n}" for n in ("grad_cam", "guided_backpropagation", "saliency")]
    image = read.Images("explain/grad_cam")[0]
    assert (image.width, image.height) == (300, 500)
    for sheet in run.path.glob("explain/*/sheet.png"):
        sheet.unlink()
    write_explained(run)
    assert not list(run.log.iterdir())
