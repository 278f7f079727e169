"""The sections of an experiment's YAML: each field's meaning, unit and default; a YAML states what differs."""

from dataclasses import field, replace
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from kit import schema
from kit.competition import Name

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Channels = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Crop = Literal["none", "center", "top_left", "top_right", "bottom_left", "bottom_right"]
ImageSize = Annotated[int, Field(ge=8, le=2048)]


@dataclass(frozen=True, config=schema.STRICT)
class Data:
    """What the model sees."""

    image_size: ImageSize = 224  # pixels a side, at the model's input
    cache_size: ImageSize | None = None  # pixels a side, as cached on disk, for the augmentation to crop from
    resize: Literal["squash", "crop", "pad"] = (
        "squash"  # how it becomes square: crop or pad where shape tells classes apart
    )
    num_folds: Annotated[int, Field(ge=2, le=100)] = 5
    split_seed: NonNegativeInt | None = None  # of the folds, which runs of several seeds share; null: `seed`
    corrections: str | None = None  # a corrections.csv, from `kit audit` and the report: images to drop, relabel
    columns: bool = False  # train with the competition's `columns` beside the picture
    extra: str | None = None  # a folder with a folder per class: pictures for training only, never for a score
    mean: Channels | None = None  # RGB in [0, 1], for weights with colours of their own (CLIP's); null: as known
    std: Channels | None = None

    @property
    def kept_size(self) -> int:
        """Pixels a side of what the cache holds."""
        return self.cache_size or self.image_size

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std: give both or neither")
        if self.cache_size is not None and self.cache_size < self.image_size:
            raise ValueError(f"cache_size: {self.cache_size} is smaller than image_size {self.image_size}")


@dataclass(frozen=True, config=schema.STRICT)
class Model:
    """Ours (`kit models` lists them), or `timm:NAME` for any timm model."""

    name: str = "resnet18"
    weights: str = "none"  # none | timm (downloads its own) | a .safetensors or .pth file, or a folder of such
    start: Name | None = None  # a run: each fold starts from that run's model of the same fold
    options: dict[str, Any] = field(default_factory=dict)  # passed to the model's constructor


@dataclass(frozen=True, config=schema.STRICT)
class Train:
    """How it learns."""

    mode: Literal["network", "features"] = "network"  # features: frozen network, a linear head is fitted
    epochs: NonNegativeInt = 10  # 0: the models of `model.start` unchanged, for other views or another size
    batch_size: PositiveInt = 64
    accumulate_steps: PositiveInt = 1  # batches per optimizer step, for what the memory does not hold at once
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 1e-3  # the schedule's highest
    head_learning_rate: PositiveFloat | None = None  # a new head's own highest, on pretrained layers; null: as all
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0  # a layer's rate, as a share of that of the layer above
    freeze_epochs: NonNegativeInt = 0  # train only the head for this many epochs, before it spoils pretrained layers
    freeze_layers: Fraction = 0.0  # this share of the layers, from the input on, is never trained
    freeze_norms: bool = False  # batch norms keep the statistics they came with, as pretrained features expect
    weight_decay: NonNegativeFloat = 0.05  # on weights, not on biases and norms
    momentum: Fraction = 0.9  # sgd's, or Adam's beta1: published recipes name it
    schedule: Literal["cosine", "one_cycle", "step", "constant"] = "cosine"
    warmup_epochs: NonNegativeFloat = 1.0  # one_cycle: the rising part
    step_epochs: tuple[NonNegativeFloat, ...] = ()  # step: after these epochs a tenth, as in the ResNet paper
    # auto: cross_entropy (classes, ordinal), bce (labels) or mse (number), by the task; `ordinal` adds the distance
    loss: Literal["auto", "cross_entropy", "bce", "focal", "ordinal", "mse", "mae", "huber"] = "auto"
    class_weights: Literal["none", "balanced"] = "none"  # balanced: rare classes count as much as frequent ones
    focal_gamma: NonNegativeFloat = 2.0  # focal: higher values down-weight easy examples
    label_smoothing: Fraction = 0.0
    mixup: NonNegativeFloat = 0.0  # alpha of Beta(alpha, alpha), from which a batch's mix is drawn; 0: off
    cutmix: NonNegativeFloat = 0.0  # as mixup; with both, each batch takes one of them
    unmixed_epochs: NonNegativeInt = 0  # the last epochs, without mixup or cutmix
    clip_grad_norm: PositiveFloat | None = None  # against losses that diverge
    head_l2: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
    # features: penalties to choose from, for each fold by cross-validation within its training images
    ema_decay: Fraction | None = 0.999  # per optimizer step, after a warm-up; null: no averaging
    early_stopping: PositiveInt | None = None  # epochs without a better loss: saves hours, OOF is optimistic
    # best: by the fold's own validation loss, so its OOF is optimistic; average: of the last epochs' weights (which
    # ones does not depend on the fold's labels: OOF stays unbiased, and the log says what the average gains on it)
    select: Literal["last", "best", "average"] = "last"
    average_epochs: PositiveInt = 3  # select: average
    # progressive resizing: (epoch, pixels a side from then on)
    sizes: tuple[tuple[NonNegativeFloat, ImageSize], ...] = ()
    pseudo_run: Name | None = None  # also train on test images that this run's same-fold model is confident about
    pseudo_threshold: Annotated[float, Field(gt=0, le=1)] = 0.95

    def __post_init__(self) -> None:
        if self.warmup_epochs >= self.epochs > 0 and self.mode == "network":
            raise ValueError(f"warmup_epochs: expected less than epochs ({self.epochs}), got {self.warmup_epochs:g}")
        if self.select == "average" and self.early_stopping is not None:
            raise ValueError("select: average is over the last epochs; early_stopping may never reach them")
        if [epoch for epoch, _ in self.sizes] != sorted({epoch for epoch, _ in self.sizes}):
            raise ValueError(f"sizes: expected rising epochs, got {self.sizes}")
        if self.schedule == "step" and not self.step_epochs:
            raise ValueError("step_epochs: the step schedule needs the epochs after which the rate falls")


@dataclass(frozen=True, config=schema.STRICT)
class View:
    """One TTA transform: the picture scaled, a window of the model's size cropped from it, then mirrored."""

    scale: Annotated[float, Field(ge=0.25, le=4)] = 1.0  # of image_size; without a crop the model sees that size
    crop: Crop = "none"
    hflip: bool = False
    vflip: bool = False

    def __post_init__(self) -> None:
        if self.crop != "none" and self.scale <= 1:
            raise ValueError(f"scale: a crop needs a scale above 1, got {self.scale:g}")


NamedView = Literal["identity", "hflip", "vflip", "five_crop", "ten_crop"]


@dataclass(frozen=True, config=schema.STRICT)
class TTA:
    """Predictions are averaged over views, for OOF and test alike."""

    views: Annotated[tuple[NamedView | View, ...], Field(min_length=1)] = ("identity",)
    average: Literal["probs", "logits"] = "probs"  # logits: the confident views weigh more


@dataclass(frozen=True, config=schema.STRICT)
class Ensemble:
    """How folds and runs become one prediction."""

    # logits: the confident models weigh more; auto: logits for log loss, of calibrated models, else probs
    average: Literal["auto", "probs", "logits"] = "auto"
    # of several runs. best: one of them; mean; hill: greedy selection; weights: the lowest loss; stack: a sum of logits
    # with a bias; auto: the plainest of those that do best, or the best run alone where none surely beats it
    blend: Literal["auto", "best", "mean", "hill", "weights", "stack"] = "auto"
    models: Literal["folds", "full"] = "folds"  # full: test is predicted by `--fold full`'s model alone
    # for log loss, probabilities stay within [clip, 1 - clip]; null: fitted on OOF with the temperature, else 1e-4
    clip: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    new_class_threshold: Fraction = 0.5  # for a class of the unknown that no training image has
    postprocess: Literal["auto", "none"] = "auto"  # what the metric rewards, fitted on OOF, kept where it helps


NumberFormat = Literal["auto", "fp32", "bf16", "fp16"]
Layout = Literal["auto", "channels_last", "contiguous"]


@dataclass(frozen=True, config=schema.STRICT)
class Machine:
    """How a machine computes. What decides bits is settled when a run is made; the rest may change at any time."""

    precision: NumberFormat = "auto"  # auto: bf16 where native to the device, else fp16 on a GPU, fp32 on a CPU
    memory_format: Layout = "auto"  # auto: the faster one on a CPU; channels_last on a GPU, except Apple's
    # torch.compile; auto: tried on a GPU when the run is long enough to pay off (no gain when training on a CPU)
    compile: Literal["auto"] | bool = "auto"
    num_threads: PositiveInt | None = None  # torch's on the CPU; null: one per core
    gpus_per_fold: PositiveInt | None = None  # processes that share a fold's batches, on a CPU too; null: one
    predict_precision: NumberFormat = "auto"
    predict_memory_format: Layout = "auto"
    predict_compile: Literal["auto"] | bool = "auto"  # auto: tried when there are minutes of prediction ahead
    # these do not affect bits:
    num_workers: Literal["auto"] | NonNegativeInt = "auto"  # processes that prepare batches; auto: as many as needed
    checkpoint_minutes: PositiveFloat = 5.0  # a checkpoint is also written within an epoch
    cache_dir: str | None = None  # a folder for decoded pixels and features; null: in the workspace
    track: tuple[Literal["tensorboard", "wandb"], ...] = ()  # who is told of epochs, CV, figures and Kaggle's score
    # the most gigabytes a competition's may take there; what does not fit is decoded in every epoch
    cache_gb: PositiveFloat = 50.0

    def settled_by(self, earlier: "Machine") -> "Machine":
        """The same, with what is left open here as it was settled earlier."""
        kept = (*SETTLED, "cache_dir")
        return replace(self, **{key: getattr(earlier, key) for key in kept if getattr(self, key) in {"auto", None}})


SETTLED = (
    "precision", "memory_format", "compile", "num_threads",
    "predict_precision", "predict_memory_format", "predict_compile", "gpus_per_fold",
)  # fmt: skip
