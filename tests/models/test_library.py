"""Nets that are not ours: imported only where trusted, never downloaded, refused in one line where they cannot be."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ranbench.catalogue import NETS
from ranbench.errors import EnvironmentProblem, SpecError
from ranbench.factories import factory_file
from ranbench.models import build
from ranbench.models.library import CITED, factory_net, library_net

DIGITS = (1, 8, 8)
PHOTO = (3, 32, 32)

MYNET = """\
from torch import nn


def tiny(shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], num_classes))


def refusing(shape, num_classes):
    raise ValueError("too small\\nby far")


def leaving(shape, num_classes):
    raise SystemExit(0)


def nothing(shape, num_classes):
    pass


def late(shape, num_classes):
    import beside_late

    return beside_late.net


number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a user's ``mynet.py``; modules that a test imports are forgotten afterwards."""
    (tmp_path / "mynet.py").write_text(MYNET)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every connection a failure of the test."""

    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def refused(call: Callable[[], object]) -> str:
    """The one line that a call is refused with."""
    with pytest.raises(SpecError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def trusted(name: str) -> nn.Module:
    return factory_net(name, DIGITS, 10, trusted=True)


def test_a_factory_of_the_current_folder_is_called_with_shape_and_classes(folder: Path) -> None:
    net = build("mynet:tiny", {}, DIGITS, 10, form="digits", trusted=True)

    assert net(torch.zeros(3, *DIGITS)).shape == (3, 10)
    assert factory_file("model", "mynet:tiny") == folder / "mynet.py"


def test_a_factory_is_found_wherever_python_finds_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert refused(lambda: trusted("collections.abc:Sequence")).startswith(
        "model 'collections.abc:Sequence': the call Sequence(shape=(1, 8, 8), num_classes=10) failed: TypeError: "
    )


def test_an_untrusted_path_is_neither_imported_nor_looked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "trap").mkdir()
    (folder / "trap" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: pytest.fail("looked for"))
    monkeypatch.setattr("importlib.import_module", lambda *_: pytest.fail("imported"))

    said = refused(lambda: build("trap.inside:net", {}, DIGITS, 10, form="digits"))

    assert said == (
        "model 'trap.inside:net' imports 'trap.inside' and runs its code; "
        "--trust-imports allows it, for code that you trust"
    )
    assert "trap" not in sys.modules


def test_the_path_of_modules_and_the_bytecode_are_left_as_they_were(folder: Path) -> None:
    before, wrote = list(sys.path), sys.dont_write_bytecode

    trusted("mynet:tiny")
    refused(lambda: trusted("mynet:refusing"))
    refused(lambda: trusted("nowhere:net"))

    assert sys.path == before
    assert sys.dont_write_bytecode is wrote
    assert sorted(path.name for path in folder.iterdir()) == ["mynet.py"]


def test_a_current_folder_that_stands_on_the_path_keeps_its_place(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [str(folder), *sys.path]
    monkeypatch.setattr(sys, "path", list(before))

    trusted("mynet:tiny")

    assert sys.path == before


def test_a_factory_may_import_what_lies_beside_it_when_it_is_called(folder: Path) -> None:
    (folder / "beside_late.py").write_text("from torch import nn\n\nnet = nn.Identity()\n")

    assert isinstance(trusted("mynet:late"), nn.Identity)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "mynet:refusing",
            "the call refusing(shape=(1, 8, 8), num_classes=10) failed: ValueError: too small by far",
        ),
        ("mynet:leaving", "the call leaving(shape=(1, 8, 8), num_classes=10) failed: SystemExit: 0"),
        ("mynet:nothing", "expected a torch.nn.Module from the factory, got NoneType"),
        ("mynet:number", "expected a callable, got int"),
        ("mynet:tine", "module 'mynet' ({folder}/mynet.py) has no 'tine'; did you mean 'tiny'?"),
        ("nowhere:net", "there is no module 'nowhere' where Python finds modules, nor in {folder}"),
        ("nowhere.below:net", "there is no module 'nowhere' where Python finds modules, nor in {folder}"),
        ("broken:net", "cannot be imported: SyntaxError: "),
        ("needing:net", "cannot be imported: ModuleNotFoundError: No module named 'not_installed_anywhere'"),
        ("leaver:net", "cannot be imported: SystemExit: 0"),
    ],
)
def test_what_a_user_s_module_does_wrong_is_told_in_one_line(folder: Path, name: str, said: str) -> None:
    (folder / "broken.py").write_text("def net(:\n")
    (folder / "needing.py").write_text("import not_installed_anywhere\n")
    (folder / "leaver.py").write_text("raise SystemExit(0)\n")

    found = refused(lambda: trusted(name))

    assert found.startswith(f"model {name!r}: {said.format(folder=folder)}")


def test_a_factory_without_a_file_has_no_identity(folder: Path) -> None:
    assert refused(lambda: factory_file("model", "sys:exit")) == (
        "model 'sys:exit': the module has no file, by which its code could be told from other code"
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [("timm:test_resnet", DIGITS), ("timm:test_resnet.r160_in1k", PHOTO), ("torchvision:squeezenet1_1", PHOTO)],
)
@pytest.mark.usefixtures("no_network")
def test_a_net_of_a_library_is_built_without_weights_from_elsewhere(name: str, shape: tuple[int, int, int]) -> None:
    net = build(name, {}, shape, 7, form="digits")

    assert net.eval()(torch.zeros(2, *shape)).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:resnet18x", r"timm \S+ has no net 'resnet18x'; did you mean 'resnet18\w*'\?"),
        ("timm:resnet18.nothing", r"timm cannot make it: RuntimeError: Invalid pretrained tag \(nothing\)"),
        ("torchvision:squeezenet1_2", r"torchvision \S+ has no net 'squeezenet1_2'; did you mean 'squeezenet1_\d'\?"),
        ("torchvision:squeezenet1_1", "of torchvision takes images of 3 channels, got 1"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_a_net_that_a_library_does_not_have_or_cannot_make_is_refused(name: str, said: str) -> None:
    with pytest.raises(SpecError, match=f"^model {name!r}:? {said}"):
        library_net(name, DIGITS, 10)


@pytest.mark.parametrize("name", ["timm:test_resnet", "resnet-200", "inception-resnet-v2"])
def test_a_library_that_is_not_installed_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(EnvironmentProblem) as caught:
        build(name, {}, (3, 224, 224), 1000, form="imagenet")

    assert caught.value.exit_code == 7
    assert str(caught.value) == (
        f"model {name!r} is taken from timm, which is not installed; pip install 'ranbench[timm]'"
    )


@pytest.mark.parametrize("name", CITED)
def test_the_protocol_initialises_every_parameter_of_a_cited_net(name: str) -> None:
    """Such a net is compared with ours, so it starts like ours: nothing may keep what its library drew."""
    with torch.device("meta"):
        net = CITED[name](3, 1000)

    known = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    kept = {
        parameter
        for module in net.modules()
        if not isinstance(module, known)
        for parameter, _ in module.named_parameters(recurse=False)
    }
    assert kept == set()
    assert NETS[name].library is not None
