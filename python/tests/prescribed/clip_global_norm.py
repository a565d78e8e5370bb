# Between loss.backward() and optimizer.step(); with a gradient scaler, after scaler.unscale_().
from torch.nn.utils import clip_grad_norm_

clip_grad_norm_(model.parameters(), max_norm=2.5)
