import torch
from pasted import paste


def test_of_every_third_layer_from_the_first():
    pasted = paste("rms_norm")
    before = 1e4 * torch.randn(5, 64)
    for index in range(7):
        after = pasted.layer_norm(index, 64)(before)
        if index in (0, 3, 6):
            torch.testing.assert_close(after.square().mean(1), torch.ones(5))
        else:
            assert torch.equal(after, before)


def test_of_images():
    pasted, images = paste("rms_norm"), 5.0 * torch.randn(4, 7, 8, 6)
    norm = pasted.layer_norm(0, 7, images=True)
    torch.testing.assert_close(norm(images).square().mean((1, 2, 3)), torch.ones(4))
    with torch.no_grad():
        norm.weight[2] = 3.0
    expected = 3.0 * norm(images)[:, 1] * images[:, 2] / images[:, 1]
    torch.testing.assert_close(norm(images)[:, 2], expected)
    assert torch.equal(pasted.layer_norm(1, 7, images=True)(images), images)
