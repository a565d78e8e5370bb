import torch
from pasted import paste
from torch import nn


def test_leaves_a_quarter_of_what_each_block_adds():
    blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    expected = inputs = torch.randn(5, 4)
    for block in blocks:
        expected = expected + 0.25 * (block(expected) - expected)
    paste("scale_residual").scale_residual(blocks)
    for block in blocks:
        inputs = block(inputs)
    torch.testing.assert_close(inputs, expected)


def test_of_blocks_that_the_model_adds():
    block, inputs = nn.Linear(4, 4), torch.randn(5, 4)
    expected = inputs + 0.25 * block(inputs)
    paste("scale_residual").scale_residual([block], added=True)
    torch.testing.assert_close(inputs + block(inputs), expected)


def test_of_blocks_that_return_more():
    lstm, inputs = nn.LSTM(4, 4), torch.randn(3, 2, 4)
    output, state = lstm(inputs)
    paste("scale_residual").scale_residual([lstm])
    scaled, same = lstm(inputs)
    torch.testing.assert_close(scaled, inputs + 0.25 * (output - inputs))
    assert torch.equal(same[0], state[0]) and torch.equal(same[1], state[1])
