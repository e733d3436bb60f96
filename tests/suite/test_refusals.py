"""Refusals of suites and protocols: each with its whole message, and all of a file's problems together."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranbench.errors import SuiteError
from ranbench.suite import load_suite

PROTOCOLS = "(allowed: cifar-paper, cifar-resnet, cifar-scaled, digits, imagenet-paper, smoke, tiny)"
AXES = (
    "(allowed: model, learning, attention, mask, p, t, r, r_scales, spatial_std, unit_order, dataset, input, noise, "
    "noise_drawn)"
)
SUITE_KEYS = (
    "(allowed: name, title, about, paper, reference, protocol, factor, seeds, datasets, cells, probes, cycles, "
    "published, cited, claims, deviations)"
)
NET_HELP = (
    "('ranbench list models' prints all; attention-N takes N = 36m + 20; timm:NAME, torchvision:NAME and "
    "package.module:factory name other nets)"
)
LEARNING = "learning: [residual, naive]"
CLAIM = "a: {learning: residual}, b: {learning: naive}, metric: error_pct"
PUBLISHED = "published:\n  - {cell: {learning: naive}, metric: error_pct, value: 5, unit: percent, where: table 3}\n"
VALUE = "kind: value, cell: {learning: naive}, metric: error_pct, margin: 0.5"


def refusal(file: Path, old: str = "", new: str = "") -> SuiteError:
    """Replace ``old`` by ``new`` in a file beside its suite ``tiny.yaml``, load the suite, and return the refusal."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    suite = file if file.parent.name != "protocols" else file.parent.parent / "tiny.yaml"
    with pytest.raises(SuiteError) as refused:
        load_suite(suite)
    assert refused.value.exit_code == 2
    assert len(str(refused.value).splitlines()) == 1
    return refused.value


def told(error: SuiteError, folder: Path) -> list[str]:
    """The problems as text, without the folder."""
    return [str(problem).replace(f"{folder}/", "") for problem in error.problems]


# What is replaced in the suite, by what, and the problems that follow.
SUITE_REFUSALS: dict[str, tuple[str, str, list[str]]] = {
    "unknown key": (
        "seeds: 2",
        "seed: 2",
        [
            f"tiny.yaml:5:1: seed: unknown key; did you mean 'seeds'? {SUITE_KEYS}",
            "tiny.yaml:1:1: seeds: this key is missing",
        ],
    ),
    "series in a claim": (
        "metric: error_pct",
        "metric: test_error_pct",
        [
            "tiny.yaml:13:93: claims.0.metric: test_error_pct is a series over iterations, not what a run ends with; "
            "expected error_pct"
        ],
    ),
    "an error that there cannot be": (
        "claims:",
        PUBLISHED.replace("value: 5", "value: 600") + "claims:",
        ["tiny.yaml:13:50: published.0.value: error_pct in percent cannot be 600 (allowed: 0 to 100)"],
    ),
    "a margin that allows anything": (
        "claims:",
        PUBLISHED + "claims:\n  - {id: any, " + VALUE.replace("0.5", "200") + "}",
        ["tiny.yaml:15:72: claims.0.margin: 200 percentage points allow any error_pct"],
    ),
    "unknown key far down": (
        "id: residual",
        "margn: 1, id: residual",
        [
            "tiny.yaml:13:6: claims.0.margn: unknown key "
            "(allowed: id, kind, says, where, over, a, b, metric, min_effect, allow_scaled)"
        ],
    ),
    "duplicate key": ("title:", "name: tiny\ntitle:", ["tiny.yaml:2:1: name: this key stands twice, first in line 1"]),
    "fewer than no seeds": (
        "seeds: 2",
        "seeds: -1",
        ["tiny.yaml:5:1: seeds: input should be greater than or equal to 0, got -1"],
    ),
    "unknown probe": (
        "claims:",
        "probes: [response]\nclaims:",
        ["tiny.yaml:12:10: probes.0: input should be 'responses', got 'response'"],
    ),
    "probe twice": (
        "claims:",
        "probes: [responses, responses]\nclaims:",
        ["tiny.yaml:12:21: probes.1: probe 'responses' stands twice"],
    ),
    "probe of a net whose stages are not known": (
        "  fixed: {model: attention-56, dataset: digits}\n  matrix:\n    learning: [residual, naive]\nclaims:\n"
        f"  - {{id: residual-beats-naive, kind: better, {CLAIM}}}",
        "  fixed: {model: 'timm:resnet18', dataset: digits}\nprobes: [responses]",
        [
            "tiny.yaml:10:10: probes.0: the stages of 'timm:resnet18' are not known, so their responses cannot be "
            "measured"
        ],
    ),
    "claim about what is not measured": (
        "metric: error_pct",
        "metric: response_stage2",
        [
            "tiny.yaml:13:93: claims.0.metric: response_stage2 is measured only where the suite says "
            "'probes: [responses]'"
        ],
    ),
    "claim about a stage that a net does not have": (
        f"claims:\n  - {{id: residual-beats-naive, kind: better, {CLAIM}}}",
        "probes: [responses]\nclaims:\n  - {id: residual-beats-naive, kind: better, a: {learning: residual}, "
        "b: {learning: naive}, metric: response_stage3_relative}",
        ["tiny.yaml:14:93: claims.0.metric: response_stage3_relative: attention-56 has 2 stages on digits"],
    ),
    "published response in another unit": (
        "claims:",
        "probes: [responses]\npublished:\n  - {cell: {learning: naive}, metric: response_stage2_relative, value: 0.02, "
        "unit: percent, where: figure 4}\nclaims:",
        ["tiny.yaml:14:78: published.0.unit: response_stage2_relative is in ratio, got 'percent'"],
    ),
    "no seeds, but protocols and a claim about runs": (
        "seeds: 2",
        "seeds: 0",
        [
            "tiny.yaml:3:1: reference: a suite with seeds: 0 trains nothing and has no protocol; "
            "remove this key or give it seeds",
            "tiny.yaml:4:1: protocol: a suite with seeds: 0 trains nothing and has no protocol; "
            "remove this key or give it seeds",
            "tiny.yaml:13:32: claims.0.kind: a claim of kind better needs trained runs, and the suite has seeds: 0",
        ],
    ),
    "no reference": (
        "reference: tiny\n",
        "",
        [
            "tiny.yaml:1:1: reference: this key is missing (a suite with seeds: 0, which trains nothing, has none)",
        ],
    ),
    "a claim about runs on a count": (
        CLAIM,
        CLAIM.replace("error_pct", "parameters"),
        ["tiny.yaml:13:93: claims.0.metric: parameters is a count, which a claim of kind complexity is about"],
    ),
    "a count without a published one": (
        f"kind: better, {CLAIM}",
        "kind: complexity, cell: {learning: naive}, metric: macs, tolerance_pct: 3",
        ["tiny.yaml:13:50: claims.0.cell: no published macs of learning naive to compare with"],
    ),
    "a complexity claim on an error": (
        f"kind: better, {CLAIM}",
        "kind: complexity, cell: {learning: naive}, metric: error_pct, tolerance_pct: 3",
        [
            "tiny.yaml:13:75: claims.0.metric: error_pct is no count "
            "(allowed: parameters, macs, depth, modules_1, modules_2, modules_3)"
        ],
    ),
    "a negative smallest effect": (
        CLAIM,
        f"{CLAIM}, min_effect: -0.1",
        ["tiny.yaml:13:112: claims.0.min_effect: input should be greater than or equal to 0, got -0.1"],
    ),
    "a negative margin": (
        f"kind: better, {CLAIM}",
        "kind: value, cell: {learning: naive}, metric: error_pct, margin: -0.5",
        ["tiny.yaml:13:89: claims.0.margin: input should be greater than 0, got -0.5"],
    ),
    "a claim over an axis that does not exist": (
        CLAIM,
        "over: [learnin], a: {mask: encoder-decoder}, b: {model: attention-56}, metric: error_pct",
        [f"tiny.yaml:13:53: claims.0.over.0: unknown axis; did you mean 'learning'? {AXES}"],
    ),
    "a claim over an axis that an arm fixes": (
        CLAIM,
        f"over: [learning], {CLAIM}",
        [
            "tiny.yaml:13:68: claims.0.a.learning: learning cannot have one value here and be ranged over",
            "tiny.yaml:13:93: claims.0.b.learning: learning cannot have one value here and be ranged over",
        ],
    ),
    "a claim over an axis twice": (
        CLAIM,
        f"over: [model, model], {CLAIM}",
        ["tiny.yaml:13:60: claims.0.over.1: model stands twice"],
    ),
    "a claim over one value": (
        CLAIM,
        f"over: [model], {CLAIM}",
        ["tiny.yaml:13:46: claims.0.over: there is one value only to range over; leave this key out"],
    ),
    "a ratio without a bound": (
        f"kind: better, {CLAIM}",
        f"kind: ratio, {CLAIM}",
        ["tiny.yaml:13:5: claims.0: expected either at_most or at_least, exactly one of them"],
    ),
    "a ratio with two bounds": (
        f"kind: better, {CLAIM}",
        f"kind: ratio, {CLAIM}, at_most: 1, at_least: 1",
        ["tiny.yaml:13:5: claims.0: expected either at_most or at_least, exactly one of them"],
    ),
    "a ratio at most zero": (
        f"kind: better, {CLAIM}",
        f"kind: ratio, {CLAIM}, at_most: 0",
        ["tiny.yaml:13:111: claims.0.at_most: input should be greater than 0, got 0"],
    ),
    "a trend of nothing": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: learning, metric: error_pct, direction: rising",
        ["tiny.yaml:13:5: claims.0: expected either cells, or both a and b for the trend of their gap"],
    ),
    "a trend of cells and a gap": (
        f"kind: better, {CLAIM}",
        f"kind: trend, along: noise, cells: {{}}, direction: rising, {CLAIM}",
        ["tiny.yaml:13:5: claims.0: expected either cells, or both a and b for the trend of their gap"],
    ),
    "a trend along an axis that does not exist": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: depth, cells: {}, metric: error_pct, direction: rising",
        [f"tiny.yaml:13:45: claims.0.along: unknown axis {AXES}"],
    ),
    "a trend along an axis that the cells fix": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: learning, cells: {learning: naive}, metric: error_pct, direction: rising",
        [
            "tiny.yaml:13:70: claims.0.cells.learning: learning cannot have one value here and be what the trend "
            "runs along"
        ],
    ),
    "a trend along one value": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: model, cells: {learning: naive}, metric: error_pct, direction: rising",
        ["tiny.yaml:13:45: claims.0.along: model has one value only here, so there is no trend"],
    ),
    "a trend over an order without numbers": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: learning, x: value, cells: {}, metric: error_pct, direction: rising",
        ["tiny.yaml:13:62: claims.0.x: learning has no numbers: 'residual' (allowed then: order, depth)"],
    ),
    "a trend over depths that are one": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: learning, x: depth, cells: {}, metric: error_pct, direction: rising",
        ["tiny.yaml:13:62: claims.0.x: along learning all nets have one depth (allowed then: order, value)"],
    ),
    "a trend in no direction": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: learning, cells: {}, metric: error_pct, direction: up",
        ["tiny.yaml:13:92: claims.0.direction: input should be 'rising' or 'falling', got 'up'"],
    ),
    "a trend of cells that are not there": (
        f"kind: better, {CLAIM}",
        "kind: trend, along: learning, cells: {noise: 0.5}, metric: error_pct, direction: rising",
        ["tiny.yaml:13:62: claims.0.cells: no cell of the suite has noise 0.5"],
    ),
    "a negative tolerance": (
        f"kind: better, {CLAIM}",
        "kind: complexity, cell: {learning: naive}, metric: macs, tolerance_pct: -3",
        ["tiny.yaml:13:89: claims.0.tolerance_pct: input should be greater than or equal to 0, got -3"],
    ),
    "a count in another unit": (
        "claims:",
        "published:\n  - {cell: {learning: naive}, metric: macs, value: 5, unit: percent, where: table 2}\nclaims:",
        ["tiny.yaml:13:55: published.0.unit: macs is in multiply-adds, got 'percent'"],
    ),
    "a cited number of an unknown metric": (
        "claims:",
        "cited:\n  - {name: x, metric: eror_pct, value: 5, unit: percent, where: table 2}\nclaims:",
        ["tiny.yaml:13:15: cited.0.metric: metric 'eror_pct' is not known; did you mean 'error_pct'?"],
    ),
    "a cited net that nobody knows": (
        "claims:",
        "cited:\n  - {name: x, model: resnet-165, metric: error_pct, value: 5, unit: percent, where: table 2}\nclaims:",
        [
            "tiny.yaml:13:15: cited.0.model: net 'resnet-165' is not known; did you mean 'resnet-164'? "
            "('ranbench list models' prints all that can be cited)"
        ],
    ),
    "a published value without unit": (
        "claims:",
        "published:\n  - {cell: {learning: naive}, metric: error_pct, value: 5, where: table 3}\nclaims:",
        ["tiny.yaml:13:5: published.0.unit: this key is missing"],
    ),
    "a published value of what is measured elsewhere": (
        "claims:",
        "published:\n  - {cell: {learning: naive}, metric: top5_error_pct, value: 5, unit: percent, where: x}\nclaims:",
        ["tiny.yaml:13:31: published.0.metric: top5_error_pct is measured on imagenet and imagefolder only"],
    ),
    "a cited number of an unknown dataset": (
        "claims:",
        "cited:\n  - {name: x, dataset: cifar, metric: error_pct, value: 5, unit: percent, where: x}\nclaims:",
        [
            "tiny.yaml:13:15: cited.0.dataset: dataset 'cifar' is not known; did you mean 'cifar10'? "
            "(allowed: cifar10, cifar100, imagenet, digits)"
        ],
    ),
    "a cited number in another unit": (
        "claims:",
        "cited:\n  - {name: x, metric: top5_error_pct, value: 5, unit: parts, where: table 2}\nclaims:",
        ["tiny.yaml:13:49: cited.0.unit: top5_error_pct is in percent, got 'parts'"],
    ),
    "a net without this form": (
        "attention-56",
        "attentionnext-56",
        [
            "tiny.yaml:9:11: cells.fixed.model: model 'attentionnext-56' has no form for digits images "
            "(datasets it takes: imagenet)"
        ],
    ),
    "an input size where images have one": (
        "dataset: digits}",
        "dataset: digits, input: 16}",
        ["tiny.yaml:9:49: cells.fixed.input: dataset 'digits' has images of 8x8, got input 16"],
    ),
    "an input size that is no number": (
        "dataset: digits}",
        "dataset: digits, input: large}",
        ["tiny.yaml:9:49: cells.fixed.input: expected the side of the input in pixels, got 'large'"],
    ),
    "a depth that p does not give": (
        "dataset: digits}",
        "dataset: digits, p: 2}",
        [
            "tiny.yaml:9:11: cells.fixed.model: model 'attention-56': a depth must be 54m + 20, for p = 2 and t = 2, "
            "with m of 1 or more; nearest: attention-74 or attention-128"
        ],
    ),
    "r as text": (
        "dataset: digits}",
        "dataset: digits, r: many}",
        ["tiny.yaml:9:49: cells.fixed.r: r 'many' is not allowed (allowed: whole numbers from 1 to 16)"],
    ),
    "too many seeds": (
        "seeds: 2",
        "seeds: 1001",
        ["tiny.yaml:5:1: seeds: input should be less than or equal to 1000, got 1001"],
    ),
    "true seeds": ("seeds: 2", "seeds: true", ["tiny.yaml:5:1: seeds: input should be a valid integer, got true"]),
    "broken seeds": ("seeds: 2", "seeds: 1.5", ["tiny.yaml:5:1: seeds: input should be a valid integer, got 1.5"]),
    "whole float seeds": ("seeds: 2", "seeds: 2.0", ["tiny.yaml:5:1: seeds: input should be a valid integer, got 2.0"]),
    "quoted seeds": ("seeds: 2", "seeds: '2'", ["tiny.yaml:5:1: seeds: input should be a valid integer, got '2'"]),
    "null seeds": ("seeds: 2", "seeds:", ["tiny.yaml:5:1: seeds: input should be a valid integer, got nothing"]),
    "seeds with underscore": (
        "seeds: 2",
        "seeds: 1_0",
        ["tiny.yaml:5:1: seeds: input should be a valid integer, got '1_0'"],
    ),
    "another name": (
        "name: tiny",
        "name: tinny",
        ["tiny.yaml:1:1: name: is 'tinny', but the file is called 'tiny'; they must be equal"],
    ),
    "capital name": (
        "name: tiny",
        "name: Tiny",
        ["tiny.yaml:1:1: name: expected small letters, digits and hyphens, got 'Tiny'"],
    ),
    "number as title": ("title: Res", "title: 5 #", ["tiny.yaml:2:1: title: expected text, got 5; put it in quotes"]),
    "arXiv number without quotes": (
        "title: Res",
        "paper: {arxiv: 1704.06904}\ntitle: Res",
        ["tiny.yaml:2:9: paper.arxiv: expected text, got 1704.06904; put it in quotes"],
    ),
    "paper as text": (
        "title: Res",
        "paper: yes\ntitle: Res",
        ["tiny.yaml:2:1: paper: expected a mapping, got 'yes'"],
    ),
    "unknown reference": (
        "reference: tiny",
        "reference: tinny",
        [f"tiny.yaml:3:1: reference: protocol 'tinny' is not known; did you mean 'tiny'? {PROTOCOLS}"],
    ),
    "unknown protocol": (
        "protocol: tiny",
        "protocol: no",
        [f"tiny.yaml:4:1: protocol: protocol 'no' is not known {PROTOCOLS}"],
    ),
    "protocol as a path": (
        "protocol: tiny",
        "protocol: ../tiny",
        [f"tiny.yaml:4:1: protocol: protocol '../tiny' is not known; did you mean 'tiny'? {PROTOCOLS}"],
    ),
    "protocol as a file": (
        "protocol: tiny",
        "protocol: tiny.yaml",
        [f"tiny.yaml:4:1: protocol: protocol 'tiny.yaml' is not known; did you mean 'tiny'? {PROTOCOLS}"],
    ),
    "reference that is derived": (
        "reference: tiny",
        "reference: smoke",
        ["tiny.yaml:3:1: reference: protocol 'smoke' is derived from a reference and cannot be one"],
    ),
    "split too large": (
        "train: 200",
        "train: 2000",
        [
            "tiny.yaml:7:3: datasets.digits: dataset 'digits': the split 2000/100 must leave at least 10 images "
            "on either side and sum to at most 1797"
        ],
    ),
    "split of cifar10": (
        "digits: {train: 200, test: 100}\ncells:\n  fixed: {model: attention-56, dataset: digits}",
        "cifar10: {train: 200, test: 100}\ncells:\n  fixed: {model: attention-56, dataset: cifar10}",
        [
            "tiny.yaml:7:3: datasets.cifar10: dataset 'cifar10' has a fixed split of 50000/10000, got 200/100",
        ],
    ),
    "split that no cell uses": (
        "digits: {train",
        "digts: {train",
        ["tiny.yaml:7:3: datasets.digts: no cell of the suite has this dataset; did you mean 'digits'?"],
    ),
    "unknown model": (
        "attention-56",
        "atention-56",
        [
            "tiny.yaml:9:11: cells.fixed.model: model 'atention-56' is not known; did you mean 'attention-56'? "
            + NET_HELP
        ],
    ),
    "impossible depth": (
        "attention-56",
        "attention-57",
        [
            "tiny.yaml:9:11: cells.fixed.model: model 'attention-57': a depth must be 36m + 20 with m of 1 or more; "
            "nearest: attention-56 or attention-92"
        ],
    ),
    "no model": (
        "model: attention-56, ",
        "",
        ["tiny.yaml:8:1: cells: every cell needs a model, by name; got nothing"],
    ),
    "number as a model": (
        "attention-56",
        "56",
        ["tiny.yaml:9:11: cells.fixed.model: every cell needs a model, by name; got 56"],
    ),
    "unknown dataset": (
        "dataset: digits",
        "dataset: digit",
        [
            "tiny.yaml:9:32: cells.fixed.dataset: dataset 'digit' is not known; did you mean 'digits'? "
            "(allowed: cifar10, cifar100, imagenet, digits, imagefolder, package.module:factory)",
            "tiny.yaml:7:3: datasets.digits: no cell of the suite has this dataset; did you mean 'digit'?",
        ],
    ),
    "unknown axis": (
        LEARNING,
        "lerning: [residual, naive]",
        [
            f"tiny.yaml:11:5: cells.matrix.lerning: unknown axis; did you mean 'learning'? {AXES}",
        ],
    ),
    "unknown value of an option": (
        LEARNING,
        "learning: [residual, naiv]",
        [
            "tiny.yaml:11:26: cells.matrix.learning.1: learning 'naiv' is not known; did you mean 'naive'? "
            "(allowed: residual, naive)"
        ],
    ),
    "option that the net does not have": (
        "attention-56",
        "resnet-164",
        [
            "tiny.yaml:11:16: cells.matrix.learning.0: model 'resnet-164' has no option 'learning' "
            "(it has: unit_order)",
            "tiny.yaml:11:26: cells.matrix.learning.1: model 'resnet-164' has no option 'learning' "
            "(it has: unit_order)",
        ],
    ),
    "true in the matrix": (
        LEARNING,
        "learning: [residual, true]",
        ["tiny.yaml:11:26: cells.matrix.learning.1: expected text or a number, got true"],
    ),
    "null in the matrix": (
        LEARNING,
        "learning: [residual, ~]",
        ["tiny.yaml:11:26: cells.matrix.learning.1: expected text or a number, got nothing"],
    ),
    "list in the matrix": (
        LEARNING,
        "learning: [residual, [naive]]",
        ["tiny.yaml:11:26: cells.matrix.learning.1: expected text or a number, got a list"],
    ),
    "axis without values": (
        LEARNING,
        "learning: []",
        ["tiny.yaml:11:5: cells.matrix.learning: expected at least one value"],
    ),
    "axis that is no list": (
        LEARNING,
        "learning: naive",
        ["tiny.yaml:11:5: cells.matrix.learning: input should be a valid list, got 'naive'"],
    ),
    "axis fixed and varied": (
        "dataset: digits}",
        "dataset: digits, learning: naive}",
        ["tiny.yaml:11:5: cells.matrix.learning: this axis has a fixed value already"],
    ),
    "cell twice": (
        LEARNING,
        "learning: [residual, naive, naive]",
        ["tiny.yaml:10:3: cells.matrix: the cell model attention-56, dataset digits, learning naive stands twice"],
    ),
    "cell included that stands in the matrix": (
        "  matrix:",
        "  include: [{learning: naive}]\n  matrix:",
        ["tiny.yaml:10:13: cells.include.0: the cell model attention-56, dataset digits, learning naive stands twice"],
    ),
    "wrong value in an included cell": (
        "  matrix:",
        "  include: [{learning: naive, noise: 1.5}]\n  matrix:",
        ["tiny.yaml:10:31: cells.include.0.noise: expected a share from 0 to below 1, got 1.5"],
    ),
    "all noise": (
        LEARNING,
        f"{LEARNING}\n    noise: [0.1, 1.0]",
        ["tiny.yaml:12:18: cells.matrix.noise.1: expected a share from 0 to below 1, got 1.0"],
    ),
    "negative noise": (
        "digits}",
        "digits, noise: -0.1}",
        ["tiny.yaml:9:49: cells.fixed.noise: expected a share from 0 to below 1, got -0.1"],
    ),
    "true noise": (
        "digits}",
        "digits, noise: true}",
        ["tiny.yaml:9:49: cells.fixed.noise: expected text or a number, got true"],
    ),
    "noise in words": (
        "digits}",
        "digits, noise: x}",
        ["tiny.yaml:9:49: cells.fixed.noise: expected a share from 0 to below 1, got 'x'"],
    ),
    "noise drawn in another way": (
        "digits}",
        "digits, noise: 0.1, noise_drawn: each-epok}",
        [
            "tiny.yaml:9:61: cells.fixed.noise_drawn: 'each-epok' is not known; did you mean 'each-epoch'? "
            "(allowed: once, each-epoch)"
        ],
    ),
    "a deviation that spatial attention does not have": (
        "digits}",
        "digits, spatial_std: robust}",
        ["tiny.yaml:9:49: cells.fixed.spatial_std: spatial_std 'robust' is not known (allowed: biased, unbiased)"],
    ),
    "an order that units do not have": (
        "digits}",
        "digits, unit_order: post}",
        [
            "tiny.yaml:9:49: cells.fixed.unit_order: unit_order 'post' is not known "
            "(allowed: pre-activation, post-activation)"
        ],
    ),
    "an order of units on imagenet": (
        "fixed: {model: attention-56, dataset: digits}",
        "fixed: {model: attention-56, dataset: imagenet, unit_order: post-activation}",
        [
            "tiny.yaml:9:51: cells.fixed.unit_order: model 'attention-56' on imagenet has unit_order pre-activation, "
            "which its authors define; got 'post-activation' (it may be chosen in the cifar and digits forms)",
            "tiny.yaml:7:3: datasets.digits: no cell of the suite has this dataset",
        ],
    ),
    "noise that is no number": (
        "digits}",
        "digits, noise: .nan}",
        ["tiny.yaml:9:49: cells.fixed.noise: expected text or a number, got nan"],
    ),
    "more cells than can be meant": (
        LEARNING,
        "".join(f"\n    {axis}: [{'0,' * 900}]" for axis in ("learning", "attention", "mask", "noise")),
        ["tiny.yaml:8:1: cells: makes 656,100,000,000 cells, more than the 1,000 that are allowed"],
    ),
    "unknown kind of claim": (
        "kind: better",
        "kind: best",
        ["tiny.yaml:13:32: claims.0.kind: 'best' is not known (allowed: better, value, trend, ratio, complexity)"],
    ),
    "claim without a kind": ("kind: better, ", "", ["tiny.yaml:13:5: claims.0.kind: this key is missing"]),
    "claim without its cell": ("a: {learning: residual}, ", "", ["tiny.yaml:13:5: claims.0.a: this key is missing"]),
    "value without a margin": (
        f"kind: better, {CLAIM}",
        VALUE.replace(", margin: 0.5", ""),
        ["tiny.yaml:13:5: claims.0.margin: this key is missing"],
    ),
    "value without a published value": (
        f"kind: better, {CLAIM}",
        VALUE,
        ["tiny.yaml:13:45: claims.0.cell: no published error_pct of learning naive to compare with"],
    ),
    "claim of an unknown metric": (
        "error_pct",
        "eror_pct",
        ["tiny.yaml:13:93: claims.0.metric: metric 'eror_pct' is not known; did you mean 'error_pct'?"],
    ),
    "claim on a cell that is not there": (
        "a: {learning: residual}",
        "a: {model: attention-92}",
        ["tiny.yaml:13:46: claims.0.a: no cell of the suite has model attention-92"],
    ),
    "claim on an ambiguous cell": (
        "a: {learning: residual}",
        "a: {model: attention-56}",
        ["tiny.yaml:13:46: claims.0.a: model attention-56 names 2 cells; add learning"],
    ),
    "depth of an ImageNet net": (
        "fixed: {model: attention-56, dataset: digits}",
        "fixed: {model: attention-92, dataset: imagenet, p: 2}",
        [
            "tiny.yaml:9:11: cells.fixed.model: model 'attention-92' on imagenet has p = 1 and t = 2, which its depth "
            "is made of; got p = 2 and t = 2 (r may be chosen)",
            "tiny.yaml:7:3: datasets.digits: no cell of the suite has this dataset",
        ],
    ),
    "a dataset that the protocol does not fit": (
        "dataset: digits}",
        "dataset: imagenet}",
        [
            "tiny.yaml:7:3: datasets.digits: no cell of the suite has this dataset",
            "tiny.yaml:4:1: protocol: 'tiny' does not fit: the images of 'imagenet' have many sizes, so "
            "augmentation.scale, evaluation.resize and evaluation.crop are needed",
        ],
    ),
    "claim on any cell": (
        "a: {learning: residual}",
        "a: {}",
        ["tiny.yaml:13:46: claims.0.a: an empty selection names 2 cells; add learning"],
    ),
    "claim on an unknown axis": (
        "a: {learning: residual}",
        "a: {learnin: residual}",
        [f"tiny.yaml:13:50: claims.0.a.learnin: unknown axis; did you mean 'learning'? {AXES}"],
    ),
    "claim of a cell against itself": (
        "a: {learning: residual}",
        "a: {learning: naive}",
        ["tiny.yaml:13:68: claims.0.b: a and b are the same cell"],
    ),
    "claim twice": (
        "claims:\n",
        f"claims:\n  - {{id: residual-beats-naive, kind: better, {CLAIM}}}\n",
        ["tiny.yaml:14:6: claims.1.id: claim 'residual-beats-naive' stands twice"],
    ),
    "claim that wants less than nothing": (
        CLAIM,
        f"{CLAIM}, min_effect: -1",
        ["tiny.yaml:13:112: claims.0.min_effect: input should be greater than or equal to 0, got -1"],
    ),
    "published value of a wrong unit": (
        "claims:",
        PUBLISHED.replace("percent", "fraction") + "claims:",
        ["tiny.yaml:13:60: published.0.unit: error_pct is in percent, got 'fraction'"],
    ),
    "published value of an unknown metric": (
        "claims:",
        PUBLISHED.replace("error_pct", "accuracy") + "claims:",
        ["tiny.yaml:13:31: published.0.metric: metric 'accuracy' is not known"],
    ),
    "published value that is no number": (
        "claims:",
        PUBLISHED.replace("value: 5", "value: .inf") + "claims:",
        ["tiny.yaml:13:50: published.0.value: input should be a finite number, got inf"],
    ),
    "published value twice": (
        "claims:",
        PUBLISHED + PUBLISHED.splitlines()[1] + "\nclaims:",
        ["tiny.yaml:14:5: published.1: the published error_pct of learning naive stands twice"],
    ),
    "claim that asks the same as another": (
        "claims:",
        "claims:\n  - {id: again, says: other words, where: elsewhere, kind: better, a: {learning: residual}, "
        "b: {learning: naive}, metric: error_pct, allow_scaled: true}",
        ["tiny.yaml:14:6: claims.1.id: claim 'residual-beats-naive' asks the same as 'again'; leave one of them out"],
    ),
    "published value of no cell": (
        "claims:",
        PUBLISHED.replace("naive", "other") + "claims:",
        ["tiny.yaml:13:6: published.0.cell: no cell of the suite has learning other"],
    ),
    "cycle of no cell": (
        "claims:",
        "cycles:\n  - {cell: {learning: other}, cycle: weekly}\nclaims:",
        ["tiny.yaml:13:6: cycles.0.cell: no cell of the suite has learning other"],
    ),
    "cycle of a cell given twice": (
        "claims:",
        "cycles:\n  - {cell: {learning: naive}, cycle: weekly}\n  - {cell: {learning: naive}, cycle: monthly}\nclaims:",
        [
            "tiny.yaml:14:6: cycles.1.cell: a cell of learning naive is named by an entry before",
        ],
    ),
    "cycle by an unknown axis": (
        "claims:",
        "cycles:\n  - {cell: {learnin: naive}, cycle: weekly}\nclaims:",
        [f"tiny.yaml:13:13: cycles.0.cell.learnin: unknown axis; did you mean 'learning'? {AXES}"],
    ),
    "deviation of no cell": (
        "claims:",
        "deviations:\n  - {id: a, text: b, cell: {learning: other}}\nclaims:",
        ["tiny.yaml:13:22: deviations.0.cell: no cell of the suite has learning other"],
    ),
    "deviation twice": (
        "claims:",
        "deviations:\n  - {id: a, text: b}\n  - {id: a, text: c}\nclaims:",
        ["tiny.yaml:14:6: deviations.1.id: deviation 'a' stands twice"],
    ),
}


@pytest.mark.parametrize(("old", "new", "problems"), SUITE_REFUSALS.values(), ids=SUITE_REFUSALS)
def test_a_suite_that_does_not_hold_is_refused(tiny_suite: Path, old: str, new: str, problems: list[str]) -> None:
    error = refusal(tiny_suite, old, new)

    more = len(problems) - 1
    tail = f" (and {more} more: see 'ranbench validate')" if more else ""
    assert told(error, tiny_suite.parent) == problems
    assert str(error) == f"{tiny_suite.parent}/{problems[0]}{tail}"


CYCLE = "{kind: one-cycle, lr: 0.1, rise: 0.5, start: 0.1, end: 0.0}"

# The same for the protocol.
PROTOCOL_REFUSALS: dict[str, tuple[str, str, str]] = {
    "lr in words": ("lr: 0.1", "lr: fast", "3:29: schedule.lr: input should be a valid number, got 'fast'"),
    "lr that is no number": ("lr: 0.1", "lr: .nan", "3:29: schedule.lr: input should be a finite number, got nan"),
    "endless lr": ("lr: 0.1", "lr: .inf", "3:29: schedule.lr: input should be a finite number, got inf"),
    "quoted lr": ("lr: 0.1", "lr: '0.1'", "3:29: schedule.lr: input should be a valid number, got '0.1'"),
    "true lr": ("lr: 0.1", "lr: true", "3:29: schedule.lr: input should be a valid number, got true"),
    "no lr": ("lr: 0.1", "lr: 0", "3:29: schedule.lr: input should be greater than 0, got 0"),
    "negative iterations": (
        "iterations: 6",
        "iterations: -6",
        "1:1: iterations: input should be greater than 0, got -6",
    ),
    "broken batch": ("batch: 32", "batch: 32.5", "2:1: batch: input should be a valid integer, got 32.5"),
    "unknown key": (
        "batch: 32",
        "batch: 32\nepochs: 3",
        "3:1: epochs: unknown key (allowed: iterations, batch, schedule, optimizer, augmentation, evaluation, "
        "initialisation, precision, last_batch, norm_batch)",
    ),
    "unknown key of a schedule": (
        "rise: 0.5",
        "rise: 0.5, rises: 1",
        "3:49: schedule.rises: unknown key; did you mean 'rise'? (allowed: kind, lr, rise, start, end)",
    ),
    "missing key of a schedule": (", end: 0.0", "", "3:1: schedule.end: this key is missing"),
    "unknown schedule": (
        "kind: one-cycle",
        "kind: linear",
        "3:12: schedule.kind: 'linear' is not known (allowed: steps, cosine, one-cycle)",
    ),
    "schedule without a kind": ("kind: one-cycle, ", "", "3:1: schedule.kind: this key is missing"),
    "drops beyond the iterations": (
        CYCLE,
        "{kind: steps, lr: 0.1, drops: [2, 6], factor: 0.1}",
        "3:1: schedule: drops must lie before the last of 6 iterations",
    ),
    "drops that do not ascend": (
        CYCLE,
        "{kind: steps, lr: 0.1, drops: [3, 2], factor: 0.1}",
        "3:34: schedule.drops: drops must ascend",
    ),
    "nesterov without momentum": (
        "momentum: 0.9",
        "momentum: 0",
        "4:1: optimizer: nesterov needs a momentum above 0",
    ),
    "number for a switch": (
        "flip: false",
        "flip: 0",
        "5:37: augmentation.flip: input should be a valid boolean, got 0",
    ),
    "unknown precision": (
        "precision: float32",
        "precision: float16",
        "8:1: precision: input should be 'float32', 'tf32' or 'bf16', got 'float16'",
    ),
    "unknown way with the last batch": (
        "precision: float32",
        "precision: float32\nlast_batch: fill",
        "9:1: last_batch: input should be 'run-on', 'partial' or 'drop', got 'fill'",
    ),
    "warm-up of a cycle": (
        "end: 0.0",
        "end: 0.0, warm_up: {iterations: 1, start: 0.1}",
        "3:71: schedule.warm_up: unknown key (allowed: kind, lr, rise, start, end)",
    ),
    "warm-up as a number": (
        CYCLE,
        "{kind: cosine, lr: 0.1, end: 0.0, warm_up: 3}",
        "3:45: schedule.warm_up: expected a mapping, got 3",
    ),
    "unknown key of a warm-up": (
        CYCLE,
        "{kind: cosine, lr: 0.1, end: 0.0, warm_up: {iterations: 3, start: 0.1, iteration: 3}}",
        "3:82: schedule.warm_up.iteration: unknown key; did you mean 'iterations'? (allowed: iterations, start)",
    ),
    "warm-up from nothing": (
        CYCLE,
        "{kind: cosine, lr: 0.1, end: 0.0, warm_up: {iterations: 3, start: 0}}",
        "3:70: schedule.warm_up.start: input should be greater than 0, got 0",
    ),
    "warm-up as long as the run": (
        CYCLE,
        "{kind: cosine, lr: 0.1, end: 0.0, warm_up: {iterations: 6, start: 0.1}}",
        "3:1: schedule: the warm-up must be shorter than the run of 6, got 6",
    ),
    "cosine to more than its rate": (
        CYCLE,
        "{kind: cosine, lr: 0.1, end: 1.5}",
        "3:35: schedule.end: input should be less than or equal to 1, got 1.5",
    ),
    "decay of BatchNorm in words": (
        "weight_decay: 1e-4",
        "weight_decay: 1e-4, decay_norm: never",
        "4:64: optimizer.decay_norm: input should be a valid boolean, got 'never'",
    ),
    "unknown mean": (
        "mean: image",
        "mean: pixel",
        "5:16: augmentation.mean: input should be 'image', 'channel' or 'none', got 'pixel'",
    ),
    "scale without aspect": (
        "flip: false",
        "flip: false, scale: [0.1, 1]",
        "5:1: augmentation: scale and aspect belong together, aspect is missing",
    ),
    "aspect without scale": (
        "flip: false",
        "flip: false, aspect: [0.5, 2]",
        "5:1: augmentation: scale and aspect belong together, scale is missing",
    ),
    "scale with padding": (
        "{mean: image, pad: 0, flip: false}",
        "{mean: channel, pad: 4, flip: false, scale: [0.1, 1], aspect: [0.5, 2]}",
        "5:1: augmentation: a crop by scale and aspect has no padding, got pad 4; use pad 0",
    ),
    "scale with a mean image": (
        "flip: false",
        "flip: false, scale: [0.1, 1], aspect: [0.5, 2]",
        "5:1: augmentation: scale does not go with mean image, which fits whole images only; use mean channel",
    ),
    "scale as one number": (
        "flip: false",
        "flip: false, scale: 0.5, aspect: [0.5, 2]",
        "5:50: augmentation.scale: expected two numbers, the lowest and the highest",
    ),
    "scale with three numbers": (
        "flip: false",
        "flip: false, scale: [0.1, 0.5, 1], aspect: [0.5, 2]",
        "5:50: augmentation.scale: expected two numbers, the lowest and the highest",
    ),
    "scale in words": (
        "flip: false",
        "flip: false, scale: [small, 1], aspect: [0.5, 2]",
        "5:58: augmentation.scale.0: input should be a valid number, got 'small'",
    ),
    "scale beyond the image": (
        "flip: false",
        "flip: false, scale: [0.1, 1.5], aspect: [0.5, 2]",
        "5:50: augmentation.scale: a crop has at most the whole area, 1, got 1.5",
    ),
    "aspect from high to low": (
        "flip: false",
        "flip: false, scale: [0.1, 1], aspect: [2, 0.5]",
        "5:67: augmentation.aspect: the lowest must come first, got 2 and 0.5",
    ),
    "order without padding": (
        "flip: false",
        "flip: false, order: pad-then-subtract",
        "5:1: augmentation: order pad-then-subtract says nothing where pad is 0; leave order out",
    ),
    "order without a mean": (
        "{mean: image, pad: 0, flip: false}",
        "{mean: none, pad: 4, flip: false, order: pad-then-subtract}",
        "5:1: augmentation: order pad-then-subtract says nothing where mean is none; leave order out",
    ),
    "crop of an evaluation with a mean image": (
        "every: 3",
        "every: 3, crop: 6",
        "6:1: evaluation: crop does not go with augmentation.mean image, which fits whole images only; "
        "use mean channel",
    ),
    "crop larger than what it is cut from": (
        "every: 3",
        "every: 3, resize: 6, crop: 8",
        "6:1: evaluation: a crop of 8 pixels is larger than the shorter side of 6",
    ),
}


@pytest.mark.parametrize(("old", "new", "problem"), PROTOCOL_REFUSALS.values(), ids=PROTOCOL_REFUSALS)
def test_a_protocol_that_does_not_hold_is_refused(tiny_suite: Path, old: str, new: str, problem: str) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"

    error = refusal(protocol, old, new)

    assert str(error) == f"{protocol}:{problem}"
    assert told(error, protocol.parent) == [f"tiny.yaml:{problem}"]


# What a protocol that is derived from the reference may not say, and what cannot be made of the reference.
REDUCTION_REFUSALS: dict[str, tuple[str, list[str]]] = {
    "neither iterations nor factor": (
        "of: reference",
        ["short.yaml:1:1: expected either iterations or factor, exactly one of them"],
    ),
    "both": (
        "of: reference\niterations: 3\nfactor: 0.5\nevaluation: {every: 3}",
        ["short.yaml:1:1: expected either iterations or factor, exactly one of them"],
    ),
    "iterations without an evaluation": (
        "of: reference\niterations: 3",
        ["short.yaml:1:1: evaluation is missing, which a reduction to a number of iterations needs"],
    ),
    "a factor of one": (
        "of: reference\nfactor: 1",
        ["short.yaml:2:1: factor: input should be less than 1, got 1"],
    ),
    "no factor": (
        "of: reference\nfactor: 0.0",
        ["short.yaml:2:1: factor: input should be greater than 0, got 0.0"],
    ),
    "a factor in words": (
        "of: reference\nfactor: half",
        ["short.yaml:2:1: factor: input should be a valid number, got 'half'"],
    ),
    "another size of images": (
        "of: reference\nfactor: 0.5\nevaluation: {every: 3, crop: 6}",
        ["short.yaml:3:24: evaluation.crop: unknown key (allowed: every, images)"],
    ),
    "derived from something else": (
        "of: tiny\nfactor: 0.5",
        ["short.yaml:1:1: of: input should be 'reference', got 'tiny'"],
    ),
    "nothing left": (
        "of: reference\nfactor: 0.001",
        ["tiny.yaml:4:1: protocol: factor 0.001 leaves none of 60 iterations; use a larger one"],
    ),
    "drops that fall together": (
        "of: reference\nfactor: 0.1",
        [
            "tiny.yaml:4:1: protocol: factor 0.1 leaves 6 iterations with drops at 2, 2, which are not distinct and "
            "inside; use a larger one"
        ],
    ),
    "a drop that falls out": (
        "of: reference\nfactor: 0.02",
        [
            "tiny.yaml:4:1: protocol: factor 0.02 leaves 1 iterations with drops at 0, 0, which are not distinct and "
            "inside; use a larger one"
        ],
    ),
}


@pytest.mark.parametrize(("text", "problems"), REDUCTION_REFUSALS.values(), ids=REDUCTION_REFUSALS)
def test_a_reduction_that_does_not_hold_is_refused(tiny_suite: Path, text: str, problems: list[str]) -> None:
    folder = tiny_suite.parent / "protocols"
    reference = (folder / "tiny.yaml").read_text().replace("iterations: 6", "iterations: 60")
    steps = "{kind: steps, lr: 0.1, drops: [20, 24], factor: 0.1}"
    (folder / "tiny.yaml").write_text(reference.replace(CYCLE, steps))
    (folder / "short.yaml").write_text(text + "\n")

    error = refusal(tiny_suite, "protocol: tiny", "protocol: short")

    assert [line.removeprefix("protocols/") for line in told(error, tiny_suite.parent)] == problems


FACTOR_REFUSALS: dict[str, tuple[str, list[str]]] = {
    "of a protocol that takes none": (
        "protocol: tiny\nfactor: 0.5",
        ["tiny.yaml:5:1: factor: protocol 'tiny' takes no factor (those that do: cifar-scaled)"],
    ),
    "of a fixed length": (
        "protocol: smoke\nfactor: 0.5",
        ["tiny.yaml:5:1: factor: protocol 'smoke' takes no factor (those that do: cifar-scaled)"],
    ),
    "that leaves nothing": (
        "protocol: cifar-scaled\nfactor: 0.01",
        ["tiny.yaml:5:1: factor: factor 0.01 leaves none of 6 iterations; use a larger one"],
    ),
    "above one": (
        "protocol: cifar-scaled\nfactor: 10",
        ["tiny.yaml:5:1: factor: input should be less than 1, got 10"],
    ),
    "in a suite that trains nothing": (
        "factor: 0.5\nseeds: 0",
        [
            "tiny.yaml:3:1: factor: a suite with seeds: 0 trains nothing and has no protocol; "
            "remove this key or give it seeds"
        ],
    ),
}


@pytest.mark.parametrize(("new", "problems"), FACTOR_REFUSALS.values(), ids=FACTOR_REFUSALS)
def test_a_factor_that_cannot_be_applied_is_refused(tiny_suite: Path, new: str, problems: list[str]) -> None:
    if "seeds: 0" in new:
        text = tiny_suite.read_text().split("claims:")[0]
        tiny_suite.write_text(text.replace("reference: tiny\n", "").replace("seeds: 2\n", ""))

    error = refusal(tiny_suite, "protocol: tiny", new)

    assert told(error, tiny_suite.parent) == problems


UNFIT_PROTOCOLS: dict[str, tuple[str, str, str]] = {
    "colour of grey images": (
        "flip: false",
        "flip: false, colour: pca",
        "augmentation.colour pca needs images of three channels, and those of 'digits' have 1",
    ),
    "crop larger than the images": (
        "mean: image, pad: 0, flip: false}\nevaluation: {every: 3",
        "mean: none, pad: 0, flip: false}\nevaluation: {every: 3, crop: 16",
        "evaluation.crop 16 is larger than the images of 'digits', 8x8; add evaluation.resize",
    ),
    "no full batch": (
        "batch: 32",
        "batch: 256\nlast_batch: drop",
        "last_batch drop leaves nothing: 200 training images fill no batch of 256",
    ),
}


@pytest.mark.parametrize(("old", "new", "text"), UNFIT_PROTOCOLS.values(), ids=UNFIT_PROTOCOLS)
def test_a_protocol_that_does_not_fit_the_images_is_refused(tiny_suite: Path, old: str, new: str, text: str) -> None:
    error = refusal(tiny_suite.parent / "protocols" / "tiny.yaml", old, new)

    assert told(error, tiny_suite.parent) == [f"tiny.yaml:4:1: protocol: 'tiny' does not fit: {text}"]


def test_images_of_many_sizes_need_a_protocol_that_gives_them_one(tiny_suite: Path) -> None:
    text = tiny_suite.read_text().replace("dataset: digits", "dataset: imagenet")
    text = text.replace("datasets:\n  digits: {train: 200, test: 100}\n", "")

    error = refusal_of_text(tiny_suite, text)

    assert told(error, tiny_suite.parent) == [
        "tiny.yaml:4:1: protocol: 'tiny' does not fit: the images of 'imagenet' have many sizes, so "
        "augmentation.scale, evaluation.resize and evaluation.crop are needed"
    ]


def test_a_protocol_file_without_a_value_is_told_where_the_suite_names_it(tiny_suite: Path) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"
    protocol.write_text("")

    error = refusal(tiny_suite)

    assert str(error) == f"{tiny_suite}:3:1: reference: {protocol}: is empty, expected a mapping"


@pytest.mark.parametrize("net", ["torchvision:resnet18", "mynets:tiny", "inception-resnet-v2"])
def test_a_claim_about_a_depth_that_cannot_be_counted_is_refused(tiny_suite: Path, net: str) -> None:
    text = (
        "name: tiny\ntitle: Depth\nseeds: 0\n"
        f"cells: {{fixed: {{dataset: imagenet, model: '{net}'}}}}\n"
        "published: [{cell: {}, metric: depth, value: 18, unit: layers, where: here}]\n"
        "claims:\n  - {id: deep, kind: complexity, cell: {}, metric: depth, tolerance_pct: 0}\n"
    )

    error = refusal_of_text(tiny_suite, text)

    assert told(error, tiny_suite.parent) == [
        f"tiny.yaml:7:44: claims.0.metric: the depth of {net!r} cannot be counted, so no claim about it can be judged "
        "(parameters and macs can)"
    ]


TWO_AXES = """\
name: tiny
title: Claims over a matrix
reference: tiny
protocol: tiny
seeds: 2
datasets: {digits: {train: 200, test: 100}}
cells:
  fixed: {dataset: digits}
  matrix: {model: [attention-56, attention-92], learning: [residual, naive]}
  include: [{model: attention-128, learning: naive}, {model: resnet-164}]
claims:
"""


@pytest.mark.parametrize(
    ("claim", "problem"),
    [
        (
            "kind: better, over: [model], a: {learning: residual}, b: {learning: naive}",
            "12:42: claims.0.a: no cell of the suite has learning residual at model attention-128",
        ),
        (
            "kind: better, over: [learning], a: {model: attention-56}, b: {model: resnet-164}",
            "12:71: claims.0.b: model resnet-164 names a cell of resnet-164, which has no learning",
        ),
        (
            "kind: ratio, at_most: 1, over: [learning], a: {dataset: digits}, b: {model: attention-56}",
            "12:56: claims.0.a: dataset digits, learning residual names 2 cells; add model",
        ),
        (
            "kind: trend, direction: rising, along: model, a: {learning: residual}, b: {learning: naive}",
            "12:59: claims.0.a: no cell of the suite has learning residual at model attention-128",
        ),
        (
            "kind: trend, direction: rising, along: learning, cells: {dataset: digits}",
            "12:62: claims.0.cells: dataset digits, learning residual names 2 cells; add model",
        ),
    ],
)
def test_a_claim_over_a_matrix_that_has_gaps_is_refused(tiny_suite: Path, claim: str, problem: str) -> None:
    tiny_suite.write_text(f"{TWO_AXES}  - {{id: x, {claim}, metric: error_pct}}\n")

    error = refusal(tiny_suite)

    assert told(error, tiny_suite.parent) == [f"tiny.yaml:{problem}"]


def test_a_claim_about_the_modules_of_a_net_that_has_none_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(
        "name: plain\ntitle: A net without attention\nseeds: 0\n"
        "cells:\n  fixed: {model: resnet-164, dataset: cifar10}\n"
        "published:\n  - {cell: {}, metric: modules_1, value: 1, unit: modules, where: table 2}\n"
        "claims:\n  - {id: modules, kind: complexity, cell: {}, metric: modules_1, tolerance_pct: 0}\n"
    )

    error = refusal(file)

    assert told(error, tmp_path) == [
        "plain.yaml:9:47: claims.0.metric: 'resnet-164' has no attention modules, so their number cannot be judged"
    ]


def test_every_problem_of_suite_and_protocol_is_gathered(tiny_suite: Path) -> None:
    protocol = tiny_suite.parent / "protocols" / "tiny.yaml"
    protocol.write_text(protocol.read_text().replace("lr: 0.1", "lr: fast").replace("batch: 32", "batch: 0"))
    text = (
        tiny_suite.read_text()
        .replace("name: tiny", "name: other")
        .replace("learning: naive}, metric", "mask: x}, metric")
    )

    error = refusal_of_text(tiny_suite, text)

    assert told(error, tiny_suite.parent) == [
        "tiny.yaml:1:1: name: is 'other', but the file is called 'tiny'; they must be equal",
        "protocols/tiny.yaml:2:1: batch: input should be greater than 0, got 0",
        "protocols/tiny.yaml:3:29: schedule.lr: input should be a valid number, got 'fast'",
        "tiny.yaml:13:71: claims.0.b: no cell of the suite has mask x",
    ]


def refusal_of_text(file: Path, text: str) -> SuiteError:
    """Write ``text`` to a suite's file and return its refusal."""
    file.write_text(text)
    return refusal(file)
