"""Computes the towel map's spectrum with NumPy, for tests/lyapunov.rs.

It is independent of the library. It runs 2,000 orbits with a QR factorisation at every step, and
takes the standard error from the spread between orbits.

    python make_lyapunov.py > lyapunov.json
"""

import json

import numpy as np


def towel(orbits=2_000, steps=5_000, transient=200, seed=0):
    rng = np.random.default_rng(seed)
    state = np.array([0.085, -0.121, 0.075]) + 1e-3 * rng.standard_normal((orbits, 3))
    q = np.linalg.qr(rng.standard_normal((orbits, 3, 3)))[0]
    sums = np.zeros((orbits, 3))
    for step in range(transient + steps):
        x, y, z = state.T
        jacobian = np.zeros((orbits, 3, 3))
        jacobian[:, 0, 0] = 3.8 * (1 - 2 * x)
        jacobian[:, 0, 1] = -0.05 * (1 - 2 * z)
        jacobian[:, 0, 2] = 0.1 * (y + 0.35)
        jacobian[:, 1, 0] = -0.19 * ((y + 0.35) * (1 - 2 * z) - 1)
        jacobian[:, 1, 1] = 0.1 * (1 - 2 * z) * (1 - 1.9 * x)
        jacobian[:, 1, 2] = -0.2 * (y + 0.35) * (1 - 1.9 * x)
        jacobian[:, 2, 1] = 0.2
        jacobian[:, 2, 2] = 3.78 * (1 - 2 * z)
        q, r = np.linalg.qr(jacobian @ q)
        if step >= transient:
            sums += np.log(np.abs(np.diagonal(r, axis1=1, axis2=2)))
        state = np.stack(
            [
                3.8 * x * (1 - x) - 0.05 * (y + 0.35) * (1 - 2 * z),
                0.1 * ((y + 0.35) * (1 - 2 * z) - 1) * (1 - 1.9 * x),
                3.78 * z * (1 - z) + 0.2 * y,
            ],
            axis=1,
        )
    exponents = sums / steps
    return {
        "exponents": exponents.mean(axis=0).tolist(),
        "standard_errors": (exponents.std(axis=0, ddof=1) / np.sqrt(orbits)).tolist(),
    }


print(json.dumps({"numpy": np.__version__, "towel": towel()}, indent=1))
