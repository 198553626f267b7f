"""Every image is judged once, in order, whatever the batches."""

from collections.abc import Iterator

import pytest
import torch

from zdd.errors import ZddError
from zdd.evaluate import device_of, evaluate
from zdd.records import Batch, Prediction


def batches(index: list[list[int]]) -> Iterator[Batch]:
    for each in index:
        i = torch.tensor(each)
        yield {"image": i.float().view(-1, 1, 1, 1).expand(-1, 3, 2, 2), "label": i % 3, "index": i}


def mean(image: torch.Tensor) -> torch.Tensor:
    return image.mean((1, 2, 3))


def decode(raw: torch.Tensor, image: torch.Tensor) -> Prediction:
    assert len(raw) == len(image)
    p = torch.stack([1 - raw / 10, raw / 10], dim=1)
    return Prediction(score=raw / 10, label=p.argmax(1), probability=p, uncertainty=raw * 2)


def test_short_last_batches_and_padding() -> None:
    # Two processes: the last batch is padded with images that were judged already.
    columns = evaluate(mean, decode, batches([[0, 2], [4, 6], [1, 3], [5, 0]]))
    assert columns.index.tolist() == list(range(7)) and columns.n == 7
    assert columns.label.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert columns.score == pytest.approx([i / 10 for i in range(7)])
    assert columns.argmax.tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert columns.probability is not None and columns.probability.shape == (7, 2)
    assert columns.uncertainty == pytest.approx([2.0 * i for i in range(7)])
    assert columns.score.dtype == "float64" and columns.index.dtype == "int64"


def test_nothing_gives_no_rows_and_no_gradient_is_kept() -> None:
    assert evaluate(mean, decode, []).n == 0
    weight = torch.ones(1, requires_grad=True)

    def runner(image: torch.Tensor) -> torch.Tensor:
        raw = mean(image) * weight
        assert not raw.requires_grad
        return raw

    evaluate(runner, decode, batches([[1]]))


def test_a_score_that_is_no_number_names_its_images() -> None:
    def broken(image: torch.Tensor) -> torch.Tensor:
        raw = mean(image)
        return torch.where((raw == 3) | (raw == 5), torch.nan, raw)

    with pytest.raises(ZddError, match=r"score is not a finite number for 2 images \(index 3, 5\)"):
        evaluate(broken, decode, batches([[5, 1], [3, 2]]))
    many = [list(range(30))]
    with pytest.raises(ZddError, match=r"for 30 images \(index 0, 1, .*, 19 and 10 more\)"):
        evaluate(lambda image: mean(image) + torch.inf, decode, batches(many))


def test_the_progress_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(mean, decode, batches([[0]]))
    assert capfd.readouterr().out == ""


def test_devices() -> None:
    assert device_of("cpu") == "cpu"
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("cuda:99", "tpu", ""):
        with pytest.raises(ZddError, match="there is no such device here; one of auto, cpu"):
            device_of(name)
