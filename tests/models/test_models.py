"""The networks: equal to the reference, every parameter alive, weights by name, errors that help."""

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from kit.errors import ConfigError, KitError
from kit.models import build_classifier, build_model
from kit.models.pretrained import layer_depths, load_weights
from kit.models.registry import NETWORKS, UNKNOWN, check_model
from kit.models.summary import summarise
from kit.settings import Model
from kit.tasks import Outputs


def _copy_by_order(source: torch.nn.Module, target: torch.nn.Module) -> None:
    theirs, ours = source.state_dict(), target.state_dict()
    assert [v.shape for v in theirs.values()] == [v.shape for v in ours.values()]
    target.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


def _settled(model: torch.nn.Module, size: int) -> torch.nn.Module:
    """With batch-norm statistics of its own: untouched ones let a deep network's random outputs explode."""
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 3, size, size))
    return model


def _agree(ours: torch.nn.Module, reference: torch.nn.Module, size: int) -> None:
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters())
    pixels = torch.randn(2, 3, size, size)
    for mode in (False, True):  # training last: it moves the statistics
        torch.manual_seed(1)
        with torch.no_grad():
            expected = reference.train(mode)(pixels)
            torch.manual_seed(1)  # the same dropout
            assert torch.allclose(ours.train(mode)(pixels), expected, rtol=1e-4, atol=1e-4)


RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


@pytest.mark.parametrize(("name", "size"), [*((n, s) for n in RESNETS for s in (64, 97)), ("resnet50", 224)])
def test_resnets_equal_torchvision(name, size):
    torch.manual_seed(0)
    reference = _settled(getattr(torchvision.models, name)(num_classes=7), size)
    ours = build_model(name, 7)
    _copy_by_order(reference, ours)
    assert list(ours.state_dict()) == list(reference.state_dict())  # so a published file fits by name too
    _agree(ours, reference, size)


@pytest.mark.parametrize(("depth", "size"), [(11, 64), (13, 64), (16, 97), (19, 64), (16, 224)])
def test_vggs_equal_torchvision(depth, size):
    torch.manual_seed(0)
    reference = _settled(getattr(torchvision.models, f"vgg{depth}_bn")(num_classes=7), size)
    ours = build_model(f"vgg{depth}", 7)
    _copy_by_order(reference, ours)
    _agree(ours, reference, size)


@pytest.mark.parametrize(
    ("theirs", "name", "options"),
    [
        ("resnetv2_18", "resnet18", {"preact": True}),
        ("resnetv2_50", "resnet50", {"preact": True}),
        ("resnetv2_50d", "resnet50", {"preact": True, "stem": "deep", "shortcut": "average"}),
        ("resnet18d", "resnet18", {"stem": "deep", "shortcut": "average"}),
        ("resnet50d", "resnet50", {"stem": "deep", "shortcut": "average"}),
        ("seresnet50", "resnet50", {"squeeze_excitation": True}),
    ],
)
@pytest.mark.parametrize("size", [64, 97])
def test_variants_equal_timm(theirs, name, options, size):
    torch.manual_seed(0)
    reference = _settled(build_model(f"timm:{theirs}", 7), size)
    ours = build_model(name, 7, **options)
    state = reference.state_dict()
    if "head.fc.weight" in state:  # a 1x1 convolution there
        state["head.fc.weight"] = state["head.fc.weight"].flatten(1)
    assert [v.shape for v in state.values()] == [v.shape for v in ours.state_dict().values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), state.values(), strict=True)))
    _agree(ours, reference, size)


def test_the_stride_of_the_paper_costs_less_than_torchvisions():
    """He et al. 2015, table 1: ResNet-50 3.8, ResNet-101 7.6, ResNet-152 11.3 billion multiply-adds (v1)."""
    for name, paper, later in (("resnet50", 3.86, 4.09), ("resnet101", 7.57, 7.80), ("resnet152", 11.28, 11.51)):
        assert summarise(name, 224, stride_at="1x1").multiply_adds / 1e9 == pytest.approx(paper, abs=0.01)
        assert summarise(name, 224).multiply_adds / 1e9 == pytest.approx(later, abs=0.01)
        assert summarise(name, 224, stride_at="1x1").parameters == summarise(name, 224).parameters


def test_the_other_networks_cost_what_their_papers_say():
    """He et al. 2015, table 1 (billions of multiply-adds; 11.7 M and 21.8 M parameters); Simonyan & Zisserman 2014,
    table 2 (133 to 144 M parameters, batch norms not counted)."""
    for name, billions, millions in (("resnet18", 1.8, 11.7), ("resnet34", 3.6, 21.8)):
        found = summarise(name, 224)
        assert found.multiply_adds / 1e9 == pytest.approx(billions, abs=0.08)
        assert found.parameters / 1e6 == pytest.approx(millions, abs=0.05)
    for name, millions in (("vgg11", 133), ("vgg13", 133), ("vgg16", 138), ("vgg19", 144)):
        assert round(summarise(name, 224).parameters / 1e6) == millions


def test_the_summary_tells_what_runs():
    summary = summarise("vgg16", 28, width=0.125)
    assert [shape for _, shape, _ in summary.stages[:5]] == [
        (8, 14, 14),
        (16, 7, 7),
        (32, 3, 3),
        (64, 1, 1),
        (64, 1, 1),
    ]
    assert summary.parameters == sum(p.numel() for p in build_model("vgg16", 1000, width=0.125).parameters())


def test_small_stem_keeps_the_map():
    model = build_model("resnet18", 10, stem="small", width=0.25)
    assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape == (1, 128, 4, 4)
    assert build_model("resnet18", 10).forward_features(torch.zeros(1, 3, 64, 64)).shape == (1, 512, 2, 2)


@pytest.mark.parametrize(("image_size", "kernel"), [(32, 3), (40, 3), (48, 7), (96, 7)])
def test_the_stem_follows_the_image_size(image_size, kernel):
    model = build_classifier(
        Model("resnet18", options={"stem": "auto", "width": 0.125}), Outputs(2), image_size=image_size
    )
    assert model.network.conv1.kernel_size == (kernel, kernel)


def test_no_classes_gives_features():
    model = build_model("resnet18", 0, width=0.5)
    assert model.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, model.feature_dim) == (2, 256)


VARIANTS = [
    ("resnet18", {}),
    ("resnet18", {"stem": "small", "width": 0.25, "dropout": 0.5}),
    ("resnet18", {"zero_init_last": False, "init": "xavier"}),
    ("resnet18", {"preact": True, "squeeze_excitation": True, "width": 0.25}),
    ("resnet34", {"drop_path": 0.1, "width": 0.125}),
    ("resnet50", {"width": 0.125}),
    ("resnet50", {"preact": True, "stem": "deep", "shortcut": "average", "stride_at": "1x1", "width": 0.125}),
    ("vgg11", {"width": 0.125}),
    ("vgg16", {"width": 0.125, "head": "gap"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_every_parameter_gets_a_gradient(name, options):
    torch.manual_seed(0)
    model = build_model(name, 5, in_channels=1, **options)
    heard = set()
    for _ in range(3):  # with zero_init_last a block's inside wakes up after the first step; dropout lets some sleep
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.randn(8, 1, 32, 32)), torch.arange(8) % 5).backward()
        heard |= {name for name, parameter in model.named_parameters() if parameter.grad.abs().sum() > 0}
        for parameter in model.parameters():
            parameter.data -= 0.1 * parameter.grad / (parameter.grad.norm() + 1e-6)
    assert heard == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_one_surface_for_all(name, options):
    torch.manual_seed(0)
    model = build_model(name, 5, **options).eval()
    pixels = torch.randn(2, 3, 40, 40)
    features = model.forward_features(pixels)
    assert features.ndim == 4
    assert torch.equal(model.forward_head(features), model(pixels))
    headless = build_model(name, 0, **options).eval()
    assert headless(pixels).shape == (2, headless.feature_dim)


def test_drop_path_rises_with_depth_and_sleeps_outside_training():
    model = build_model("resnet34", 5, width=0.125, drop_path=0.3)
    rates = [module.p for module in model.modules() if type(module).__name__ == "StochasticDepth"]
    assert len(rates) == 15  # the first block's rate is 0
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.3)
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.eval()(pixels), model(pixels))


@pytest.mark.parametrize(("name", "options"), [VARIANTS[3], VARIANTS[6], VARIANTS[8]])
def test_is_traced_as_one_graph(name, options):
    torch.manual_seed(0)
    model, pixels = build_model(name, 5, **{**options, "width": 0.125}).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        traced = torch.compile(model, fullgraph=True, backend="aot_eager")
        assert torch.allclose(traced(pixels), model(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), [VARIANTS[7]])
def test_compiles(name, options):
    torch.manual_seed(0)
    model, pixels = build_model(name, 5, **{**options, "width": 0.125}).eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(torch.compile(model)(pixels), model(pixels), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "options"), [VARIANTS[0], VARIANTS[3], VARIANTS[6], VARIANTS[7]])
def test_exports_to_onnx_with_its_normalisation(name, options, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model = build_classifier(Model(name, options=options), Outputs(5)).eval()
    pixels = torch.randint(0, 256, (2, 3, 64, 64)).float()
    file = tmp_path / "model.onnx"
    torch.onnx.export(model, (pixels,), file, dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(file)
    found = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})[0]
    assert np.allclose(found, model(pixels).detach(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_channels_last_and_bf16_give_about_the_same(name, options, training):
    torch.manual_seed(0)
    model = _settled(build_model(name, 5, **{**options, "width": 0.125}), 64).train(training)
    pixels, last = torch.randn(8, 3, 64, 64), torch.channels_last

    def run(layout: torch.memory_format) -> torch.Tensor:
        torch.manual_seed(1)  # the same dropout
        return model.to(memory_format=layout)(pixels.to(memory_format=layout)).float()

    with torch.no_grad():
        expected = run(torch.contiguous_format)
        assert torch.allclose(run(last), expected, rtol=1e-3, atol=1e-4)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = run(last)
    assert (rounded - expected).norm() < 0.05 * expected.norm()


def test_normalisation_lives_in_the_model():
    torch.manual_seed(0)
    given = ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    model = build_classifier(
        Model("resnet18", options={"width": 0.125}), Outputs(3), statistics=(given, UNKNOWN)
    ).eval()
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    by_hand = (pixels / 255 - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / torch.tensor([0.2, 0.25, 0.3]).view(
        1, 3, 1, 1
    )
    assert torch.allclose(model(pixels), model.network(by_hand), atol=1e-4)


@pytest.mark.parametrize("kind", ["safetensors", "pth", "checkpoint"])
def test_a_weights_file_gives_its_backbone_and_leaves_the_head_new(tmp_path, kind):
    source = build_model("timm:resnet10t", 1000)
    path = tmp_path / ("weights.safetensors" if kind == "safetensors" else "weights.pth")
    if kind == "safetensors":
        save_file(source.state_dict(), path)
    else:
        state = {f"module.{name}": value for name, value in source.state_dict().items()}
        torch.save({"state_dict": state} if kind == "checkpoint" else source.state_dict(), path)
    model = build_model("timm:resnet10t", 2)
    assert set(load_weights(model, path)[0]) == {"fc.weight", "fc.bias"}
    assert torch.equal(model.state_dict()["conv1.0.weight"], source.state_dict()["conv1.0.weight"])


def test_a_pretrained_model_brings_its_own_normalisation(tmp_path):
    model = build_model("timm:tf_efficientnet_lite0", 2)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    classifier = build_classifier(Model("timm:tf_efficientnet_lite0", str(tmp_path / "w.safetensors")), Outputs(2))
    assert (classifier.mean.flatten() / 255).tolist() == pytest.approx([0.5] * 3)
    assert (classifier.std.flatten() / 255).tolist() == pytest.approx([0.5] * 3)


def test_published_weights_of_our_networks_are_of_imagenets_colours(tmp_path):
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "w.pth")
    published = Model("resnet18", str(tmp_path / "w.pth"))
    classifier = build_classifier(published, Outputs(2), statistics=(None, ((0.1,) * 3, (0.2,) * 3)))
    assert (classifier.mean.flatten() / 255).tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert (classifier.std.flatten() / 255).tolist() == pytest.approx([0.229, 0.224, 0.225])
    given = build_classifier(published, Outputs(2), statistics=(((0.5,) * 3, (0.25,) * 3), UNKNOWN))
    assert (given.mean.flatten() / 255).tolist() == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet18"])
@pytest.mark.parametrize("key", ["num_classes", "in_channels", "download", "pretrained"])
def test_what_the_kit_sets_is_no_option(name, key):
    with pytest.raises(ConfigError, match=rf"model\.options\.{key}: set by the kit"):
        build_classifier(Model(name, options={key: 1}), Outputs(2))


def test_the_shared_pretrained_weights_fit(photos):
    model = build_model("timm:tf_efficientnet_lite0", 2)
    new, _ = load_weights(model, photos / "weights" / "tf_efficientnet_lite0.safetensors")
    assert set(new) == {"classifier.weight", "classifier.bias"}


def test_weights_of_another_model_are_refused(tmp_path):
    save_file(build_model("resnet18", 2, width=0.25).state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(KitError, match=r"other\.safetensors: does not fit model\.name"):
        load_weights(build_model("resnet18", 2), tmp_path / "other.safetensors")
    for content in (b"not weights", b""):
        (tmp_path / "no.pth").write_bytes(content)
        with pytest.raises(KitError, match=r"no\.pth: not a weights file: \w"):
            load_weights(build_model("resnet18", 2), tmp_path / "no.pth")


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(KitError, match="not a weights file"):
        load_weights(build_model("resnet18", 2), tmp_path / "evil.pth")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, r"no network 'resnet81' \(did you mean 'resnet18'\?\)"),
        ("timm:resnet18dd", {}, r"timm has no model 'resnet18dd' \(did you mean"),
        ("resnet18", {"stm": "small"}, r"model\.options\.stm: .*did you mean 'stem'"),
        ("resnet18", {"stem": "tiny"}, r"model\.options\.stem: should be 'imagenet', 'small' or 'deep'.*got 'tiny'"),
        ("resnet18", {"width": "half"}, r"model\.options\.width: should be a valid number, got 'half'"),
        ("vgg16", {"stem": "small"}, r"model\.options\.stem: vgg16 has no such option"),
        ("timm:resnet18", {"nonsense": 1}, r"model\.options: timm:resnet18 does not accept them"),
        ("timm:resnet18.a9_in1k", {}, r"model\.name: timm:resnet18 has no weights 'a9_in1k' \(it has a1_in1k, "),
        (
            "timm:resnet18",
            {"features_only": True},
            r"timm:resnet18 is an encoder, without a classifier; name a network",
        ),
    ],
)
def test_a_wrong_model_is_one_helpful_line(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build_model(name, 2, **options)


class Naive(nn.Module):
    """What a newcomer writes: nothing of the kit's but the arguments' names."""

    def __init__(self, num_classes, in_channels=3, width=1.0):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, int(8 * width), 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(int(8 * width), num_classes)

    def forward(self, x):
        return self.classifier(self.body(x))


def test_a_newcomers_network_needs_a_line_only(monkeypatch):
    monkeypatch.setitem(NETWORKS, "naive", Naive)
    summary = summarise("naive", 32, num_classes=2, width=2.0)
    assert summary.feature_dim == 16
    model = build_classifier(Model("naive", options={"width": 0.5}), Outputs(2))
    assert model.head() is model.network.classifier
    assert model.without_head()(torch.zeros(2, 3, 32, 32)).shape == (2, 4)
    with pytest.raises(ConfigError, match=r"need a network with a `group_matcher`"):
        model.layer_depths()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model("resnet8"), r"model\.name: no network 'resnet8'"),
        (Model("timm:resnet8x"), r"model\.name: timm has no model 'resnet8x'"),
        (Model("vgg11", options={"stem": "auto"}), r"model\.options\.stem: vgg11 has no such option"),
        (Model("resnet18", weights="nowhere.pth"), r"model\.weights: nowhere\.pth: no such file"),
    ],
)
def test_a_wrong_model_is_refused_before_any_data_is_looked_at(model, message):
    with pytest.raises(ConfigError, match=message):
        check_model(model)
    check_model(Model("resnet18", options={"stem": "auto"}))


@pytest.mark.parametrize("name", ["resnet50", "vgg11"])
def test_torchvisions_file_fits_by_name_or_by_order(name, tmp_path):
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50() if name == "resnet50" else torchvision.models.vgg11_bn()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    model = build_model(name, 3)
    new, _ = load_weights(model, tmp_path / "weights.pth")
    assert new == (["fc.weight", "fc.bias"] if name == "resnet50" else ["classifier.6.weight", "classifier.6.bias"])
    first, last = list(theirs.state_dict().values()), list(model.state_dict().values())
    assert all(torch.equal(a, b) for a, b in list(zip(first, last, strict=True))[:-2])


@pytest.mark.parametrize(
    ("name", "first"), [("resnet18", "conv1"), ("resnet50", "conv1"), ("vgg11", "stage1.0"), ("timm:resnet18", "conv1")]
)
def test_layers_are_counted_from_the_head(name, first):
    depths = layer_depths(build_model(name, 3))
    head = "classifier.6" if name == "vgg11" else "fc"
    assert {name for name, depth in depths.items() if depth == 0} == {f"{head}.weight", f"{head}.bias"}
    assert depths[f"{first}.weight"] == max(depths.values())
    assert set(depths.values()) == set(range(max(depths.values()) + 1))
