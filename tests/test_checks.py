"""What is refused, and in which words: the messages are the product."""

from typing import Any

import pytest

from zdd import checks, layers
from zdd.located import branch, plain
from zdd.settings import Config

GOOD: dict[str, Any] = {"dataset": {"name": "folder", "root": "x"}, "model": {"name": "classifier", "backbone": "luna"}}


def check(layer: dict[str, Any]) -> tuple[Config | None, list[str]]:
    default = layers.defaults()
    node: Any = default
    for value in (GOOD, layer):
        node = layers.merge(node, branch(value, "x.json"), default)
    config, found = checks.check(plain(node))
    assert (config is None) == bool(found)
    return config, [mistake.line("here") for mistake in found]


def _grade(name: str, above: float, discount: float) -> dict[str, Any]:
    return {"name": name, "above_percent": above, "discount_percent": discount}


@pytest.mark.parametrize(
    ("layer", "line"),
    [
        # no such setting
        ({"epoch": 3}, "epoch = 3 (here): there is no such setting; did you mean 'epochs'?"),
        ({"optimiser": "SGD"}, "optimiser = \"SGD\" (here): there is no such setting; did you mean 'optimizer'?"),
        ({"lr": 0.1}, "lr = 0.1 (here): there is no such setting; did you mean 'optimizer.lr'?"),
        ({"backbone": "luna"}, "backbone = \"luna\" (here): there is no such setting; did you mean 'model.backbone'?"),
        ({"trainer": {"device": 2}}, "trainer.device = 2 (here): there is no such setting; did you mean 'devices'?"),
        (
            {"dataset": {"split": {"train": 0.7}}},
            "dataset.split.train = 0.7 (here): there is no such setting; there are: val, test, seed",
        ),
        (
            {"dataset": {"rot": "y"}},
            "dataset.rot = \"y\" (here): the dataset 'folder' takes no rot; did you mean 'root'?",
        ),
        # a setting of another plug-in
        (
            {"model": {"gp_const": 0.1}},
            "model.gp_const = 0.1 (here): the model 'classifier' takes no gp_const; "
            "it takes: backbone, weights, transfer, stem, dropout (gp_const is a setting of duq)",
        ),
        (
            {"criterion": {"gamma": 2.0}},
            "criterion.gamma = 2.0 (here): the criterion 'cross_entropy' takes no gamma; "
            "it takes: label_smoothing, class_weights (gamma is a setting of focal)",
        ),
        (
            {"model": {"transfer": {"name": "full", "share": 0.5}}},
            "model.transfer.share = 0.5 (here): the transfer 'full' takes no share; it takes no settings "
            "(share is a setting of partial)",
        ),
        # without a name it is the default of the signature that is meant
        (
            {"model": {"transfer": {"share": 0.5}}},
            "model.transfer.share = 0.5 (here): the transfer 'full' takes no share; it takes no settings "
            "(share is a setting of partial)",
        ),
        # a plug-in that is not there
        (
            {"model": "clasifier"},
            "model.name = \"clasifier\" (here): there is no model 'clasifier'; did you mean 'classifier'?",
        ),
        (
            {"model": "resnet18"},
            'model.name = "resnet18" (here): that is a backbone: {"name": "classifier", "backbone": "resnet18"}',
        ),
        (
            {"model": {"transfer": "partal"}},
            "model.transfer.name = \"partal\" (here): there is no transfer 'partal'; did you mean 'partial'?",
        ),
        (
            {"model": {"backbone": "resnet81"}},
            "model.backbone = \"resnet81\" (here): there is no such backbone; did you mean 'resnet18'?",
        ),
        (
            {"augmentation": ["simpel"]},
            "augmentation.0.name = \"simpel\" (here): there is no augmentation 'simpel'; did you mean 'simple'? "
            "(a class of torchvision.transforms.v2 is spelt as there: RandomRotation)",
        ),
        # a wrong type
        (
            {"epochs": "20"},
            'epochs = "20" (here): must be a whole number of at least 1; did you mean 20, without quotes?',
        ),
        ({"epochs": 2.5}, "epochs = 2.5 (here): must be a whole number of at least 1"),
        ({"epochs": True}, "epochs = true (here): must be a whole number of at least 1"),
        ({"epochs": None}, "epochs = null (here): must be a whole number of at least 1"),
        (
            {"trainer": {"compile": "True"}},
            'trainer.compile = "True" (here): must be true or false; did you mean true, without quotes?',
        ),
        ({"trainer": "cpu"}, 'trainer = "cpu" (here): must be a section {...}'),
        ({"model": 3}, 'model = 3 (here): must be a name or a section such as {"name": "classifier"}'),
        ({"model": None}, 'model = null (here): must be a name or a section such as {"name": "classifier"}'),
        ({"optimizer": None}, 'optimizer = null (here): must be a name or a section such as {"name": "SGD"}'),
        ({"optimizer": {"lr": "fast"}}, 'optimizer.lr = "fast" (here): must be a number greater than 0'),
        ({"scheduler": {"name": 3}}, "scheduler.name = 3 (here): must be a text"),
        ({"augmentation": [3]}, 'augmentation.0 = 3 (here): must be a name or a section such as {"name": "simple"}'),
        (
            {"preprocess": {"mean": [0.5, "a", 0.5]}},
            'preprocess.mean = [0.5, "a", 0.5] (here): must be a list of 3, each a number',
        ),
        (
            {"criterion": {"class_weights": "balance"}},
            'criterion.class_weights = "balance" (here): must be one of "none", "balanced" or a list, each a number; '
            'did you mean "balanced"?',
        ),
        # out of range
        ({"optimizer": {"lr": -1}}, "optimizer.lr = -1 (here): must be a number greater than 0"),
        (
            {"grades": [{"name": "Major", "above_percent": 100, "discount_percent": 50}]},
            "grades.0.above_percent = 100 (here): must be a number of at least 0 and below 100",
        ),
        (
            {"grades": [{"name": "Major", "above_percent": 1, "discount": 50, "discount_percent": 50}]},
            "grades.0.discount = 50 (here): there is no such setting; did you mean 'discount_percent'?",
        ),
        (
            {"grades": ["Major"]},
            'grades.0 = "Major" (here): must be a section such as '
            '{"name": "Major", "above_percent": 0.5, "discount_percent": 50}',
        ),
        ({"grades": 3}, "grades = 3 (here): must be a list, each a section {...}"),
        ({"batch_size": 0}, "batch_size = 0 (here): must be a whole number of at least 1"),
        (
            {"image_size": 4},
            "image_size = 4 (here): must be a whole number from 8 to 8192 or a list of 2, "
            "each a whole number from 8 to 8192",
        ),
        (
            {"image_size": [224]},
            "image_size = [224] (here): must be a whole number from 8 to 8192 or a list of 2, "
            "each a whole number from 8 to 8192",
        ),
        (
            {"model": {"transfer": {"name": "partial", "share": 1.5}}},
            "model.transfer.share = 1.5 (here): must be a number from 0 to 1",
        ),
        (
            {"criterion": {"label_smoothing": -0.1}},
            "criterion.label_smoothing = -0.1 (here): must be a number from 0 to 1",
        ),
        (
            {"monitor": "val/acuracy"},
            'monitor = "val/acuracy" (here): must be one of "val/loss", "val/accuracy", "val/balanced_accuracy", '
            '"val/f1", "val/auroc", "val/iou", "val/dice"; did you mean "val/accuracy"?',
        ),
        # right alone, wrong together
        (
            {"threshold": {"rule": "missed"}},
            'threshold.rule = "missed" (here): needs threshold.target, a number from 0 to 1: '
            "the largest share of defects that may slip through",
        ),
        (
            {"threshold": {"target": 0.1}},
            "threshold.target = 0.1 (here): the rule 'youden' takes no target; take it out, or write null",
        ),
        (
            {"dataset": {"split": {"val": 0.5, "test": 0.5}}},
            "dataset.split.val = 0.5 (here): with dataset.split.test = 0.5 nothing is left to train on; "
            "together they must stay below 1",
        ),
        (
            {"dataset": {"good_class": None}, "monitor": "val/auroc"},
            'monitor = "val/auroc" (here): without a good class (dataset.good_class is null) there is no AUROC; '
            "did you mean 'val/accuracy'?",
        ),
        (
            {"dataset": {"classes": ["a", "b"], "good_class": "ok"}},
            'dataset.classes = ["a", "b"] (here): dataset.good_class = \'ok\' is not among them',
        ),
        (
            {"dataset": {"classes": ["a", "b", "a"]}},
            'dataset.classes = ["a", "b", "a"] (here): \'a\' stands there more than once',
        ),
        ({"dataset": {"classes": ["a"]}}, 'dataset.classes = ["a"] (here): there must be two classes at least'),
        (
            {"dataset": {"group": "part(\\d+"}},
            'dataset.group = "part(\\\\d+" (here): not a regular expression: missing ), '
            "unterminated subpattern at position 4",
        ),
        (
            {"batch_size": 33, "trainer": {"devices": 2}},
            "batch_size = 33 (here): is shared by trainer.devices = 2, so it must be a multiple of that; "
            "the nearest is 32",
        ),
        (
            {"grades": [_grade("a", 1, 5), _grade("a", 2, 9)]},
            'grades = [{"name": "a", "above_percent": 1, "discount_percent": 5}... (here): '
            "two grades with the same name, 'a'",
        ),
        (
            {"grades": [_grade("a", 1, 5), _grade("b", 1.0, 9)]},
            'grades = [{"name": "a", "above_percent": 1, "discount_percent": 5}... (here): '
            "two grades with the same above_percent, 1",
        ),
        (
            {"grades": [_grade("none", 0, 5)]},
            'grades = [{"name": "none", "above_percent": 0, "discount_percent":... (here): '
            "'none' is the grade below the lowest bound; give another name, and only to grades above a bound",
        ),
        (
            {"grades": [_grade("b", 2, 5), _grade("a", 1, 50)]},
            'grades = [{"name": "b", "above_percent": 2, "discount_percent": 5}... (here): '
            "for 'b' less is taken off (5 %) than for 'a' (50 %), though the defect is larger",
        ),
    ],
)
def test_one_line_a_mistake(layer: dict[str, Any], line: str) -> None:
    assert check(layer)[1] == [line]


def test_all_mistakes_at_once_and_nothing_twice() -> None:
    lines = check(
        {
            "dataset": {"name": "folder", "roott": "x", "mirror_safe": 1, "split": {"val": 0.9, "test": 0.4}},
            "model": {"gp": 1, "backbone": 3, "transfer": {"name": "partial", "share": 7, "x": 1}},
            "augmentation": ["nope", {"name": "simple", "p": "x"}, 3],
            "optimizer": {"lr": 0},
            "epochs": -1,
            "threshold": {"rule": "misssed", "target": -3},
            "seeds": 1,
        }
    )[1]
    assert sorted(line.split(" ")[0] for line in lines) == [
        "augmentation.0.name",
        "augmentation.1.p",
        "augmentation.2",
        "dataset.mirror_safe",
        "dataset.roott",
        "dataset.split.val",
        "epochs",
        "model.backbone",
        "model.gp",
        "model.transfer.share",
        "model.transfer.x",
        "optimizer.lr",
        "seeds",
        "threshold.rule",
        "threshold.target",
    ]


@pytest.mark.parametrize(
    ("layer", "path", "expected"),
    [
        ({"image_size": 96}, ("image_size",), (96, 96)),
        ({"image_size": [96, 128]}, ("image_size",), (96, 128)),
        ({"scheduler": None}, ("scheduler",), None),
        ({"scheduler": "StepLR"}, ("scheduler", "name"), "StepLR"),
        ({"optimizer": {"name": "Adam", "lr": 1}}, ("optimizer", "options"), {"lr": 1}),
        # torch's keywords are torch's to check
        ({"optimizer": {"nesterov": "?"}}, ("optimizer", "options", "nesterov"), "?"),
        ({"augmentation": "none"}, ("augmentation", 0, "name"), "none"),
        ({"augmentation": []}, ("augmentation",), []),
        ({"augmentation": ["RandomRotation"]}, ("augmentation", 0, "name"), "RandomRotation"),
        ({"augmentation": [{"name": "RandomRotation", "degrees": 5}]}, ("augmentation", 0, "options"), {"degrees": 5}),
        # an int is fine where a float is wanted, and becomes one
        ({"criterion": {"label_smoothing": 0}}, ("criterion", "options", "label_smoothing"), 0.0),
        ({"trainer": {"gradient_clip": 1}}, ("trainer", "gradient_clip"), 1.0),
        # a plug-in's defaults are filled in, and those of the plug-in within it
        ({}, ("model", "options", "weights"), "none"),
        ({}, ("model", "options", "transfer", "name"), "full"),
        ({"model": {"transfer": "partial"}}, ("model", "options", "transfer", "options"), {"share": 0.5}),
        ({"model": {"backbone": "timm/resnet10t"}}, ("model", "options", "backbone"), "timm/resnet10t"),
        ({"criterion": {"class_weights": [1, 2]}}, ("criterion", "options", "class_weights"), [1.0, 2.0]),
    ],
)
def test_what_is_right(layer: dict[str, Any], path: tuple[str | int, ...], expected: Any) -> None:
    config, lines = check(layer)
    assert lines == []
    value: Any = config
    for part in path:
        value = value[part] if isinstance(value, dict | list) else getattr(value, str(part))
    assert value == expected
    assert type(value) is type(expected)


def test_a_data_set_must_be_named_and_have_a_place() -> None:
    _, found = checks.check(plain(layers.defaults()))
    lines = [mistake.line("here") for mistake in found]
    assert lines == [
        "dataset.name (here): must be the name of a dataset; "
        "there are: cifar10, csv, folder, labels, masks, mvtec, ok_ng",
        "dataset.root (here): must be given: a text",
    ]


def test_nothing_that_a_configuration_holds_is_run(tmp_path: Any) -> None:
    trace = tmp_path / "trace"
    evil = f"__import__('pathlib').Path({str(trace)!r}).touch()"
    config, _ = check(
        {"about": evil, "optimizer": {"name": evil}, "dataset": {"root": evil}, "augmentation": ["E" + evil]}
    )
    assert config is not None
    check({"epochs": evil, evil: evil, "model": {"backbone": evil, "transfer": evil}})
    assert not trace.exists()
