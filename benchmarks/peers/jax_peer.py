"""The GRU in JAX: step by step (lax.scan), and DEER, quasi-DEER, ELK and quasi-ELK by lax.associative_scan.

Written from the formulas (docs/solvers.md names the papers), as increments δ of the iterate like ours: elements (A_t, −r_t),
and for the trust region the Kalman filter's five objects with observations of zero. Shapes: inputs (T, B, n), states
(T, B, D). Everything is compiled once; a call is one solve with a fixed number of iterations from a guess of zeros.
"""

import jax
import jax.numpy as jnp
from jax import lax


def cell(weights, h, x):
    """h' of one sequence (PyTorch's formulas), and what its derivatives are made of."""
    r_in, z_in, n_in = jnp.split(weights["weight_ih"] @ x + weights["bias_ih"], 3)
    r_h, z_h, n_h = jnp.split(weights["weight_hh"] @ h + weights["bias_hh"], 3)
    r, z = jax.nn.sigmoid(r_in + r_h), jax.nn.sigmoid(z_in + z_h)
    n = jnp.tanh(n_in + r * n_h)
    return (1 - z) * n + z * h, (r, z, n, n_h)


def step(weights, h, x):
    return cell(weights, h, x)[0]


def diagonal(weights, h, x):
    """f and the diagonal of ∂f/∂h."""
    out, (r, z, n, n_h) = cell(weights, h, x)
    w_r, w_z, w_n = (jnp.diag(w) for w in jnp.split(weights["weight_hh"], 3))
    dz, dr = z * (1 - z) * w_z, r * (1 - r) * w_r
    dn = (1 - n * n) * (r * w_n + dr * n_h)
    return out, dz * (h - n) + (1 - z) * dn + z


def dense(weights, h, x):
    """f and ∂f/∂h."""
    return step(weights, h, x), jax.jacfwd(step, argnums=1)(weights, h, x)


def over_rows(function):
    """Of one step of one sequence: of all steps and sequences."""
    return jax.vmap(jax.vmap(function, in_axes=(None, 0, 0)), in_axes=(None, 0, 0))


def affine_diagonal(a, r):
    def combine(one, two):
        return two[0] * one[0], two[0] * one[1] + two[1]

    return lax.associative_scan(combine, (a, -r))[1]


def times(a, b):
    return jnp.einsum("...ij,...j->...i", a, b)


def affine_dense(a, r):
    def combine(one, two):
        return two[0] @ one[0], times(two[0], one[1]) + two[1]

    return lax.associative_scan(combine, (a, -r))[1]


def kalman_diagonal(a, r, sigma2):
    gain = 1 / (1 + sigma2)
    b = -(1 - gain) * r
    first = (jnp.arange(a.shape[0]) == 0)[:, None, None]
    elements = (jnp.where(first, 0, (1 - gain) * a), b, jnp.full_like(a, 1 - gain), jnp.where(first, 0, a * gain * r),
                jnp.where(first, 1, a * a * gain))

    def combine(one, two):
        a1, b1, c1, e1, j1 = one
        a2, b2, c2, e2, j2 = two
        d = 1 / (1 + c1 * j2)
        return (a1 * a2 * d, a2 * (c1 * e2 + b1) * d + b2, c1 * a2 * a2 * d + c2, a1 * (e2 - j2 * b1) * d + e1,
                j2 * a1 * a1 * d + j1)

    return lax.associative_scan(combine, elements)[1]


def kalman_dense(a, r, sigma2):
    gain = 1 / (1 + sigma2)
    transposed = jnp.swapaxes(a, -1, -2)
    eye = jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)
    first = (jnp.arange(a.shape[0]) == 0)[:, None, None]
    elements = (jnp.where(first[..., None], 0, (1 - gain) * a), -(1 - gain) * r, (1 - gain) * eye,
                jnp.where(first, 0, gain * times(transposed, r)), jnp.where(first[..., None], eye, gain * transposed @ a))

    def combine(one, two):
        a1, b1, c1, e1, j1 = one
        a2, b2, c2, e2, j2 = two
        unit = jnp.eye(a1.shape[-1], dtype=a1.dtype)
        forward = jnp.linalg.solve(unit + c1 @ j2, jnp.concatenate(
            [a1, c1, (b1 + times(c1, e2))[..., None]], axis=-1))
        dim = a1.shape[-1]
        backward = jnp.linalg.solve(unit + j2 @ c1, jnp.concatenate([j2 @ a1, (e2 - times(j2, b1))[..., None]], axis=-1))
        a1t, a2t = jnp.swapaxes(a1, -1, -2), jnp.swapaxes(a2, -1, -2)
        return (a2 @ forward[..., :dim], times(a2, forward[..., -1]) + b2, a2 @ forward[..., dim:2 * dim] @ a2t + c2,
                times(a1t, backward[..., -1]) + e1, a1t @ backward[..., :dim] + j1)

    return lax.associative_scan(combine, elements)[1]


def sequential(weights, inputs, initial):
    advance = jax.vmap(step, in_axes=(None, 0, 0))

    def one(h, x):
        h = advance(weights, h, x)
        return h, h

    return lax.scan(one, initial, inputs)[1]


def newton(linearize, solve, iterations):
    """A solver that takes exactly `iterations` steps."""

    def run(weights, inputs, initial):
        def iteration(_, s):
            before = jnp.concatenate([initial[None], s[:-1]])
            f, a = over_rows(linearize)(weights, before, inputs)
            return s + solve(a.at[0].set(0), s - f)

        return lax.fori_loop(0, iterations, iteration, jnp.zeros(inputs.shape[:2] + initial.shape[1:], inputs.dtype))

    return run


def contenders(data, iterations, sigma2):
    """name → a call that solves and waits for the states."""
    weights = {name: jnp.asarray(value) for name, value in data["weights"].items()}
    inputs, initial = jnp.asarray(data["drivers"]), jnp.asarray(data["initial_state"])
    solvers = {
        "sequential": sequential,
        "deer": newton(dense, affine_dense, iterations),
        "quasi_deer": newton(diagonal, affine_diagonal, iterations),
        "elk": newton(dense, lambda a, r: kalman_dense(a, r, sigma2), iterations),
        "quasi_elk": newton(diagonal, lambda a, r: kalman_diagonal(a, r, sigma2), iterations),
    }

    def call(function):
        compiled = jax.jit(function)
        return lambda: compiled(weights, inputs, initial).block_until_ready()

    return {name: call(function) for name, function in solvers.items()}
