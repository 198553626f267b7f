"""FID and KID by hand; and copies of training images, passed off as synthetic, are found out."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_part import draw_part
from PIL import Image, ImageEnhance

from zdd import cli, features, files, likeness, memorised
from zdd.data.synthesis import folder as folder_module
from zdd.errors import ZddError
from zdd.features import Sight
from zdd.models import backbones


def cloud(n: int, mean: float = 0.0, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(seed).normal(mean, scale, (n, 4)))


def test_the_frechet_distance_of_moved_features_is_how_far_they_were_moved() -> None:
    # The same covariance: what is left of |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) is 3^2 in each of 4 directions.
    assert likeness.fid(cloud(50), cloud(50) + 3) == pytest.approx(36, rel=1e-6)


def test_the_frechet_distance_of_spread_features_is_the_spread() -> None:
    one = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]])  # variance 4/3, as an unbiased estimate
    # (sqrt(4/3) * 3 - sqrt(4/3))^2 = 4/3 * 4
    assert likeness.fid(one, one * 3) == pytest.approx(16 / 3, rel=1e-4)


def test_the_kernel_distance_by_hand() -> None:
    one, other = torch.tensor([[1.0], [0.0]]), torch.tensor([[2.0], [1.0]])
    # k(x, y) = (x y + 1)^3. Within: k(1, 0) = 1; k(2, 1) = 27. Between: k(1, 2) = 27, k(1, 1) = 8, k(0, .) = 1 twice.
    assert likeness.kid(one, other) == pytest.approx(1 + 27 - 2 * (27 + 8 + 1 + 1) / 4)


def test_kid_is_about_nothing_for_the_same_and_more_for_others_and_disturbs_no_random_numbers() -> None:
    state = torch.get_rng_state()
    same, others = likeness.kid(cloud(200), cloud(200, seed=1)), likeness.kid(cloud(200), cloud(150, 1.0, seed=2))
    assert same is not None and others is not None and abs(same) < 0.1 < 5 < others
    assert likeness.kid(cloud(200), cloud(150, 1.0, seed=2)) == others
    assert torch.equal(torch.get_rng_state(), state)


def test_both_are_compared_with_the_training_images() -> None:
    found = likeness.likeness(cloud(40), cloud(40) + 1, cloud(40) + 3)
    assert found["fid"] == pytest.approx(36, rel=1e-6) and found["fid_held_out"] == pytest.approx(4, rel=1e-6)
    assert found["kid"] > found["kid_held_out"] > 0 and found["n_synthetic"] == found["n_train"] == 40


def test_one_image_has_no_figure() -> None:
    assert likeness.fid(cloud(1), cloud(9)) is None and likeness.kid(cloud(9), cloud(1)) is None


def sight(n: int, seed: int) -> Sight:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
    return Sight(torch.tensor(rng.normal(size=(n, 16))), small)


def strangers(one: Sight, other: Sight) -> memorised.Bools:
    return np.zeros((len(one.small), len(other.small)), bool)


def find(made: Sight, train: Sight, held: Sight, kin: memorised.Bools | None = None) -> memorised.Memory:
    kin = strangers(made, train) if kin is None else kin
    return memorised.memory(train, held, made, kin, strangers(held, train), np.arange(len(train.small)))


def mixed(made: Sight, train: Sight, n: int, far: float = 0.0) -> Sight:
    """`made` with its first n images replaced by training images, with features moved by `far`."""
    seen = torch.cat((train.features[:n] + far, made.features[n:]))
    return Sight(seen, np.concatenate((train.small[:n], made.small[n:])))


def test_new_images_raise_no_alarm() -> None:
    found = find(sight(60, 3), sight(100, 1), sight(40, 2))
    assert found.alarms == () and not found.near.any() and not found.same.any()
    assert 0.3 < found.figures["nearer_share"] < 0.7


@pytest.mark.parametrize("n", [1, 5, 60])
def test_copies_raise_the_alarm_even_one_among_many(n: int) -> None:
    train = sight(100, 1)
    found = find(mixed(sight(60, 3), train, n), train, sight(40, 2))
    assert found.near.sum() == found.same.sum() == n and found.nearest[:n].tolist() == list(range(n))
    assert any(f"{n} of 60 synthetic images are training images, pixel by pixel" in line for line in found.alarms)
    assert any("near copies" in line for line in found.alarms)


def test_what_only_the_network_or_only_the_pixels_see_is_near_too() -> None:
    train, made = sight(100, 1), sight(60, 3)
    by_network = Sight(torch.cat((train.features[:2] + 0.05, made.features[2:])), made.small)
    assert find(by_network, train, sight(40, 2)).near.tolist() == [True, True] + 58 * [False]
    shifted = made.small.copy()
    shifted[5] = np.clip(train.small[7].astype(int) + 3, 0, 255)
    found = find(Sight(made.features, shifted), train, sight(40, 2))
    assert found.near.nonzero()[0].tolist() == [5] and not found.same.any()


@pytest.mark.parametrize(
    "change", [lambda a: a[:, ::-1], lambda a: a[::-1], np.rot90, lambda a: a * 0.6, lambda a: np.rot90(40 + a * 0.5)]
)
def test_a_copy_that_was_mirrored_turned_or_lit_is_near_that_image(change: Callable[[Any], Any]) -> None:
    train, made = sight(100, 1), sight(60, 3)
    made.small[5] = np.clip(change(train.small[7].astype(float)), 0, 255).astype(np.uint8)
    found = find(made, train, sight(40, 2))
    assert found.near.nonzero()[0].tolist() == [5] and found.nearest[5] == 7 and not found.same.any()
    assert found.figures["n_held_out_near"] == 0 and "1 of 60 synthetic images are near copies" in found.alarms[0]


def test_who_names_its_parent_may_be_near_but_no_copy() -> None:
    train, made = sight(100, 1), sight(60, 3)
    kin = strangers(made, train)
    kin[np.arange(60), np.arange(60)] = True
    painted = Sight(train.features[:60] + 0.05, train.small[:60].copy())
    painted.small[:, :4, :4] = made.small[:60, :4, :4]  # a defect was drawn into each
    assert find(painted, train, sight(40, 2), kin).alarms == ()
    assert find(painted, train, sight(40, 2)).near.all()  # without its word
    assert find(mixed(made, train, 3), train, sight(40, 2), kin).figures["n_same"] == 3


def test_where_held_out_images_are_near_copies_too_as_many_are_no_alarm() -> None:
    train = sight(100, 1)
    held = mixed(sight(40, 2), train, 10)  # a fourth of them: the split leaks
    assert find(mixed(sight(60, 3), train, 15, 0.01), train, held).figures["n_near"] == 15
    near = [line for line in find(mixed(sight(60, 3), train, 15), train, held).alarms if "near copies" in line]
    many = [line for line in find(mixed(sight(60, 3), train, 40), train, held).alarms if "near copies" in line]
    assert not near and many


def test_parts_that_look_alike_in_training_are_no_copies_of_each_other() -> None:
    train, made = sight(100, 1), sight(30, 3)
    twin = 0.65 * train.features[1] + 0.35 * train.features[0]  # another part, much like the second
    alike = Sight(torch.cat((train.features[:99], twin[None])), train.small)
    like = Sight(torch.cat((twin[None] + 0.01, made.features[1:])), made.small)  # made from it, and as much like that
    kin = strangers(like, alike)
    kin[0, 99] = True
    assert find(like, alike, sight(10, 2), kin).alarms == ()
    assert find(like, train, sight(10, 2)).near.nonzero()[0].tolist() == [0]  # where no real parts are alike


def test_a_whole_set_that_leans_on_training_images_is_told() -> None:
    train, held = sight(100, 1), sight(40, 2)
    leaning = Sight(0.45 * sight(60, 3).features + 0.55 * train.features[:60], sight(60, 3).small)
    found = find(leaning, train, held)
    assert found.figures["nearer_share"] > 0.9 and any("50 % would be right" in line for line in found.alarms)


def test_nothing_held_out_is_said() -> None:
    train = sight(5, 1)
    made, one_part = sight(6, 2), np.zeros(5, int)
    found = memorised.memory(train, train, made, strangers(made, train), np.ones((5, 5), bool), one_part)
    assert found.figures["n_held_out"] == 0 and "no real image can be held out" in found.alarms[0]
    json.dumps(found.figures, allow_nan=False)


def jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=97)
    return Image.open(file).convert("RGB")


Change = Callable[[Image.Image], Image.Image]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A training set of parts with synthetic images: new ones, and training images changed by `copies`."""

    def make(copies: Change | None = None, n_held: int = 14, *, lists: bool = True) -> Path:
        root = tmp_path / "set with synthetic images"
        (root / "images").mkdir(parents=True)
        rows: list[dict[str, Any]] = []
        kinds = ("good", "crack")

        def add(name: str, image: Image.Image, **row: Any) -> None:
            image.save(root / name)
            rows.append({"image": name, "mask": "", "group": "", "parent": "", **row})

        for i in range(30):
            kind = kinds[i % 2]
            add(f"train {i}.png", draw_part(kind, i).resize((88, 72)), label=kind, split="train")
        for i in range(n_held):
            kind = kinds[i % 2]
            add(f"val {i}.png", draw_part(kind, 500 + i).resize((88, 72)), label=kind, split="val")
        (root / "all.txt").write_text("".join(f"train {i}.png\n" for i in range(30)))
        for i in range(24):
            kind = kinds[i % 2]
            parent = "all.txt" if lists else f"train {i}.png"
            copy = copies is not None and i < 3
            image = copies(draw_part(kind, i)) if copy and copies else draw_part(kind, 900 + i)
            add(f"images/{i}.png", image, label=kind, split="train", parent=parent)
        with (root / "synthetic.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        return root

    return make


def test_new_parts_are_no_copies(folder: Callable[..., Path]) -> None:
    said = likeness.judge(folder(), network="pixels")
    assert said["alarms"] == [] and said["failed"] == {} and said["classes"] == {}
    assert "44 x 36" not in said["network"] and "36 x 44 pixels" in said["network"]


@pytest.mark.parametrize(
    "change", [lambda image: image, jpeg, lambda image: ImageEnhance.Brightness(image).enhance(1.03)]
)
def test_copies_of_training_images_passed_off_as_synthetic_raise_the_alarm(
    folder: Callable[..., Path], change: Change, capsys: pytest.CaptureFixture[str]
) -> None:
    root = folder(change)
    assert cli.main(None, ["data", "likeness", str(root), "--network", "pixels"]) == 1
    out, err = capsys.readouterr()
    said = json.loads(out.splitlines()[-1])
    assert said["memorisation"]["n_near"] == 3 and said["failed"] and "ALARM: 3 of 24 synthetic images" in err
    assert files.read_json(root / "likeness.json")["alarms"] == said["alarms"]
    with Image.open(root / "nearest.png") as sheet:
        assert sheet.size == (12 * 134 + 6, 2 * 134 + 6)


def test_few_held_out_images_are_replaced_by_training_images_left_out(folder: Callable[..., Path]) -> None:
    said = likeness.judge(folder(lambda image: image, 4), network="pixels")
    assert said["held_out"].startswith("training images") and said["memorisation"]["n_near"] == 3
    assert said["memorisation"]["n_held_out"] == 30


def test_a_network_gives_figures_of_each_class(folder: Callable[..., Path], tmp_path: Path, monkeypatch: Any) -> None:
    torch.manual_seed(0)
    net = backbones.build("squeezenet1_1", 1000, (128, 128))
    (tmp_path / "weights").mkdir()
    torch.save(net.state_dict(), tmp_path / "weights" / "squeezenet1_1.pth")
    monkeypatch.setenv("ZDD_WEIGHTS", str(tmp_path / "weights"))
    root = folder()
    said = likeness.judge(root, network="squeezenet1_1")
    assert "squeezenet1_1 (squeezenet1_1.pth, SHA-256" in said["network"] and "512 pooled" in said["network"]
    assert {name: row["n_synthetic"] for name, row in said["classes"].items()} == {"crack": 12, "good": 12, "all": 24}
    assert {row["n_held_out"] for row in said["classes"].values()} == {7, 14}
    assert all(isinstance(row["fid"], float) and row["fid"] >= 0 for row in said["classes"].values())


def test_what_can_not_be_compared_is_said_in_a_line(folder: Callable[..., Path], tmp_path: Path) -> None:
    root = folder()
    with (root / "synthetic.csv").open() as file:
        rows = [{**row, "parent": ""} for row in csv.DictReader(file)]
    with (root / "synthetic.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    with pytest.raises(ZddError, match="no image there names a parent"):
        likeness.judge(root, network="pixels")
    with pytest.raises(ZddError, match="nowhere: there is no such folder"):
        likeness.judge(tmp_path / "nowhere", network="pixels")
    with pytest.raises(ZddError, match="did you mean 'mobilenet_v2'"):
        features.open_eye("mobilnet_v2", (32, 32))


def test_a_judged_folder_can_still_be_made_anew() -> None:
    assert {likeness.FIGURES, likeness.PICTURE} <= folder_module.OURS
