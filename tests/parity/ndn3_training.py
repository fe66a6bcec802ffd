"""A training run of NDN3 repeated: same initial weights, same rows in the same order, weights compared on the way."""

import json

import jax
import numpy as np

from tests.parity.ndn3_comparison import (
    GAUSSIAN_WEIGHTS,
    LOSS,
    OTHER_WEIGHTS,
    TRAINING_COST,
    compare,
    double,
)
from v1models import losses
from v1models.layers import DifferenceOfGaussians
from v1models.ndn3 import adapter as ndn3
from v1models.ndn3 import regime as ndn3_regime
from v1models.ndn3 import weights as ndn3_weights
from v1models.network import Network
from v1models.update import Data, default_hyper, make_trainer


def layer_arrays(file, spec, prefix="L{}_", suffix=""):
    return [
        (file[prefix.format(i) + "weights" + suffix], file[prefix.format(i) + "biases" + suffix])
        for i in range(len(spec.layers))
    ]


def check_training(file, path):
    params, meta = json.loads(str(file["params_json"])), json.loads(str(file["meta_json"]))
    options, noise, calls = meta["opt_params"], meta["noise_dist"], meta["train_calls"]
    spec, found = ndn3.network_from_parameters(params), {}
    start = ndn3_weights.import_weights(spec, layer_arrays(file, spec, suffix="_init"))
    images, responses = (jax.device_put(file[name].astype(np.float64)) for name in ("X", "Y"))
    mask = jax.device_put(file["data_filters"].astype(np.float64)) if "data_filters" in file else None
    train, test = file["train_indxs"], file["test_indxs"]

    rates = None
    if noise == "poisson":
        rates = losses.mean_rates(responses, mask, over_measured=False)
        compare(found, "poisson_unit_norm", rates, file["poisson_unit_norm"], LOSS)
    orders = np.concatenate([ndn3_regime.row_orders(train, meta["tf_seed"], options["epochs_training"])] * calls)
    compare(found, "perm_per_epoch", orders, file["perm_per_epoch"], 0.0)

    trainer = make_trainer(
        Network(spec),
        ndn3_regime.optimization(
            noise,
            options["batch_size"],
            beta1=options["beta1"],
            beta2=options["beta2"],
            epsilon=options["epsilon"],
        ),
    )
    data, hyper = Data(images, responses, mask, rates), default_hyper(spec, options["learning_rate"])
    batches = orders[:, : orders.shape[1] // options["batch_size"] * options["batch_size"]]
    batches = batches.reshape(calls, -1, options["batch_size"])

    def walk(carry, rows):
        carry, info = trainer.update(carry, hyper, data, rows)
        return carry, (info, carry.params)

    key = jax.random.key(0)

    @jax.jit
    def walk_call(params, rows):
        return jax.lax.scan(walk, trainer.start(params, key), rows)

    current, infos, histories = double(start), [], []
    for call in range(calls):
        # Each call of NDN3's train starts with a fresh optimizer from the projected weights of the one before.
        member, (info, history) = walk_call(current, batches[call])
        infos.append(info), histories.append(history)
        final = ndn3_regime.stored_values(params, ndn3_weights.export_weights(spec, member.params))
        current = double(ndn3_weights.import_weights(spec, final))
    info = jax.tree.map(lambda *parts: np.concatenate(parts), *infos)
    history = jax.tree.map(lambda *parts: np.concatenate(parts), *histories)
    compare(found, "step_cost", info.loss, file["step_cost"], TRAINING_COST)
    compare(found, "step_cost_penalized", info.loss + info.penalty, file["step_cost_penalized"], TRAINING_COST)

    per_epoch = batches.shape[0] * batches.shape[1] // len(orders)
    at_epochs = range(per_epoch - 1, per_epoch * len(orders), per_epoch)
    for label, steps in (("step", range(len(file["step_L0_weights"]))), ("epoch", at_epochs)):
        ours = [ndn3_weights.export_weights(spec, jax.tree.map(lambda a, s=s: a[s], history)) for s in steps]
        initial = ndn3_weights.export_weights(spec, start)
        for i, layer in enumerate(spec.layers):
            gaussian = isinstance(layer, DifferenceOfGaussians)
            for part, name in enumerate(("weights", "biases")):
                tolerance = GAUSSIAN_WEIGHTS if gaussian and part == 0 else OTHER_WEIGHTS
                compare(
                    found,
                    f"{label}_L{i}_{name}",
                    np.stack([o[i][part] for o in ours]) - initial[i][part],
                    file[f"{label}_L{i}_{name}"] - initial[i][part].astype(np.float64),
                    tolerance,
                    absolute=True,
                )

    for i, layer in enumerate(spec.layers):
        tolerance = GAUSSIAN_WEIGHTS if isinstance(layer, DifferenceOfGaussians) else OTHER_WEIGHTS
        compare(found, f"L{i}_weights_final", final[i][0], file[f"L{i}_weights_final"], tolerance, absolute=True)
        compare(found, f"L{i}_biases_final", final[i][1], file[f"L{i}_biases_final"], OTHER_WEIGHTS, absolute=True)

    @jax.jit
    def reports(params):
        member, values = trainer.start(params, key), {}
        for tag, rows in (("train", train), ("test", test)):
            part = Data(images[rows], responses[rows], None if mask is None else mask[rows], rates)
            predictions = trainer.predict(member, part.images)
            values[f"epoch_cost_{tag}"] = trainer.loss(member, part)
            values[f"epoch_cost_{tag}_ndn"] = ndn3_regime.cost(
                noise, predictions, part.responses, part.mask, rates, options["batch_size"]
            )
        values["epoch_cost_reg"] = Network(spec).apply({"params": params}, hyper.strengths, method="penalty")
        return values, predictions

    ends = [reports(jax.tree.map(lambda a, s=s: a[s], history)) for s in at_epochs]
    for name in ends[0][0]:
        compare(found, name, np.array([values[name] for values, _ in ends]), file[name], TRAINING_COST)
    predictions = ends[-1][1]
    compare(found, "pred_test_final", predictions, file["pred_test_final"], TRAINING_COST)
    compare(
        found,
        "eval_models_test_final",
        ndn3_regime.neuron_costs(noise, predictions, responses[test], None if mask is None else mask[test]),
        file["eval_models_test_final"],
        TRAINING_COST,
    )
    return found
