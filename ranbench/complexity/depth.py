"""Trunk depth: the number in the name of a net, computed from the built module."""

from __future__ import annotations

from torch import nn

from ranbench.models.attention import SoftMask
from ranbench.models.units import Branches

# Names under which the shortcut of a unit stands, here and in the libraries.
SHORTCUTS = frozenset({"projection", "downsample", "shortcut"})


def trunk_depth(module: nn.Module) -> int:
    """Count the weighted layers (convolutions, fully connected) on the longest path from input to logits.

    Masks and the projections of shortcuts are left out, as the names of the paper's nets and of ResNets leave them out.
    Wide ResNets are named otherwise: WRN-16-8 has depth 14 here, since its name counts the three projections and not
    the classifier. Layers are taken to follow each other except inside ``Branches``: a net with branches of another
    make is counted too deep.
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        return 1
    below = [
        trunk_depth(child)
        for name, child in module.named_children()
        if name not in SHORTCUTS and not isinstance(child, SoftMask)
    ]
    if isinstance(module, Branches):
        return max(trunk_depth(branch) for branch in module.branches)
    return sum(below)
