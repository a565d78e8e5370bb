# Once, after the optimizer is built and before any learning-rate scheduler is.
for group in optimizer.param_groups:
    group["lr"] = 1.25e-5
