"""What a suite may name: nets with their options, datasets with their facts. Plain data, read without torch.

A guard test keeps these names equal to the dictionaries in ``models`` and ``data``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ranbench.errors import SpecError, nearest

# A net takes its form from the dataset: that of the paper's CIFAR tables, of its ImageNet tables, or a small one.
Form = Literal["cifar", "imagenet", "digits"]

LEARNING = ("residual", "naive")
ATTENTION = ("mixed", "channel", "spatial")
MASK = ("encoder-decoder", "local-convolutions")
R_SCALES = ("both-ways", "way-down")
SPATIAL_STD = ("biased", "unbiased")
UNIT_ORDER = ("pre-activation", "post-activation")
NOISE_DRAWN = ("once", "each-epoch")

ATTENTION_OPTIONS: Mapping[str, tuple[str, ...]] = {"learning": LEARNING, "attention": ATTENTION, "mask": MASK}
# Options on which the number of parameters and multiply-adds depends; the others change neither.
COUNTED_OPTIONS = ("mask", "p", "t", "r", "r_scales", "unit_order")
SIZES = ("p", "t", "r")
MAX_SIZE = 16
ONE_BYTE = 256  # classes; a predicted class is kept in one byte, and in two where there are more
MOST_CLASSES = 65_536
IMAGE_FOLDER = "imagefolder"  # a user's own images in folders by class; a suite states its facts


@dataclass(frozen=True)
class Modules:
    """Attention modules per stage (m) and the units inside one: pre/post p, trunk t, mask r (section 3, table 6).

    ``r_scales`` says how r enters the mask: on both ways, down and up (figure 2), or on the way down only.
    """

    m: tuple[int, ...]
    p: int = 1
    t: int = 2
    r: int = 1
    r_scales: str = "both-ways"


@dataclass(frozen=True)
class NetInfo:
    """What is known of a net before it is built; ``options`` maps each option to its values, the default first.

    ``sizes`` are the defaults of those options that are whole numbers. ``library`` is the package that the net is taken
    from and the extra that installs it, None for our own. ``smallest`` is the smallest height and width of a net whose
    form does not say it. ``layered``: its weighted layers follow each other, so that its depth can be counted.
    """

    summary: str
    forms: tuple[Form, ...]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    library: str | None = None
    smallest: int = 1
    layered: bool = True


def _attention(summary: str, *forms: Form, p: int = 1, t: int = 2, r: int = 1) -> NetInfo:
    options = {**ATTENTION_OPTIONS, "r_scales": R_SCALES, "spatial_std": SPATIAL_STD}
    if "cifar" in forms:  # the other families are of ImageNet alone, and have the order that their authors define
        options["unit_order"] = UNIT_ORDER
    return NetInfo(summary, forms, options, {"p": p, "t": t, "r": r})


def _resnet(summary: str) -> NetInfo:
    return NetInfo(summary, ("cifar", "digits"), {"unit_order": UNIT_ORDER})


_RAN = "Residual Attention Network"

# The nets that suites of papers name; on CIFAR and digits, attention-N of any other fitting depth is accepted as well.
NETS: Mapping[str, NetInfo] = {
    "attention-56": _attention(f"{_RAN}, m = 1; on ImageNet 1, 1, 1 (tables 1 to 4, 7)", "cifar", "imagenet", "digits"),
    "attention-92": _attention(f"{_RAN}, m = 2; on ImageNet 1, 2, 3 (tables 2 to 7)", "cifar", "imagenet", "digits"),
    "attention-128": _attention(f"{_RAN}, m = 3 (table 3)", "cifar", "digits"),
    "attention-164": _attention(f"{_RAN}, m = 4 (table 3, figure 4)", "cifar", "digits"),
    "attention-236": _attention(f"{_RAN}, m = 6 (table 6)", "cifar", "digits"),
    "attention-452": _attention(f"{_RAN}, m = 6, p = 2, t = 4, r = 3 (table 6)", "cifar", "digits", p=2, t=4, r=3),
    "attentionnext-56": _attention(f"{_RAN} of ResNeXt units, 1, 1, 1 modules (table 7)", "imagenet"),
    "attentionnext-92": _attention(f"{_RAN} of ResNeXt units, 1, 2, 3 modules (authors' definitions)", "imagenet"),
    "attentioninception-56": _attention(
        f"{_RAN} of Inception units, 1, 1, 1 modules (table 7); units are our reconstruction", "imagenet"
    ),
    "resnet-164": _resnet("pre-activation ResNet of 164 layers (tables 5 and 6, figure 4)"),
    "resnet-1001": _resnet("pre-activation ResNet of 1001 layers (table 6)"),
    "wrn-16-8": NetInfo("wide ResNet, depth 16, width 8 (table 6)", ("cifar", "digits")),
    "wrn-28-10": NetInfo("wide ResNet, depth 28, width 10 (table 6)", ("cifar", "digits")),
    "resnet-110": NetInfo("pre-activation ResNet of 110 layers, basic units (suite senet)", ("cifar", "digits")),
    "se-resnet-110": NetInfo("ResNet-110 with squeeze and excitation (suite senet)", ("cifar", "digits")),
    "se-resnet-164": NetInfo("ResNet-164 with squeeze and excitation (suite senet)", ("cifar", "digits")),
    "resnet-152": NetInfo("ResNet-152 of torchvision (table 7)", ("imagenet",), library="torchvision"),
    "resnext-101": NetInfo("ResNeXt-101 32x4d of torchvision (table 7)", ("imagenet",), library="torchvision"),
    "resnet-200": NetInfo("ResNet-200 of timm (table 7)", ("imagenet",), library="timm"),
    "inception-resnet-v2": NetInfo(
        "Inception-ResNet-v2 of timm (table 7)", ("imagenet",), library="timm", smallest=75, layered=False
    ),
}


@dataclass(frozen=True)
class StagePlan:
    """One stage: channels of its maps, stride of its first unit, poolings of its masks, units after its modules."""

    outputs: int
    stride: int
    poolings: int = 0
    closing: int = 0


# The stages of every form of the attention nets.
STAGES: Mapping[Form, tuple[StagePlan, ...]] = {
    # maps of 32, 16 and 8 pixels
    "cifar": (StagePlan(64, 1, 3, 1), StagePlan(128, 2, 2, 1), StagePlan(256, 2, 1, 1)),
    # table 2, at 224: maps of 56, 28 and 14 pixels, masks down to 7x7, and three closing units without modules at 7
    "imagenet": (StagePlan(256, 1, 3), StagePlan(512, 2, 2), StagePlan(1024, 2, 1), StagePlan(2048, 2, closing=2)),
    # not of the paper: maps of 8 and 4 pixels
    "digits": (StagePlan(32, 1, 2, 1), StagePlan(64, 2, 1, 1)),
}

PLAIN_STAGES = 3  # of our nets without attention

# Modules per stage on ImageNet (table 2 and the authors' definitions).
IMAGENET_MODULES: Mapping[str, tuple[int, int, int]] = {"56": (1, 1, 1), "92": (1, 2, 3)}

_ATTENTION_NAME = re.compile(r"(attention|attentionnext|attentioninception)-([1-9][0-9]{0,3})")
_DEPTH = re.compile(r"attention-(?:0|[1-9][0-9]*)")  # also numbers that no net has
MAX_M = 277  # of attention-9992: names have four digits at most
LIBRARIES = ("timm", "torchvision")
_LIBRARY_NAME = re.compile(r"(timm|torchvision):([A-Za-z0-9][\w.\-]*)")
FACTORY_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
_FACTORY_NAME = re.compile(FACTORY_NAME, re.ASCII)
_DOTTED_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\.([A-Za-z_]\w*)", re.ASCII)
_FILE_NAME = re.compile(r"(?:\./)?([A-Za-z_]\w*(?:[./][A-Za-z_]\w*)*)\.py:([A-Za-z_]\w*)", re.ASCII)
_ANY_FORM: tuple[Form, ...] = ("cifar", "imagenet", "digits")


def is_library_net(name: str) -> bool:
    """Tell whether ``name`` is ``timm:NAME`` or ``torchvision:NAME``."""
    return _LIBRARY_NAME.fullmatch(name) is not None


def is_factory(name: str) -> bool:
    """Tell whether ``name`` is ``package.module:factory``, an import path that runs a user's code."""
    return not name.startswith(tuple(f"{library}:" for library in LIBRARIES)) and (
        _FACTORY_NAME.fullmatch(name) is not None
    )


def has_stated_facts(dataset: str) -> bool:
    """Tell whether a dataset is a user's own, whose facts a suite states: of a factory, or in folders of images."""
    return dataset == IMAGE_FOLDER or is_factory(dataset)


def is_foreign(name: str) -> bool:
    """Tell whether a net is not one of the catalogue: it has no options and keeps its own initialisation."""
    return is_library_net(name) or is_factory(name)


def is_attention_net(name: str) -> bool:
    """Tell whether ``name`` has the form of one of the paper's own nets."""
    return _ATTENTION_NAME.fullmatch(name) is not None


def attention_modules(
    name: str,
    form: Form = "cifar",
    *,
    p: int | None = None,
    t: int | None = None,
    r: int | None = None,
    r_scales: str | None = None,
) -> Modules | None:
    """Return the setting of an attention net, or None for a name of another form.

    On CIFAR, N = 9m(2p + t) + 20, so N = 36m + 20 with p = 1, t = 2, r = 1 (section 4.1); 452 is m = 6, p = 2, t = 4,
    r = 3 unless told otherwise (footnote of table 6). On ImageNet, N = 3(2p + t)(m1 + m2 + m3) + 20, with the modules
    per stage of table 2. The digits form has the modules of the CIFAR form of the same name.

    Raises:
        SpecError: N does not fit, or the net has no such form.
    """
    match = _ATTENTION_NAME.fullmatch(name)
    if match is None:
        return None
    kind, number = match.groups()
    given = {key: value for key, value in (("p", p), ("t", t), ("r", r), ("r_scales", r_scales)) if value is not None}
    if number == "452" and kind == "attention":
        given = {"p": 2, "t": 4, "r": 3, **given}
    setting = Modules((), **given)  # type: ignore[arg-type]
    if form == "imagenet" or kind != "attention":
        return _imagenet_modules(name, number, setting, form)
    per_module = 9 * (2 * setting.p + setting.t)
    m, rest = divmod(int(number) - 20, per_module)
    if rest or m < 1:
        low = max(m, 1)
        near = " or ".join(f"attention-{per_module * k + 20}" for k in (low, low + 1))
        sizes = "" if per_module == 36 else f", for p = {setting.p} and t = {setting.t},"
        raise SpecError(
            f"model {name!r}: a depth must be {per_module}m + 20{sizes} with m of 1 or more; nearest: {near}"
        )
    return Modules((m,) * (2 if form == "digits" else 3), setting.p, setting.t, setting.r, setting.r_scales)


def _imagenet_modules(name: str, number: str, setting: Modules, form: Form) -> Modules:
    check_form(name, form)
    if (setting.p, setting.t) != (1, 2):
        raise SpecError(
            f"model {name!r} on imagenet has p = 1 and t = 2, which its depth is made of; "
            f"got p = {setting.p} and t = {setting.t} (r may be chosen)"
        )
    return Modules(IMAGENET_MODULES[number], r=setting.r, r_scales=setting.r_scales)


def net_info(name: str) -> NetInfo:
    """Return what is known of the net ``name``.

    Raises:
        SpecError: there is no such net.
    """
    if name in NETS:
        return NETS[name]
    if is_library_net(name):
        library = name.split(":", maxsplit=1)[0]
        return NetInfo(f"a net of {library}", _ANY_FORM, library=library)
    if is_factory(name):
        return NetInfo("a user's net, imported", _ANY_FORM)
    if name.startswith("attention-") and is_attention_net(name):
        return _attention(_RAN, "cifar", "digits")
    if _DEPTH.fullmatch(name):
        low = name == "attention-0"
        raise SpecError(
            f"model {name!r}: a depth must be 36m + 20 with m from 1 to {MAX_M}; "
            f"nearest: attention-{36 * (1 if low else MAX_M) + 20}"
        )
    meant = import_path(name)
    near = f"; did you mean {meant!r}?" if meant else nearest(name, NETS)
    raise SpecError(
        f"model {name!r} is not known{near} ('ranbench list models' prints all; attention-N takes "
        "N = 36m + 20; timm:NAME, torchvision:NAME and package.module:factory name other nets)"
    )


def import_path(name: str) -> str | None:
    """Return ``mynets:tiny`` for what was meant so: ``mynets.tiny``, ``mynets.py:tiny``, ``./mynets.py:tiny``."""
    match = _FILE_NAME.fullmatch(name) or _DOTTED_NAME.fullmatch(name)
    return f"{match[1].replace('/', '.')}:{match[2]}" if match else None


def check_option(model: str, option: str, value: object, form: Form | None = None) -> None:
    """Check one option of the net ``model``, in the form ``form`` where that is known.

    Raises:
        SpecError: no such net, it has no such option, or the option does not take ``value``.
    """
    info = net_info(model)
    if option in info.sizes:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIZE:
            raise SpecError(f"{option} {value!r} is not allowed (allowed: whole numbers from 1 to {MAX_SIZE})")
        return
    if option not in info.options:
        names = (*info.options, *info.sizes)
        has = f"it has: {', '.join(names)}" if names else "it has no options"
        raise SpecError(f"model {model!r} has no option {option!r} ({has})")
    allowed = info.options[option]
    if value not in allowed:
        hint = nearest(str(value), allowed)
        raise SpecError(f"{option} {value!r} is not known{hint} (allowed: {', '.join(allowed)})")
    if option == "unit_order" and form == "imagenet" and value != UNIT_ORDER[0]:
        raise SpecError(
            f"model {model!r} on imagenet has unit_order {UNIT_ORDER[0]}, which its authors define; "
            f"got {value!r} (it may be chosen in the cifar and digits forms)"
        )


def check_setting(model: str, form: Form, options: Mapping[str, object]) -> None:
    """Check that a net has a form for the images of a dataset, and that in this form its name fits its p, t and r.

    Raises:
        SpecError: no such net, it has no such form, or another depth.
    """
    check_form(model, form)
    sizes = {key: value for key, value in options.items() if key in {*SIZES, "r_scales"}}
    attention_modules(model, form, **sizes)  # type: ignore[arg-type]


def check_images(model: str, form: Form, shape: tuple[int, int, int], options: Mapping[str, object]) -> None:
    """Check that images of ``shape`` (channels, height, width) are large enough for a net of the catalogue.

    Raises:
        SpecError: they are too small; or there is no such net.
    """
    least, what = net_info(model).smallest, "poolings"
    if is_attention_net(model):
        mask, attention = (str(options.get(name, ATTENTION_OPTIONS[name][0])) for name in ("mask", "attention"))
        least, what = smallest_side(form, mask, attention), "poolings and masks"
    height, width = shape[1:]
    if min(height, width) < least:
        raise SpecError(
            f"model {model!r} needs {form} images of at least {least}x{least} for its {what}, got {height}x{width}"
        )


def smallest_side(form: Form, mask: str, attention: str) -> int:
    """Return the smallest height and width at which no pooling of an attention net is left without a map.

    A strided convolution takes n pixels to ceil(n / 2), a pooling to floor(n / 2). Spatial attention needs two
    positions, since one has no deviation.
    """
    side = 1
    while not _fits(form, side, mask, attention):
        side += 1
    return side


def _fits(form: Form, side: int, mask: str, attention: str) -> bool:
    if form == "imagenet":  # the stem: a strided convolution and a pooling
        side = -(-side // 2) // 2
    for stage in STAGES[form]:
        side = -(-side // stage.stride)
        least = 2 if attention == "spatial" and stage.poolings else 1
        if side < (2**stage.poolings if mask == "encoder-decoder" else least):
            return False
    return True


def has_known_depth(model: str) -> bool:
    """Tell whether the trunk depth of a net can be counted: its parts are known, and they follow each other."""
    return not is_foreign(model) and net_info(model).layered


def num_stages(model: str, form: Form) -> int | None:
    """Return the number of stages of a net, None where they are not known: of libraries and foreign nets."""
    if is_foreign(model) or net_info(model).library:
        return None
    return len(STAGES[form]) if is_attention_net(model) else PLAIN_STAGES


def check_form(model: str, form: Form) -> None:
    """Check that a net has a form for the images of a dataset.

    Raises:
        SpecError: no such net, or it has no such form.
    """
    forms = net_info(model).forms
    if form not in forms:
        fitting = [name for name, info in DATASETS.items() if info.form in forms]
        raise SpecError(f"model {model!r} has no form for {form} images (datasets it takes: {', '.join(fitting)})")


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a dataset; ``shape`` is (channels, height, width), ``checksum`` identifies the official content.

    ``resizable``: its images have many sizes, so that the side of the net's input is chosen; ``shape`` holds the usual.
    """

    summary: str
    form: Form
    shape: tuple[int, int, int]
    num_classes: int
    train_images: int
    test_images: int
    checksum: str
    splittable: bool = False
    resizable: bool = False

    @property
    def total_images(self) -> int:
        """Images of training and test set together."""
        return self.train_images + self.test_images


DATASETS: Mapping[str, DatasetInfo] = {
    "cifar10": DatasetInfo(
        "CIFAR-10: 32x32 colour photographs in 10 classes (Krizhevsky, 2009)",
        form="cifar",
        shape=(3, 32, 32),
        num_classes=10,
        train_images=50_000,
        test_images=10_000,
        checksum="md5:c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100": DatasetInfo(
        "CIFAR-100: 32x32 colour photographs in 100 classes (Krizhevsky, 2009)",
        form="cifar",
        shape=(3, 32, 32),
        num_classes=100,
        train_images=50_000,
        test_images=10_000,
        checksum="md5:eb9058c3a382ffc7106e4002c42a8d85",
    ),
    # The checksum is that of the archives of training and validation images.
    "imagenet": DatasetInfo(
        "ImageNet-1k: photographs in 1000 classes, tested on the validation images (Russakovsky et al., 2015)",
        form="imagenet",
        shape=(3, 224, 224),
        num_classes=1000,
        train_images=1_281_167,
        test_images=50_000,
        checksum="md5:1d675b47d978889d74fa0da5fadfb00e+29b22e2961454d5413ddabcf34fc5622",
        resizable=True,
    ),
    "digits": DatasetInfo(
        "8x8 handwritten digits of scikit-learn (UCI ML hand-written digits, test part), embedded, offline",
        form="digits",
        shape=(1, 8, 8),
        num_classes=10,
        train_images=1_437,
        test_images=360,
        checksum="sha256:87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826",
        splittable=True,
    ),
}


def dataset_info(name: str) -> DatasetInfo:
    """Return the facts of the dataset ``name`` of the catalogue.

    Raises:
        SpecError: there is no such dataset, or it is a user's own, whose facts a suite states.
    """
    if name in DATASETS:
        return DATASETS[name]
    if has_stated_facts(name):
        raise SpecError(
            f"dataset {name!r} is a user's own: only a suite knows it, which states its facts under 'datasets'; "
            f"{manifest_command(name)} prints them"
        )
    meant = import_path(name)
    near = f"; did you mean {meant!r}?" if meant else nearest(name, [*DATASETS, IMAGE_FOLDER])
    allowed = ", ".join([*DATASETS, IMAGE_FOLDER, "package.module:factory"])
    raise SpecError(f"dataset {name!r} is not known{near} (allowed: {allowed})")


def manifest_command(name: str) -> str:
    """Return the command that prints the facts of a user's own dataset, as a message names it."""
    return f"'ranbench data manifest {name}{' --trust-imports' if is_factory(name) else ''}'"
