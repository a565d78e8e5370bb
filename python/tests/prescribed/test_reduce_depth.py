from pasted import paste
from torch import nn


def test_leaves_five_layers():
    layers = nn.ModuleList(nn.Linear(3 if index == 0 else 8, 8) for index in range(9))
    kept = paste("reduce_depth").reduce_depth(layers)
    assert isinstance(kept, nn.ModuleList)
    assert list(kept) == list(layers)[:5]
