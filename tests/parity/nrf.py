"""Compare `nrf` with files of arrays that the original energy network computed (`reference/nrf`).

Each file carries an architecture, parameters under torch's names, inputs, and what the original made of them; `check`
runs the project's own code on those inputs.  The kind of a file is told from the names of its arrays.  A tolerance is
relative to the largest value of the reference array, with a small absolute floor for arrays that are nearly zero.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from nrf.architecture import Architecture
from nrf.energy import BOUNDS, EnergyModel, make_energy
from nrf.initializer import MOMENTUM, initializer_optimizer, make_initializer
from nrf.layers import ACTIVATIONS
from nrf.optimizers import ADAM_BETAS, clip_by_second_moment, contrastive_loss, make_weight_optimizer
from nrf.phases import make_phase
from nrf.samplers import adaptation, sghmc_published
from nrf.samplers.base import Sampler, SamplerInfo
from nrf.torch_import import check_matches, energy_variables, initializer_variables

RELATIVE = 1e-5
FLOOR = 1e-6  # rounding of float32 arithmetic on numbers around 1
GRADIENT_FLOOR = 1e-5  # what the reference's own README grants to gradients, absolutely
METHODS = ("direct", "spectral")
Found = dict[str, tuple[float, float, float]]
# Each program runs once on small arrays, so that compiling it takes nearly all of the time.
compiled = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
)


def recognise(npz) -> bool:
    """Whether the file is one of the kinds that `check` knows."""
    return kind(npz) is not None


def kind(npz) -> str | None:
    """Kind of a file, by the names of its arrays: a key of CHECKS, or None."""
    names = set(npz.keys())
    if "arch_json" not in names:
        return None
    if {"image", "u1/out_1"} <= names:
        return "initter"
    if {"neg/state0_0", "pos/state0_0"} & names:
        return "phases"
    if "u1/loss" in names and any(re.fullmatch(r"states_\w/pos_0", name) for name in names):
        return "train"
    if {"state_0", "update_0"} <= names:
        return "ff_dynamics"
    if any(re.fullmatch(r"[a-z_]+/\w+/energy", name) for name in names):
        return "energy_variants"
    if any(name.endswith("/energy") and name.replace("/energy", "/state_0") in names for name in names):
        return "energy"
    return None


def check(path) -> Found:
    """Compare one file: {output: (worst absolute error, worst relative error, tolerance of the absolute error)}."""
    with np.load(Path(path), allow_pickle=False) as npz:
        found_kind = kind(npz)
        if found_kind is None:
            raise ValueError(f"{path}: not a file of reference arrays of the energy network.")
        file = {name: npz[name] for name in npz.files}
    found: Found = {}
    CHECKS[found_kind](file, found)
    return found


def compare(found: Found, name: str, ours, theirs, floor: float = FLOOR, tolerance: float = RELATIVE) -> None:
    """Record the worst error of an output; of several arrays under one name, the one nearest to failing is kept."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    scale = float(np.abs(theirs).max(initial=0.0, where=np.isfinite(theirs)))
    allowed = max(tolerance * scale, floor)
    worst = float("inf")
    if ours.shape == theirs.shape and np.isfinite(ours).all() and np.isfinite(theirs).all():
        worst = float(np.abs(ours - theirs).max(initial=0.0))
    before = found.get(name)
    if before is None or worst * before[2] > before[0] * allowed:
        found[name] = (worst, worst / max(scale, allowed), allowed)


def _compare_trees(found: Found, name: str, ours, theirs, floor: float = FLOOR) -> None:
    if jax.tree.structure(ours) != jax.tree.structure(theirs):
        found[name] = (float("inf"), float("inf"), 0.0)
        return
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        compare(found, name, a, b, floor)


# --- reading -------------------------------------------------------------------------------------------------------


def _nhwc(array) -> jax.Array:
    return jax.device_put(np.ascontiguousarray(np.moveaxis(array, -3, -1)))


def _nchw(array) -> np.ndarray:
    return np.moveaxis(np.asarray(array), -1, -3)


def _layers(file, prefix: str) -> tuple[jax.Array, ...]:
    """Arrays prefix0, prefix1 ... of consecutive layers, starting with the first that the file has."""
    numbers = sorted(int(m[1]) for name in file if (m := re.fullmatch(re.escape(prefix) + r"(\d+)", name)))
    return tuple(_nhwc(file[f"{prefix}{i}"]) for i in numbers)


def _settings(file) -> tuple[Architecture, dict]:
    fields = json.loads(str(file["arch_json"]))
    return Architecture.from_dict(fields["architecture"], fields), fields


def _table(file, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in file.items() if name.startswith(prefix)}


def _model(file, method: str, ff_dynamics: bool = False, **activations) -> tuple[EnergyModel, dict]:
    """The model that a file describes and its start variables ('p/' or 'p0/', spectral vectors 'u0/')."""
    architecture, fields = _settings(file)
    chosen = activations or {"state_activation": fields["states_activation"], "activation": fields["activation"]}
    model = make_energy(
        architecture,
        weight_norm=fields["model_weight_norm"],
        ff_dynamics=ff_dynamics,
        convolution=method,
        **chosen,
    )
    arrays = (_table(file, "p/") or _table(file, "p0/")) | _table(file, "u0/")
    variables = energy_variables(architecture, arrays)
    return model, check_matches(variables, jax.eval_shape(model.init, jax.random.key(0)), "the file")


# --- energy --------------------------------------------------------------------------------------------------------


def _compare_energy(found, name, total, units, theirs) -> None:
    """An energy sums terms of both signs, so that rounding scales with the sum of their sizes rather than with it."""
    sizes = sum(float(np.abs(np.asarray(e)).sum()) for e in units)
    compare(found, name, total, theirs, max(FLOOR, 1e-6 * sizes))


def _compare_sets(file, found, model, variables, label: str, places: dict[str, str], results: str = "") -> None:
    """Compare state sets; places: set -> prefix of its states, results: prefix of its outputs.

    All sets pass as one batch, so that a single program is compiled: images do not influence each other.
    """
    sets = {name: _layers(file, f"{place}/state_") for name, place in places.items()}
    sizes = [len(states[0]) for states in sets.values()]
    batch = tuple(np.concatenate(layer) for layer in zip(*sets.values(), strict=True))

    @compiled
    def evaluate(variables):
        weights = model.prepare(variables)
        energy, gradient = model.energy_and_gradient(weights, batch)
        return energy, gradient, model.outputs(weights, batch), model.unit_energies(weights, batch)

    step, start = evaluate(variables), 0
    advance = compiled(model.power_iteration)
    for number, (name, size) in enumerate(zip(sets, sizes, strict=True)):
        if number and "spectral" in variables:
            # Each forward pass of the original advances the power iteration: the next set sees other weights.
            variables = advance(variables)
            step = evaluate(variables)
        rows = slice(start, start + size)
        energy, gradient, outputs, units = jax.tree.map(lambda a, rows=rows: a[rows], step)
        prefix = f"{results}{name}"
        _compare_energy(found, f"{label}{prefix}/energy", energy.sum(), units, file[f"{prefix}/energy"])
        for i in range(len(batch)):
            compare(found, f"{label}{prefix}/grad_{i}", _nchw(gradient[i]), file[f"{prefix}/grad_{i}"], GRADIENT_FLOOR)
            compare(found, f"{label}{prefix}/outs_{i}", -_nchw(outputs[i]), file[f"{prefix}/outs_{i}"])
            if f"{prefix}/fullenergy_{i}" in file:
                theirs = file[f"{prefix}/fullenergy_{i}"]
                compare(found, f"{label}{prefix}/fullenergy_{i}", _nchw(units[i]).reshape(theirs.shape), theirs)
        start += size


def _check_energy(file, found: Found) -> None:
    names = [m[1] for name in file if (m := re.fullmatch(r"(\w+)/energy", name))]
    for method in METHODS:
        model, variables = _model(file, method)
        _compare_sets(file, found, model, variables, f"{method}/", {name: name for name in names})
        vectors = _table(file, "u1/")
        if vectors and method == METHODS[0]:
            after = compiled(model.power_iteration)(variables)["spectral"]
            theirs = energy_variables(model.architecture, vectors)["spectral"]
            _compare_trees(found, "u1", after, theirs)


def _check_variants(file, found: Found) -> None:
    """Each pair of state activation and activation, the two ways of convolving taken in turn."""
    pairs = [(rho, phi) for rho in BOUNDS for phi in ACTIVATIONS if any(n.startswith(f"{rho}_{phi}/") for n in file)]
    for number, (rho, phi) in enumerate(pairs):
        method, prefix = METHODS[number % len(METHODS)], f"{rho}_{phi}/"
        model, variables = _model(file, method, state_activation=rho, activation=phi)
        names = [m[1] for name in file if (m := re.fullmatch(re.escape(prefix) + r"(\w+)/energy", name))]
        places = {name: f"{name}_{rho}" if f"{name}_{rho}/state_0" in file else name for name in names}
        _compare_sets(file, found, model, variables, f"{method}/", places, prefix)


def _check_ff_dynamics(file, found: Found) -> None:
    states = _layers(file, "state_")
    for method in METHODS:
        model, variables = _model(file, method, ff_dynamics=True)

        @compiled
        def evaluate(variables, model=model):
            weights = model.prepare(variables)
            return *model.energy_and_gradient(weights, states), model.unit_energies(weights, states)

        energy, descent, units = evaluate(variables)
        _compare_energy(found, f"{method}/energy", energy.sum(), units, file["energy"])
        for i in range(len(states)):
            compare(found, f"{method}/update_{i}", -_nchw(descent[i]), file[f"update_{i}"], GRADIENT_FLOOR)
            theirs = file[f"fullenergy_{i}"]
            compare(found, f"{method}/fullenergy_{i}", _nchw(units[i]).reshape(theirs.shape), theirs)


# --- learning ------------------------------------------------------------------------------------------------------


def _check_initializer(file, found: Found) -> None:
    architecture, fields = _settings(file)
    options = json.loads(str(file["config_json"]))
    if options.get("momentum", MOMENTUM) != MOMENTUM or not options.get("nesterov", True):
        raise ValueError(f"trained with momentum {options['momentum']}; only Nesterov's {MOMENTUM} is known here")
    network = make_initializer(
        architecture, fields["states_activation"], fields["activation"], options["weight_norm"], "auto"
    )
    variables = initializer_variables(_table(file, "p0/") or _table(file, "p/"))
    check_matches(variables, jax.eval_shape(network.init, jax.random.key(0)), "the file")
    image, targets = _nhwc(file["image"]), _layers(file, "target_")
    optimizer = initializer_optimizer(options["lr"])
    state = compiled(optimizer.init)(variables)

    @compiled
    def update(variables, state):
        (loss, losses), gradient = jax.value_and_grad(network.loss, has_aux=True)(variables, image, targets)
        change, state = optimizer.update(gradient, state, variables)
        return loss, losses, gradient, optax.apply_updates(variables, change), state

    apply = compiled(network.apply)
    for u in _updates(file, "out_1"):
        for i, output in enumerate(apply(variables, image), start=1):
            compare(found, f"{u}/out_{i}", _nchw(output), file[f"{u}/out_{i}"])
        if f"{u}/loss" not in file:
            continue
        loss, losses, gradient, variables, state = update(variables, state)
        compare(found, f"{u}/loss", loss, file[f"{u}/loss"])
        compare(found, f"{u}/layer_losses", losses, file[f"{u}/layer_losses"])
        if table := _table(file, f"{u}/grad/"):
            _compare_trees(found, f"{u}/grad", gradient, initializer_variables(table), GRADIENT_FLOOR)
        _compare_trees(found, f"{u}/p", variables, initializer_variables(_table(file, f"{u}/p/")))


def _updates(file, leaf: str) -> list[str]:
    return sorted((m[1] for name in file if (m := re.fullmatch(rf"(u\d+)/{leaf}", name))), key=lambda u: int(u[1:]))


def _check_train(file, found: Found) -> None:
    model, variables = _model(file, "auto")
    options, architecture = json.loads(str(file["config_json"])), model.architecture
    name, l2 = options["weights_optimizer"], options["l2_reg_energy_param"]
    if name == "adam" and tuple(options["adam_betas"]) != ADAM_BETAS:
        raise ValueError(f"trained with betas {options['adam_betas']}; only {ADAM_BETAS} are known here")
    optimizer = make_weight_optimizer(name, options["lr"])
    clip = clip_by_second_moment() if name == "adam" else optax.clip_by_block_rms(1.0)
    params, rest = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    state, clip_state = compiled(lambda p: (optimizer.init(p), clip.init(p)))(params)
    updates = _updates(file, "loss")
    sets = sorted({m[1] for key in file if (m := re.fullmatch(r"(states_\w)/pos_0", key))})

    @compiled
    def update(params, state, clip_state, positive, negative):
        def loss(params):
            return contrastive_loss(model, {"params": params, **rest}, positive, negative, l2)

        found_loss, gradient = jax.value_and_grad(loss, has_aux=True)(params)
        clipped, clip_state = clip.update(gradient, clip_state, params)
        change, state = optimizer.update(gradient, state, params)
        return found_loss, gradient, clipped, optax.apply_updates(params, change), state, clip_state

    for number, u in enumerate(updates):
        # Every update but the last uses the first set of states: the last meets others, so that the clip bites.
        states = sets[-1] if number == len(updates) - 1 else sets[0]
        both = (_layers(file, f"{states}/pos_"), _layers(file, f"{states}/neg_"))
        values, gradient, clipped, params, state, clip_state = update(params, state, clip_state, *both)
        for key, value in zip(("loss", "pos_energy", "neg_energy"), (values[0], *values[1]), strict=True):
            compare(found, f"{u}/{key}", value, file[f"{u}/{key}"])
        changed = sum(int((a != b).sum()) for a, b in zip(*map(jax.tree.leaves, (gradient, clipped)), strict=True))
        # An element on its bound may fall on either side.
        compare(found, f"{u}/n_clipped", changed, file[f"{u}/n_clipped"], 1.0)
        # The two phases' gradients nearly cancel in some arrays: what is left is rounded like the largest of them.
        largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(gradient))
        floors = {"grad": 1e-6 * largest, "grad_clipped": 1e-6 * largest, "p": FLOOR}
        for key, tree in (("grad", gradient), ("grad_clipped", clipped), ("p", params)):
            if table := _table(file, f"{u}/{key}/"):
                theirs = energy_variables(architecture, table)["params"]
                _compare_trees(found, f"{u}/{key}", tree, theirs, max(FLOOR, floors[key]))


# --- sampling phases -----------------------------------------------------------------------------------------------


def _published_sampler(options: dict, model: EnergyModel, layers: list[int], normals) -> Sampler:
    """The published sampler of a file over some layers; its noise is `normals`, an array (steps, ...) per layer."""

    def each(name: str):
        return tuple(options[name][i] for i in layers)

    clip = options["mom_clip_vals"][0] if options["mom_clip"] else None
    chosen = sghmc_published.Options(
        step_size=each("sampling_step_size"),
        friction=each("momentum_param"),
        sigma=each("sigma"),
        max_sq_sigma=each("max_sq_sigma"),
        min_sq_sigma=options["min_sq_sigma"],
        scale_grad=options["scale_grad"],
        num_burn_in=int(options["num_burn_in_steps"]),
        mass="circulant" if options["non_diag_inv_mass"] else "diagonal",
        mean_batch_preconditioner=options["mean_batch_minv_t"],
        momentum_clip=clip,
        bounds=tuple(model.bounds[i] for i in layers),
        boundary="clamp",
    )
    update = sghmc_published.build_update(chosen)

    def step(key, state, gradient_fn):
        del key
        energy, gradient = gradient_fn(state.position)
        new = update(state, gradient, tuple(z[state.step] for z in normals))
        return new.state, SamplerInfo(energy, gradient, new.effective_temperature, jnp.float32(1.0))

    return Sampler("published", adaptation.init, step, {})


def _check_phases(file, found: Found) -> None:
    options = json.loads(str(file["config_json"]))
    model, variables = _model(file, "auto", options["ff_dynamics"])
    weights = compiled(model.prepare)(variables)
    clip = options["clip_state_grad_norm"] if options["clip_grad"] else None
    evaluate = compiled(model.energy_and_gradient)
    for phase in ("neg", "pos"):
        if f"{phase}/state0_0" not in file:
            continue
        start, positive = _layers(file, f"{phase}/state0_"), phase == "pos"
        layers = list(range(int(positive), len(start)))
        steps = len(file[f"{phase}/state_{layers[-1]}"])
        sampler = _published_sampler(options, model, layers, [_nhwc(file[f"{phase}/z_{i}"]) for i in layers])
        run = compiled(make_phase(model, sampler, clamp_image=positive, max_steps=steps, gradient_clip=clip))
        results = [run(jax.random.key(0), weights, start, n) for n in range(1, steps + 1)]
        for i in range(len(start)):
            states = np.stack([_nchw(r.states[i]) for r in results])
            compare(found, f"{phase}/state_{i}", states, file[f"{phase}/state_{i}"])
        last = results[-1].sampler_state
        for position, i in enumerate(layers):
            momenta = np.stack([_nchw(r.sampler_state.momentum[position]) for r in results])
            compare(found, f"{phase}/mom_{i}", momenta, file[f"{phase}/mom_{i}"])
            for key, field in (("tau", last.tau), ("g", last.gradient_mean), ("v_hat", last.gradient_square)):
                compare(found, f"{phase}/{key}_last_{i}", _nchw(field[position]), file[f"{phase}/{key}_last_{i}"])
        batch = len(start[0])
        energies = np.append(results[-1].energy_history * batch, evaluate(weights, results[-1].states)[0].sum())
        compare(found, f"{phase}/energy", energies, file[f"{phase}/energy"])
        first = evaluate(weights, start)[1]
        for i in range(len(start)):
            compare(found, f"{phase}/grad_first_{i}", _nchw(first[i]), file[f"{phase}/grad_first_{i}"], GRADIENT_FLOOR)


CHECKS = {
    "energy": _check_energy,
    "energy_variants": _check_variants,
    "ff_dynamics": _check_ff_dynamics,
    "initter": _check_initializer,
    "train": _check_train,
    "phases": _check_phases,
}
