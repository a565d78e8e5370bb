"""The guard around a training step: the native part judges, Python measures and acts.

- `guard`: `Guard`; `step` has its result, `arguments` checks what it is given.
- `measuring`: one step's loss, gradients and weight norms; `ahead` lets a GPU step early.
- `clipping`: the user's own clipping policy.
- `snapshots`: the states that a rollback can restore. `snapshot` is one of them; `buffers`,
  `param_groups` and `copies` are its parts.
- `distributed`: one decision for all processes that train together.
"""
