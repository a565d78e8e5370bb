# Once, after the optimizer is built and before any learning-rate scheduler is.
LEARNING_RATE = 1.25e-5

factor = LEARNING_RATE / max(group["lr"] for group in optimizer.param_groups)
for group in optimizer.param_groups:
    group["lr"] *= factor
