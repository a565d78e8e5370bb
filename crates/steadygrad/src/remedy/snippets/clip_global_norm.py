# Between loss.backward() and optimizer.step(); with a gradient scaler, after scaler.unscale_().
from torch.nn.utils import clip_grad_norm_

MAX_NORM = 2.5

clip_grad_norm_(model.parameters(), max_norm=MAX_NORM)
