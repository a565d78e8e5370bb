# Once, after the optimizer is built and before any learning-rate scheduler is.
factor = 1.25e-5 / max(group["lr"] for group in optimizer.param_groups)
for group in optimizer.param_groups:
    group["lr"] *= factor
