"""Compare `v1models` with files of NDN3 reference arrays (`reference/ndn3`).

Each kind of file carries inputs, parameters and what NDN3 made of them; `check` runs this project's own code on the
inputs, in float64, so that what is left is a difference of mathematics or NDN3's own rounding.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax
import numpy as np

from tests.parity.ndn3_comparison import (
    FORWARD,
    INITIAL,
    LOSS,
    PENALTY,
    compare,
    double,
)
from tests.parity.ndn3_training import check_training
from v1models import data as v1data
from v1models import losses, metrics
from v1models.gaussians import GaussianBounds, difference_of_gaussians
from v1models.ndn3 import adapter as ndn3
from v1models.ndn3 import regime as ndn3_regime
from v1models.ndn3 import weights as ndn3_weights
from v1models.network import Network, default_strengths

REPOSITORY = Path(__file__).resolve().parent.parent
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
    if any(re.fullmatch(r"region\d_oracle_loo_mean", name) for name in names):
        return "statistics"
    if "params_json" in names and any(re.search(r"_seed\d+_L0_weights$", name) for name in names):
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


def _used_arrays(file, spec):
    """Weights in force: NDN3 rewrites some when it opens a session (`_used`)."""
    return [
        (file.get(f"L{i}_weights_used", file[f"L{i}_weights"]), file[f"L{i}_biases"]) for i in range(len(spec.layers))
    ]


def _check_forward(file, path):
    spec = ndn3.network_from_parameters(json.loads(str(file["params_json"])))
    params = double(ndn3_weights.import_weights(spec, _used_arrays(file, spec)))
    images = np.asarray(file["X"], np.float64)
    found = {}
    for i, activity in enumerate(
        jax.jit(lambda p, x: Network(spec).apply({"params": p}, x, method="activities"))(params, images)
    ):
        compare(found, f"L{i}_out", np.reshape(activity, (len(images), -1)), file[f"L{i}_out"], FORWARD)
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
    params = double(ndn3_weights.import_weights(spec, _used_arrays(file, spec)))
    images, responses = np.asarray(file["X"], np.float64), np.asarray(file["Y"], np.float64)
    mask = np.asarray(file["data_filters"], np.float64) if "data_filters" in file else None
    rates = np.asarray(file["poisson_unit_norm"], np.float64) if "poisson_unit_norm" in file else None
    rates = rates if noise == "poisson" else None
    objective, found = _objective(spec, noise), {}
    for tag, rows in (("full", np.arange(len(images))), ("idx16", file["idx16"])):
        part = None if mask is None else mask[rows]
        (total, (cost, penalty, outputs)), gradients = objective(params, images[rows], responses[rows], part, rates)
        predictions = np.asarray(outputs[-1]).reshape(len(rows), -1)
        compare(found, f"{tag}_cost", cost, file[f"{tag}_cost"], LOSS)
        compare(found, f"{tag}_cost_reg", penalty, file[f"{tag}_cost_reg"], LOSS)
        compare(found, f"{tag}_cost_penalized", total, file[f"{tag}_cost_penalized"], LOSS)
        compare(
            found,
            f"{tag}_unit_cost",
            jax.jit(losses.neuron_sums, static_argnums=0)(noise, predictions, responses[rows], part),
            file[f"{tag}_unit_cost"],
            LOSS,
        )
        for i, output in enumerate(outputs):
            compare(found, f"{tag}_L{i}_out", np.reshape(output, (len(rows), -1)), file[f"{tag}_L{i}_out"], FORWARD)
        for i, (weights, biases) in enumerate(ndn3_weights.export_weights(spec, gradients)):
            compare(found, f"{tag}_grad_L{i}_weights", weights, file[f"{tag}_grad_L{i}_weights"], LOSS)
            compare(found, f"{tag}_grad_L{i}_biases", biases, file[f"{tag}_grad_L{i}_biases"], LOSS)
        if tag == "full":
            for name, adjusted in (("eval_models", False), ("eval_models_bs16", False), ("eval_models_nulladj", True)):
                if name in file:
                    compare(
                        found,
                        name,
                        ndn3_regime.neuron_costs(noise, predictions, responses, part, adjusted),
                        file[name],
                        LOSS,
                    )
            for name, size in (("get_LL", None), ("get_LL_bs16", 16)):
                if name in file:
                    compare(
                        found,
                        name,
                        ndn3_regime.cost(noise, predictions, responses, part, rates, size),
                        file[name],
                        LOSS,
                    )
    return found


# Penalties of normalized weights whose gradient vanishes or jumps by construction: their value alone is compared.
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
        regularized = json.loads(json.dumps(params))
        regularized["reg_initializers"][index] = {name: strength}
        # What NDN3 refuses must be refused here, and nothing else: 0 for agreement.
        agrees = 0.0
        try:
            specs[name] = ndn3.network_from_parameters(regularized)
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

    for name, (value, gradients) in penalties(double(ndn3_weights.import_weights(spec, arrays))).items():
        if f"pen_{name}" not in file:
            continue
        compare(found, f"pen_{name}", value, file[f"pen_{name}"], PENALTY)
        if f"grad_{name}" in file and _gradient_is_defined(kind, norm, name):
            compare(
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
            network, draws = ndn3.network_from_parameters(params), ndn3_regime.draws_of_parameters(params)
            for i, (weights, biases) in enumerate(ndn3_regime.initial_values(network, seed, draws)):
                prefix = f"{name}_seed{seed}_L{i}_"
                compare(found, prefix + "weights", weights, file[prefix + "weights"], INITIAL)
                compare(found, prefix + "biases", biases, file[prefix + "biases"], INITIAL)
    return found


def _check_utils(file, path):
    found = {}
    count = sum(name.startswith("merge_in") for name in file)
    merged = v1data.pool([(file[f"merge_in{k}"], file[f"merge_out{k}"]) for k in range(count)])
    for name, ours in zip(("merged_inputs", "merged_outputs", "merged_mask"), merged, strict=True):
        compare(found, name, ours, file[name], 0.0)
    for name, how in (("norm_mean_std", "standard"), ("norm_std", "unit_deviation")):
        offset, scale = v1data.NORMALIZATIONS[how](file["norm_in"])
        compare(found, name, (file["norm_in"] - offset) / scale, file[name], UTILITIES)
    compare(found, "corr_nomask", metrics.pearson(file["corr_a"], file["corr_b"]), file["corr_nomask"], UTILITIES)
    compare(
        found,
        "corr_masked",
        metrics.pearson(file["corr_a"], file["corr_b"], file["corr_mask"]),
        file["corr_masked"],
        UTILITIES,
    )
    unbounded = GaussianBounds((0.0, np.inf), (0.0, np.inf), (-np.inf, np.inf), (-np.inf, np.inf))
    for name in (name for name in file if name.startswith("gauss_filter")):
        plain, (rows, columns) = "noconc" not in name, file[name].shape[:2]
        weights = file["gauss_weights" if plain else "gauss_weights2"]
        filters = jax.jit(difference_of_gaussians, static_argnums=(1, 2, 3, 4, 5))
        ours = filters(weights.reshape(2, 4, 1), rows, columns, unbounded, plain, plain)
        compare(found, name, np.moveaxis(np.asarray(ours), 0, -1), file[name], UTILITIES)
    return found


def _check_statistics(file, path):
    """Recompute the statistics of the recordings, which lie beside the reference arrays or beside the repository."""
    found, below = {}, Path("data") / "v1" / "antolik2016"
    places = [folder / below for folder in (*Path(path).resolve().parents[1:3], REPOSITORY.parent / "shared")]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        raise ValueError(f"{path}: the recordings it describes are in none of {', '.join(map(str, places))}.")
    for region in (region for region in (1, 2, 3) if f"region{region}_oracle_loo_mean" in file):
        folder, key = root / f"region{region}", f"region{region}_"
        trials = np.load(folder / "raw_validation_set.npy")
        train, held_out = np.load(folder / "training_set.npy"), np.load(folder / "validation_set.npy")
        ours = {
            "oracle_loo_per_neuron": metrics.oracle_correlation(trials),
            "oracle_pooled_per_neuron": metrics.oracle_correlation(trials, pooled=True),
            "pairwise_trial_corr_per_neuron": metrics.pairwise_trial_correlation(trials),
            "spearman_brown_per_neuron": metrics.reliability(trials),
            "half_split_corr_per_neuron": metrics.pearson(trials[::2].mean(0), trials[1::2].mean(0)),
            "explainable_variance_per_neuron": metrics.explainable_variance_fraction(trials),
            "train_mean_per_neuron": train.mean(0),
            "train_std_per_neuron": train.std(0),
            "val_mean_per_neuron": held_out.mean(0),
            "val_std_per_neuron": held_out.std(0),
            "poisson_null_cost_val_per_neuron": _null_cost(held_out, train.mean(0)),
        }
        ours["oracle_loo_mean"] = ours["oracle_loo_per_neuron"].mean()
        ours["oracle_pooled_mean"] = ours["oracle_pooled_per_neuron"].mean()
        ours["pairwise_trial_corr_mean"] = ours["pairwise_trial_corr_per_neuron"].mean()
        ours["sqrt_spearman_brown_mean"] = np.sqrt(np.maximum(ours["spearman_brown_per_neuron"], 0)).mean()
        ours["val_equals_raw_mean"] = trials.mean(0) - held_out
        file[key + "val_equals_raw_mean"] = np.zeros_like(held_out)
        for name, value in ours.items():
            compare(found, key + name, value, file[key + name], STATISTICS)
    return found


CHECKS = {
    "forward": _check_forward,
    "loss": _check_loss,
    "reg": _check_reg,
    "init": _check_init,
    "train": check_training,
    "utils": _check_utils,
    "statistics": _check_statistics,
}


def _null_cost(responses, mean_rates, offset=1e-06):
    """Normalized Poisson loss of predicting a neuron's mean rate m: −[mean(r) ln(m + ε) − m] / max(m, 1e-8)."""
    rates = np.asarray(mean_rates, np.float64)
    return -(np.asarray(responses, np.float64).mean(0) * np.log(rates + offset) - rates) / np.maximum(rates, 1e-8)
