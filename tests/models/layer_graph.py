"""A net as the graph of the operators that it executes, written as rows; beside it, a graph written by hand.

``traced`` records what a built net does, from the arguments that torch itself is given; the small functions below it
build the same graph from a description. Two nets are the same, layer by layer and in what each layer reads, where
their ``rows`` are equal: the rows stand in an order that depends on the graph alone, so it does not matter which of two
branches runs first. A BatchNorm with its ReLU is one row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice, zip_longest
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ranbench.catalogue import Form
from ranbench.models import build

UNORDERED = ("add", "mul")


@dataclass(frozen=True, eq=False, repr=False)  # a graph written out as a tree would never end
class Node:
    """One operator: what it does, the size of its output (channels, height, width), what it reads."""

    op: str
    size: tuple[int, ...]
    inputs: tuple[Node, ...] = ()
    depth: int = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        if self.op in UNORDERED:  # the shorter way first
            object.__setattr__(self, "inputs", tuple(sorted(self.inputs, key=lambda node: (node.depth, node.digest))))
        object.__setattr__(self, "depth", 1 + max((node.depth for node in self.inputs), default=0))
        text = f"{self.op} {self.size} {[node.digest for node in self.inputs]}"
        object.__setattr__(self, "digest", hashlib.sha256(text.encode()).hexdigest())

    def __str__(self) -> str:
        return self.op

    @property
    def word(self) -> str:
        return self.op.split()[0]


def in_order(output: Node) -> Iterator[Node]:
    """Give every operator that ``output`` depends on, once, after all that it reads."""
    done: set[int] = set()
    waiting = [output]
    while waiting:
        node = waiting[-1]
        missing = [read for read in node.inputs if id(read) not in done]
        if id(node) in done or not missing:
            waiting.pop()
            if id(node) not in done:
                done.add(id(node))
                yield node
        else:
            waiting.append(missing[0])


def rows(output: Node) -> list[str]:
    """Write a graph as lines: number, operator, size of the output, numbers of the lines that it reads."""
    numbers: dict[int, int] = {}
    lines = []
    for number, node in enumerate(in_order(output)):
        numbers[id(node)] = number
        reads = ", ".join(str(numbers[id(read)]) for read in node.inputs)
        lines.append(f"{number:>3}  {node.op:<44} {'x'.join(map(str, node.size)):<12} {reads}".rstrip())
    return lines


def differing(found: list[str], expected: list[str]) -> list[tuple[str, str]]:
    """Return the first rows that differ, at most five: a whole comparison of long lists takes minutes to print."""
    pairs = zip_longest(found, expected, fillvalue="")
    return list(islice((pair for pair in pairs if pair[0] != pair[1]), 5))


def trunk_depth(output: Node) -> int:
    """Count the convolutions and linear layers on the longest way from the image that avoids every soft mask."""
    depths: dict[int, int] = {}
    for node in in_order(output):
        reads = [read for read in node.inputs if node.op != "mul" or read.op != "sigmoid"]
        weighted = node.word in {"conv", "linear"}
        depths[id(node)] = max((depths[id(read)] for read in reads), default=0) + weighted
    return depths[id(output)]


class _Recorder(TorchDispatchMode):
    """Makes a node of every operator; one that it does not know is an error, so that nothing goes unseen."""

    def __init__(self, image: torch.Tensor):
        super().__init__()
        self.image = image
        self.nodes = {id(image): Node("image", tuple(image.shape[1:]))}
        self.weights: list[int] = []
        self.alive: list[Any] = []  # so that no id is given twice

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        assert not {"alpha", "value"} & set(kwargs or {})  # a sum is plain
        self.alive.append((args, result))
        name = func.overloadpacket.__name__.rstrip("_")
        output = result[0] if isinstance(result, tuple) else result
        if name == "t":  # the transposed weights of the classifier
            self.nodes[id(output)] = Node(f"weights {id(args[0])}", ())
        elif name != "empty":
            node = getattr(self, f"_{name}")(tuple(output.shape[1:]), *args)
            self.nodes[id(output)] = node
        return result

    def _of(self, tensor: torch.Tensor) -> Node:
        return self.nodes[id(tensor)]

    def _convolution(self, size: Any, x: Any, weight: Any, bias: Any, *rest: Any) -> Node:
        stride, pad, dilation, transposed, _, groups = rest
        assert (list(dilation), transposed) == ([1, 1], False)
        assert (stride[0], pad[0], weight.shape[2]) == (stride[1], pad[1], weight.shape[3])
        self.weights += [id(part) for part in (weight, bias) if part is not None]
        outputs, inputs, kernel, _ = weight.shape
        op = conv_op((inputs * groups, outputs), kernel, stride[0], pad[0], groups)
        return Node(f"{op} bias" if bias is not None else op, size, (self._of(x),))

    def _native_batch_norm(self, size: Any, x: Any, weight: Any, bias: Any, *rest: Any) -> Node:
        *_, momentum, eps = rest
        self.weights += [id(weight), id(bias)]
        return Node(norm_op(weight.shape[0], eps, momentum), size, (self._of(x),))

    def _relu(self, size: Any, x: Any) -> Node:
        return relu(self._of(x), size)

    def _max_pool2d_with_indices(self, size: Any, x: Any, kernel: Any, stride: Any, *rest: Any) -> Node:
        pad, dilation, ceil = (*rest, *((0, 0), (1, 1), False)[len(rest) :])  # defaults are left out from the end
        assert list(dilation) == [1, 1]
        return Node(pool_op(tuple(kernel), tuple(stride), tuple(pad), ceil), size, (self._of(x),))

    def _upsample_bilinear2d(self, size: Any, x: Any, _target: Any, aligned: bool, *_: Any) -> Node:
        return Node(interpolate_op(aligned), size, (self._of(x),))

    def _add(self, size: Any, a: Any, b: Any) -> Node:
        return Node("add", size, (self._of(a), self._of(b)))

    def _mul(self, size: Any, a: Any, b: Any) -> Node:
        return Node("mul", size, (self._of(a), self._of(b)))

    def _addcmul(self, size: Any, a: Any, b: Any, c: Any) -> Node:
        return Node("add", size, (self._of(a), self._mul(size, b, c)))

    def _sigmoid(self, size: Any, x: Any) -> Node:
        return Node("sigmoid", size, (self._of(x),))

    def _cat(self, size: Any, parts: Any, dim: int) -> Node:
        assert dim == 1
        return Node("concatenate", size, tuple(self._of(part) for part in parts))

    def _mean(self, size: Any, x: Any, dims: Any) -> Node:
        assert list(dims) == [2, 3]
        return Node("average", size, (self._of(x),))

    def _unsqueeze(self, size: Any, x: Any, dim: int) -> Node:
        """One value per channel stands for every position of the map."""
        del size
        assert dim in (2, 3)
        return self._of(x)

    def _addmm(self, size: Any, bias: Any, x: Any, weight: Any) -> Node:
        self.weights += [id(bias), int(self._of(weight).op.split()[1])]
        return Node(f"linear {weight.shape[0]}->{weight.shape[1]} bias", size, (self._of(x),))


@cache
def on_meta(name: str, form: Form, shape: tuple[int, int, int], num_classes: int, **options: str | int) -> nn.Module:
    """Build a net without memory, once for all tests: do not change it."""
    with torch.device("meta"):
        return build(name, options, shape, num_classes, form=form).eval()


@cache
def graph_of(name: str, form: Form, shape: tuple[int, int, int], num_classes: int, **options: str | int) -> Node:
    """Return the graph of a net by name, recorded once for all tests."""
    return traced(on_meta(name, form, shape, num_classes, **options), shape)


def traced(net: nn.Module, shape: tuple[int, int, int]) -> Node:
    """Return the last operator of ``net`` (on the meta device) in evaluation; each parameter must be used once."""
    net.eval()
    with torch.no_grad(), _Recorder(torch.empty((1, *shape), device="meta")) as recorder:
        output = net(recorder.image)
    assert sorted(recorder.weights) == sorted(map(id, net.parameters()))
    return recorder.nodes[id(output)]


def conv_op(channels: tuple[int, int], kernel: int, stride: int, pad: int, groups: int) -> str:
    """Write a convolution that is the same in both directions."""
    plain = f"conv {channels[0]}->{channels[1]} {kernel}x{kernel} /{stride} pad {pad}"
    return f"{plain} groups {groups}" if groups > 1 else plain


def norm_op(channels: int, eps: float, momentum: float) -> str:
    return f"bn {channels} eps {eps:g} momentum {momentum:g}"


def pool_op(kernel: tuple[int, ...], stride: tuple[int, ...], pad: tuple[int, ...], ceil: bool) -> str:
    assert kernel[0] == kernel[-1]
    assert stride[0] == stride[-1]
    assert pad[0] == pad[-1]
    return f"max-pool {kernel[0]}x{kernel[0]} /{stride[0]} pad {pad[0]}{' sizes rounded up' if ceil else ''}"


def interpolate_op(aligned: bool) -> str:
    return f"interpolate bilinear{' corners aligned' if aligned else ''}"


def image(channels: int, height: int, width: int) -> Node:
    return Node("image", (channels, height, width))


def conv(x: Node, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> Node:
    """A convolution without bias, padded so that it keeps the size at stride 1: n -> ceil(n / stride)."""
    channels, height, width = x.size
    size = (outputs, -(-height // stride), -(-width // stride))
    return Node(conv_op((channels, outputs), kernel, stride, kernel // 2, groups), size, (x,))


def norm(x: Node) -> Node:
    """BatchNorm: eps 1e-5, running-average momentum 0.9, which PyTorch calls 0.1."""
    return Node(norm_op(x.size[0], 1e-5, 0.1), x.size, (x,))


def relu(x: Node, size: tuple[int, ...] | None = None) -> Node:
    fused = x.op.replace("bn", "bn-relu", 1) if x.word == "bn" else None
    return Node(fused or "relu", size or x.size, x.inputs if fused else (x,))


def norm_relu(x: Node) -> Node:
    return relu(norm(x))


def pool(x: Node) -> Node:
    """3x3, stride 2, no padding, sizes rounded up: n -> ceil((n - 3) / 2) + 1."""
    channels, height, width = x.size
    size = (channels, -(-(height - 3) // 2) + 1, -(-(width - 3) // 2) + 1)
    return Node(pool_op((3, 3), (2, 2), (0, 0), True), size, (x,))


def interpolate(x: Node, like: Node) -> Node:
    """To the height and width of ``like``, which gives nothing else."""
    return Node(interpolate_op(True), (x.size[0], *like.size[1:]), (x,))


def add(a: Node, b: Node) -> Node:
    assert a.size == b.size
    return Node("add", a.size, (a, b))


def mul(a: Node, b: Node) -> Node:
    assert a.size == b.size
    return Node("mul", a.size, (a, b))


def concatenate(*parts: Node) -> Node:
    return Node("concatenate", (sum(part.size[0] for part in parts), *parts[0].size[1:]), parts)


def classifier(x: Node, classes: int) -> Node:
    """Average over the whole map and a fully connected layer with bias."""
    average = Node("average", (x.size[0],), (x,))
    return Node(f"linear {x.size[0]}->{classes} bias", (classes,), (average,))
