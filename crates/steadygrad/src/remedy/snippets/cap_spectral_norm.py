# Before the first step and after each optimizer.step(), for every repeated weight matrix. Without
# the first call, the first step may explode. `directions` starts as {}. Keep it from step to step:
# the singular vector moves little, so one iteration follows it.
import torch

MAX_SPECTRAL_NORM = 1.3333333333333333


@torch.no_grad()
def cap_spectral_norm(weight, directions):
    v, iterations = directions.get(weight), 1
    if v is None:
        v, iterations = torch.arange(1, weight.shape[1] + 1).to(weight).sin(), 30
    for _ in range(iterations):
        v = weight.T @ (weight @ v)
        v = v / v.norm()
    norm = (weight @ v).norm()
    directions[weight] = v if norm > 0 else None
    if norm > MAX_SPECTRAL_NORM:
        weight.mul_(MAX_SPECTRAL_NORM / norm)
