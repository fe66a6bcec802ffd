"""Compare `v1models` with files of NDN3 reference arrays (`reference/ndn3`).

Each kind of file carries inputs, parameters and what NDN3 made of them; `check` runs this project's own code on the
inputs. Networks are computed in float64, so that what is left is a difference of mathematics or NDN3's own rounding.
Quantities whose gradient is analytically zero, or that sit on a kink by construction, are compared by value only.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from v1models import data as v1data
from v1models import losses, metrics, ndn3, ndn3_regime, ndn3_weights
from v1models.gaussians import GaussianBounds, difference_of_gaussians
from v1models.network import Network, default_strengths
from v1models.optimisation import Data, Optimisation, default_hyper, make_training

# Worst relative error (to the largest reference value) that NDN3's float32 explains; see the reference's README.
FORWARD, LOSS, PENALTY, INITIAL, TRAINING_COST = 4e-6, 5e-6, 5e-6, 2e-7, 5e-6
# Weights after training are compared as changes since the start, absolutely. Gaussian parameters reach 30, so float32
# stores them no better than 4e-6. Elsewhere one gradient of the order of Adam's ε is enough: its float32 rounding in
# NDN3, 1e-8, is a hundredth of the first step's 1e-3 (seen in one weight of `train_hsm_gaussian`; all others agree to
# 5e-7).
GAUSSIAN_WEIGHTS, OTHER_WEIGHTS = 4e-5, 2e-5
UTILITIES, STATISTICS = 1e-9, 1e-9


def recognise(npz) -> bool:
    """Whether the file is one of the kinds that `check` knows."""
    return _kind(npz) is not None


def _kind(npz):
    names = set(npz.keys())
    if "train_indxs" in names and "perm_per_epoch" in names:
        return "train"
    if "full_cost" in names:
        return "loss"
    if "status_json" in names:
        return "reg"
    if "merged_inputs" in names:
        return "utils"
    if "region1_oracle_loo_mean" in names:
        return "statistics"
    if "params_json" in names and any(name.endswith("_seed0_L0_weights") for name in names):
        return "init"
    if {"params_json", "X", "L0_weights", "L0_out"} <= names:
        return "forward"
    return None


def check(path) -> dict[str, tuple[float, float, float]]:
    """Compare one file: {output: (worst absolute error, worst relative error, tolerance of the absolute error)}."""
    with np.load(Path(path), allow_pickle=False) as npz:
        kind = _kind(npz)
        if kind is None:
            raise ValueError(f"{path}: not a file of NDN3 reference arrays.")
        file = {name: npz[name] for name in npz.files}
    with jax.enable_x64(True):
        return CHECKS[kind](file, Path(path))


def _compare(found, name, ours, theirs, tolerance, absolute=False):
    """Record a comparison; a relative tolerance is turned into an absolute one by the largest reference value."""
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        found[name] = (float("inf"), float("inf"), 0.0)
        return
    scale = float(np.abs(theirs).max()) if theirs.size else 0.0
    worst = float(np.abs(ours - theirs).max()) if theirs.size else 0.0
    worst = float("inf") if np.isnan(worst) else worst
    # An output that is zero throughout (a penalty that vanishes) is compared absolutely.
    unit = scale if scale > 1e-6 else 1.0
    found[name] = (worst, worst / max(scale, 1e-30), tolerance if absolute else tolerance * unit)


def _double(tree):
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float64), tree)


def _layer_arrays(file, spec, prefix="L{}_", suffix=""):
    return [
        (file[prefix.format(i) + "weights" + suffix], file[prefix.format(i) + "biases" + suffix])
        for i in range(len(spec.layers))
    ]


def _used_arrays(file, spec):
    """Weights in force: NDN3 rewrites some when it opens a session (`_used`)."""
    return [
        (file.get(f"L{i}_weights_used", file[f"L{i}_weights"]), file[f"L{i}_biases"]) for i in range(len(spec.layers))
    ]


def _check_forward(file, path):
    spec = ndn3.network_from_parameters(json.loads(str(file["params_json"])))
    params = _double(ndn3_weights.import_weights(spec, _used_arrays(file, spec)))
    images = jnp.asarray(file["X"], jnp.float64)
    found = {}
    for i, activity in enumerate(
        jax.jit(lambda p, x: Network(spec).apply({"params": p}, x, method="activities"))(params, images)
    ):
        _compare(found, f"L{i}_out", activity.reshape(len(images), -1), file[f"L{i}_out"], FORWARD)
    return found


def _objective(spec, noise):
    network, loss = Network(spec), losses.make_loss(noise, count_masked=True)

    def objective(params, images, responses, mask, rates):
        outputs = network.apply({"params": params}, images, method="activities")
        cost = loss(outputs[-1].reshape(len(images), -1), responses, mask, rates)
        penalty = network.apply({"params": params}, default_strengths(spec), method="penalty")
        return cost + penalty, (cost, penalty, outputs)

    return jax.jit(jax.value_and_grad(objective, has_aux=True))


def _check_loss(file, path):
    noise = json.loads(str(file["meta_json"]))["noise_dist"]
    spec = ndn3.network_from_parameters(json.loads(str(file["params_json"])))
    params = _double(ndn3_weights.import_weights(spec, _used_arrays(file, spec)))
    images, responses = jnp.asarray(file["X"], jnp.float64), jnp.asarray(file["Y"], jnp.float64)
    mask = jnp.asarray(file["data_filters"], jnp.float64) if "data_filters" in file else None
    rates = jnp.asarray(file["poisson_unit_norm"], jnp.float64) if "poisson_unit_norm" in file else None
    rates = rates if noise == "poisson" else None
    objective, found = _objective(spec, noise), {}
    for tag, rows in (("full", np.arange(len(images))), ("idx16", file["idx16"])):
        part = None if mask is None else mask[rows]
        (total, (cost, penalty, outputs)), gradients = objective(params, images[rows], responses[rows], part, rates)
        predictions = outputs[-1].reshape(len(rows), -1)
        _compare(found, f"{tag}_cost", cost, file[f"{tag}_cost"], LOSS)
        _compare(found, f"{tag}_cost_reg", penalty, file[f"{tag}_cost_reg"], LOSS)
        _compare(found, f"{tag}_cost_penalized", total, file[f"{tag}_cost_penalized"], LOSS)
        _compare(
            found,
            f"{tag}_unit_cost",
            losses.neuron_sums(noise, predictions, responses[rows], part),
            file[f"{tag}_unit_cost"],
            LOSS,
        )
        for i, output in enumerate(outputs):
            _compare(found, f"{tag}_L{i}_out", output.reshape(len(rows), -1), file[f"{tag}_L{i}_out"], FORWARD)
        for i, (weights, biases) in enumerate(ndn3_weights.export_weights(spec, gradients)):
            _compare(found, f"{tag}_grad_L{i}_weights", weights, file[f"{tag}_grad_L{i}_weights"], LOSS)
            _compare(found, f"{tag}_grad_L{i}_biases", biases, file[f"{tag}_grad_L{i}_biases"], LOSS)
        if tag == "full":
            for name, adjusted in (("eval_models", False), ("eval_models_bs16", False), ("eval_models_nulladj", True)):
                if name in file:
                    _compare(
                        found,
                        name,
                        ndn3_regime.neuron_costs(noise, predictions, responses, part, adjusted),
                        file[name],
                        LOSS,
                    )
            for name, size in (("get_LL", None), ("get_LL_bs16", 16)):
                if name in file:
                    _compare(
                        found,
                        name,
                        ndn3_regime.cost(noise, predictions, responses, part, rates, size),
                        file[name],
                        LOSS,
                    )
    return found


# Penalties of normalised weights whose gradient vanishes or jumps by construction: their value alone is compared.
def _gradient_is_defined(kind, norm, name):
    if kind == "sep":
        return name not in ("norm2_filt", "d2t", "max_filt", "norm2_space", "l2", "norm2") or norm == -1
    return norm == 0


def _check_reg(file, path):
    params, meta = json.loads(str(file["params_json"])), json.loads(str(file["meta_json"]))
    index, strength, found = meta["layer"], meta["reg_value"], {}
    kind, norm = params["layer_types"][index], params["normalize_weights"][index]
    specs = {}
    for name, status in json.loads(str(file["status_json"])).items():
        regularised = json.loads(json.dumps(params))
        regularised["reg_initializers"][index] = {name: strength}
        # What NDN3 refuses must be refused here, and nothing else: 0 for agreement.
        agrees = 0.0
        try:
            specs[name] = ndn3.network_from_parameters(regularised)
            agrees = float("inf") if status.startswith("ERROR") else 0.0
        except ValueError:
            agrees = 0.0 if status.startswith("ERROR") else float("inf")
        found[f"refused_{name}"] = (agrees, agrees, 0.0)
    spec = next(iter(specs.values()))
    arrays = [
        (file.get(f"L{i}_weights_var", file[f"L{i}_weights"]), file[f"L{i}_biases"]) for i in range(len(spec.layers))
    ]

    def penalty(variables, name):
        return Network(specs[name]).apply({"params": variables}, default_strengths(specs[name]), method="penalty")

    @jax.jit
    def penalties(variables):
        return {name: jax.value_and_grad(penalty)(variables, name) for name in specs}

    for name, (value, gradients) in penalties(_double(ndn3_weights.import_weights(spec, arrays))).items():
        if f"pen_{name}" not in file:
            continue
        _compare(found, f"pen_{name}", value, file[f"pen_{name}"], PENALTY)
        if f"grad_{name}" in file and _gradient_is_defined(kind, norm, name):
            _compare(
                found,
                f"grad_{name}",
                ndn3_weights.export_weights(spec, gradients)[index][0],
                file[f"grad_{name}"],
                PENALTY,
            )
    return found


def _check_init(file, path):
    found = {}
    for name, params in json.loads(str(file["params_json"])).items():
        seeds = sorted({int(key.split("_seed")[1].split("_")[0]) for key in file if key.startswith(f"{name}_seed")})
        for seed in seeds:
            for i, (weights, biases) in enumerate(ndn3_regime.initial_values(params, seed)):
                prefix = f"{name}_seed{seed}_L{i}_"
                _compare(found, prefix + "weights", weights, file[prefix + "weights"], INITIAL)
                _compare(found, prefix + "biases", biases, file[prefix + "biases"], INITIAL)
    return found


def _check_train(file, path):
    params, meta = json.loads(str(file["params_json"])), json.loads(str(file["meta_json"]))
    options, noise, calls = meta["opt_params"], meta["noise_dist"], meta["train_calls"]
    spec, found = ndn3.network_from_parameters(params), {}
    start = ndn3_weights.import_weights(spec, _layer_arrays(file, spec, suffix="_init"))
    images, responses = jnp.asarray(file["X"], jnp.float64), jnp.asarray(file["Y"], jnp.float64)
    mask = jnp.asarray(file["data_filters"], jnp.float64) if "data_filters" in file else None
    train, test = file["train_indxs"], file["test_indxs"]

    rates = None
    if noise == "poisson":
        rates = losses.mean_rates(responses, mask, over_measured=False)
        _compare(found, "poisson_unit_norm", rates, file["poisson_unit_norm"], LOSS)
    orders = np.concatenate([ndn3_regime.row_orders(train, meta["tf_seed"], options["epochs_training"])] * calls)
    _compare(found, "perm_per_epoch", orders, file["perm_per_epoch"], 0.0)

    training = make_training(
        Network(spec),
        Optimisation(
            noise=noise,
            batch_size=options["batch_size"],
            keep_last_batch=False,
            beta1=options["beta1"],
            beta2=options["beta2"],
            epsilon=options["epsilon"],
            epsilon_before_correction=True,
            count_masked=True,
        ),
    )
    data, hyper = Data(images, responses, mask, rates), default_hyper(spec, options["learning_rate"])
    batches = orders[:, : orders.shape[1] // options["batch_size"] * options["batch_size"]]
    batches = jnp.asarray(batches.reshape(calls, -1, options["batch_size"]))

    def walk(carry, rows):
        carry, info = training.step(carry, hyper, data, rows)
        return carry, (info, carry.params)

    walk_call, key = jax.jit(lambda member, rows: jax.lax.scan(walk, member, rows)), jax.random.key(0)
    current, infos, histories = _double(start), [], []
    for call in range(calls):
        # Each call of NDN3's train starts with a fresh optimiser from the projected weights of the one before.
        member, (info, history) = walk_call(training.start(current, key), batches[call])
        infos.append(info), histories.append(history)
        current = member.params
    info = jax.tree.map(lambda *parts: jnp.concatenate(parts), *infos)
    history = jax.tree.map(lambda *parts: jnp.concatenate(parts), *histories)
    _compare(found, "step_cost", info.loss, file["step_cost"], TRAINING_COST)
    _compare(found, "step_cost_penalized", info.loss + info.penalty, file["step_cost_penalized"], TRAINING_COST)

    per_epoch = batches.shape[0] * batches.shape[1] // len(orders)
    at_epochs = range(per_epoch - 1, per_epoch * len(orders), per_epoch)
    for label, steps in (("step", range(len(file["step_L0_weights"]))), ("epoch", at_epochs)):
        ours = [ndn3_weights.export_weights(spec, jax.tree.map(lambda a, s=s: a[s], history)) for s in steps]
        initial = ndn3_weights.export_weights(spec, start)
        for i, layer in enumerate(spec.layers):
            gaussian = type(layer).__name__.endswith("DifferenceOfGaussians")
            for part, name in enumerate(("weights", "biases")):
                tolerance = GAUSSIAN_WEIGHTS if gaussian and part == 0 else OTHER_WEIGHTS
                _compare(
                    found,
                    f"{label}_L{i}_{name}",
                    np.stack([o[i][part] for o in ours]) - initial[i][part],
                    file[f"{label}_L{i}_{name}"] - initial[i][part].astype(np.float64),
                    tolerance,
                    absolute=True,
                )

    @jax.jit
    def reports(params):
        member, values = training.start(params, key), {}
        for tag, rows in (("train", train), ("test", test)):
            part = Data(images[rows], responses[rows], None if mask is None else mask[rows], rates)
            predictions = training.predict(member, part.images)
            values[f"epoch_cost_{tag}"] = training.loss(member, part)
            values[f"epoch_cost_{tag}_ndn"] = ndn3_regime.cost(
                noise, predictions, part.responses, part.mask, rates, options["batch_size"]
            )
        values["epoch_cost_reg"] = Network(spec).apply({"params": params}, hyper.strengths, method="penalty")
        return values, predictions

    ends = [reports(jax.tree.map(lambda a, s=s: a[s], history)) for s in at_epochs]
    for name in ends[0][0]:
        _compare(found, name, np.array([values[name] for values, _ in ends]), file[name], TRAINING_COST)
    predictions = ends[-1][1]
    _compare(found, "pred_test_final", predictions, file["pred_test_final"], TRAINING_COST)
    _compare(
        found,
        "eval_models_test_final",
        ndn3_regime.neuron_costs(noise, predictions, responses[test], None if mask is None else mask[test]),
        file["eval_models_test_final"],
        TRAINING_COST,
    )
    return found


def _check_utils(file, path):
    found = {}
    count = sum(name.startswith("merge_in") for name in file)
    merged = v1data.pool([(file[f"merge_in{k}"], file[f"merge_out{k}"]) for k in range(count)])
    for name, ours in zip(("merged_inputs", "merged_outputs", "merged_mask"), merged, strict=True):
        _compare(found, name, ours, file[name], 0.0)
    _compare(
        found, "norm_mean_std", v1data.NORMALISATIONS["standard"](file["norm_in"]), file["norm_mean_std"], UTILITIES
    )
    _compare(found, "norm_std", v1data.NORMALISATIONS["unit_deviation"](file["norm_in"]), file["norm_std"], UTILITIES)
    _compare(found, "corr_nomask", metrics.pearson(file["corr_a"], file["corr_b"]), file["corr_nomask"], UTILITIES)
    _compare(
        found,
        "corr_masked",
        metrics.pearson(file["corr_a"], file["corr_b"], file["corr_mask"]),
        file["corr_masked"],
        UTILITIES,
    )
    for name, weights, rows, columns, plain in (
        ("gauss_filter_31x31", "gauss_weights", 31, 31, True),
        ("gauss_filter_21x31", "gauss_weights", 31, 21, True),
        ("gauss_filter_noconc_nosigma", "gauss_weights2", 31, 31, False),
    ):
        unbounded = GaussianBounds((0.0, np.inf), (0.0, np.inf), (-np.inf, np.inf), (-np.inf, np.inf))
        ours = difference_of_gaussians(
            jnp.asarray(file[weights]).reshape(2, 4, 1), rows, columns, unbounded, plain, plain
        )
        _compare(found, name, jnp.moveaxis(ours, 0, -1), file[name], UTILITIES)
    return found


def _check_statistics(file, path):
    """Recompute the statistics of the recordings, which lie beside the reference arrays (`../../data/v1/antolik2016`).
    """
    found, root = {}, Path(path).resolve().parents[2] / "data" / "v1" / "antolik2016"
    if not root.is_dir():
        raise ValueError(f"{path}: the recordings it describes are not at {root}.")
    for region in (1, 2, 3):
        folder, key = root / f"region{region}", f"region{region}_"
        trials = np.load(folder / "raw_validation_set.npy")
        train, held_out = np.load(folder / "training_set.npy"), np.load(folder / "validation_set.npy")
        ours = {
            "oracle_loo_per_neuron": metrics.oracle_correlation(trials),
            "oracle_pooled_per_neuron": metrics.oracle_correlation(trials, pooled=True),
            "pairwise_trial_corr_per_neuron": metrics.pairwise_trial_correlation(trials),
            "spearman_brown_per_neuron": metrics.reliability(trials),
            "half_split_corr_per_neuron": metrics.half_split_correlation(trials),
            "explainable_variance_per_neuron": metrics.explainable_variance_fraction(trials),
            "train_mean_per_neuron": train.mean(0),
            "train_std_per_neuron": train.std(0),
            "val_mean_per_neuron": held_out.mean(0),
            "val_std_per_neuron": held_out.std(0),
            "poisson_null_cost_val_per_neuron": metrics.poisson_null_cost(held_out, train.mean(0)),
        }
        ours["oracle_loo_mean"] = ours["oracle_loo_per_neuron"].mean()
        ours["oracle_pooled_mean"] = ours["oracle_pooled_per_neuron"].mean()
        ours["pairwise_trial_corr_mean"] = ours["pairwise_trial_corr_per_neuron"].mean()
        ours["sqrt_spearman_brown_mean"] = np.sqrt(np.maximum(ours["spearman_brown_per_neuron"], 0)).mean()
        ours["val_equals_raw_mean"] = trials.mean(0) - held_out
        file[key + "val_equals_raw_mean"] = np.zeros_like(held_out)
        for name, value in ours.items():
            _compare(found, key + name, value, file[key + name], STATISTICS)
    return found


CHECKS = {
    "forward": _check_forward,
    "loss": _check_loss,
    "reg": _check_reg,
    "init": _check_init,
    "train": _check_train,
    "utils": _check_utils,
    "statistics": _check_statistics,
}
