# Each repeated layer gets `self.norm = layer_norm(index, width)` and runs
# `before = self.norm(before)` right before its activation. The cell of a recurrent network is
# layer 0, at every time step. For images: `layer_norm(index, channels, images=True)`.
import torch

EVERY = 3


def layer_norm(index, width, images=False):
    if index % EVERY == 0:
        return ImageNorm(width) if images else torch.nn.RMSNorm(width, eps=1e-5)
    return torch.nn.Identity()


class ImageNorm(torch.nn.Module):
    """Normalises over all values of an image, with one weight per channel."""

    def __init__(self, channels):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, images):
        mean_square = images.square().mean((1, 2, 3), keepdim=True)
        return images * torch.rsqrt(mean_square + 1e-5) * self.weight
