"""The method's own map, as it is."""

import pytest
import torch
from lively import images, linear_evidence, make_model
from torch import Tensor, nn

from zdd.explain import own_map
from zdd.explain.base import BATCH, Subject, Unfit
from zdd.models.base import predict_batch


@pytest.mark.parametrize("name", ["autoencoder", "unet"])
def test_it_is_the_prediction_s(name: str) -> None:
    model = make_model(name)

    def own(image: Tensor) -> Tensor:
        said = predict_batch(model, image).map
        assert said is not None
        return said

    said = own_map.attribute(Subject(model.net, model.evidence, own), images(2), torch.zeros(2, dtype=torch.long))
    assert torch.equal(said.values, own(images(2))) and said.error is None


def test_few_at_a_time_and_of_the_images_size() -> None:
    seen = []

    def own(image: Tensor) -> Tensor:
        seen.append(len(image))
        return image[:, :1, ::2, ::2]

    said = own_map.attribute(Subject(nn.Identity(), linear_evidence, own), images(35, 8), torch.zeros(35).long())
    assert said.values.shape == (35, 1, 8, 8) and said.values.min() == 0 and max(seen) <= BATCH


def test_a_method_without_a_map_has_none() -> None:
    with pytest.raises(Unfit, match="no map of its own; take"):
        own_map.attribute(Subject(nn.Identity(), linear_evidence), images(1, 8), torch.tensor([0]))
