"""What a search may change."""

import pytest

from kit.config import Experiment
from kit.errors import ConfigError
from kit.search.space import Choice, Range, around, default_space, overrides_of, parsed_space, plain_space, read_space


def test_ranges_and_lists_are_read_and_written(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "train.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "data.image_size: {low: 96, high: 160, step: 32}\n"
        "train.optimizer: [adamw, sgd]\n"
        "augment: [[], [{HorizontalFlip: {p: 0.5}}]]\n"
    )
    space = read_space(file)
    assert space["train.learning_rate"] == Range(1e-4, 1e-2, log=True)
    assert space["data.image_size"] == Range(96, 160, step=32)
    assert space["data.image_size"].is_whole
    assert not space["train.learning_rate"].is_whole
    assert space["augment"] == Choice(([], [{"HorizontalFlip": {"p": 0.5}}]))
    assert parsed_space(plain_space(space), "again") == space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train.learning_rate: {low: 0.1, high: 0.01}", "train.learning_rate: .*low below high, got 0.1 and 0.01"),
        ("train.learning_rate: {low: 0, high: 0.01, log: true}", "a low above 0"),
        ("train.learning_rate: {low: 0.1, high: 1, logs: true}", "logs: no such key"),
        ("train.learning_rate: 0.1", "expected a range or a list, for example"),
        ("train.optimizer: [adamw]", "two values or more"),
        ("train:\n  learning_rate: [0.1, 0.2]", "expected a range or a list"),
        ("{}", "holds no key"),
    ],
)
def test_what_is_no_space_is_one_line(tmp_path, text, said):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said) as error:
        read_space(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_the_default_space_holds_the_experiments_own_values():
    hot = Experiment.load("configs/demo.yaml", ["train.learning_rate=0.12", "train.mixup=0.3", "data.image_size=28"])
    space = default_space(hot)
    assert space["train.learning_rate"] == Range(2e-4, 0.12, log=True)
    assert space["train.mixup"].holds(0.3)
    assert space["data.image_size"].holds(28)
    pretrained = Experiment.load("configs/demo.yaml", ["model.weights=timm", "train.optimizer=sgd", "augment=[]"])
    assert default_space(pretrained)["train.learning_rate"] == Range(1e-3, 0.1, log=True)
    assert "augment_strength" not in default_space(pretrained)


def test_values_survive_the_way_through_set(tiny):
    values = {"train.learning_rate": 1e-05, "train.optimizer": "sgd", "augment": [{"HorizontalFlip": {"p": 0.5}}]}
    changed = tiny().changed(overrides_of(values))
    assert (changed.train.learning_rate, changed.train.optimizer) == (1e-05, "sgd")
    assert changed.augment == ({"HorizontalFlip": {"p": 0.5}},)
    assert changed.data == tiny().data


def test_heads_have_nothing_to_search(tiny):
    with pytest.raises(ConfigError, match="--space FILE"):
        default_space(tiny("train.mode=features", "augment=[]"))


def test_a_space_of_ones_own_is_widened_to_the_configs_values(tiny):
    space = {"train.learning_rate": Range(1e-5, 1e-4, log=True), "train.optimizer": Choice(("adam", "sgd"))}
    wide = around(space, tiny())
    assert wide["train.learning_rate"] == Range(1e-5, tiny().train.learning_rate, log=True)
    assert wide["train.optimizer"].holds("adamw")
    with pytest.raises(ConfigError, match=r"train.clip_grad_norm: the config has None, which no range holds"):
        around({"train.clip_grad_norm": Range(0.5, 5.0)}, tiny())
