"""Fields of models of V1 that do nothing are refused in one sentence: every field acts, or is named."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from runtime.config import flatten, load_config
from runtime.errors import ConfigError
from runtime.idle import check_used
from v1models.experiment import first_members, read_experiment
from v1models.idle import idle_fields

TINY = "tests/v1models/tiny.py"
# Read by the loop, the report or the machine: they leave no trace in what a fit computes from its data.
ELSEWHERE = ("published", "origin.", "log.", "sweep.", "package", "precision", "fit.checkpoint_every",
             "fit.score_training", "fit.members_at_once")  # fmt: skip
TEXTS = {
    "optimization.batch_size": "7", "model.layer0.features": "8", "seeds": "0,3", "data.regions": "2",
    "data.simulated.neurons": "9", "data.simulated.train_images": "44", "data.simulated.repeats": "2",
    "data.simulated.kind": "energy", "data.simulated.noise": "gamma", "data.inputs": "unit_deviation",
    "data.responses": "unit_deviation", "optimization.noise": "gaussian", "model.layer0.activation": "relu",
    "model.layer0.bias_initializer": "ones", "model.layer0.weight_initializer": "zeros", "data.inner_split": "0.3",
    "data.test": "0.3",
    "model.layer0.normalization": "unit", "model.layer0.dropout": "0.5", "model.layer0.penalties.l2": "0.5",
    "stopping.monitor": "correlation", "data.dir": None, "data.source": None, "data.teacher.run": None,
    "model.layer0.kind": None, "model.use": None, "optimization.schedule": None, "model.layer0.inhibitory": "2",
    "optimization.optimizer": None, "optimization.schedule_steps": None, "model.layer0.dropout_mask": "unit",
    "data.teacher.scored": "clean", "data.teacher.minimum": "added",
}  # fmt: skip


def refusal(overrides, stages=("train",), spec=TINY, workdir="nowhere"):
    try:
        check_used(load_config(spec, overrides), overrides, stages, idle_fields, workdir)
    except ConfigError as error:
        return str(error)
    return ""


def computed(config):
    """All that a fit is computed from, as a text: data, numbers, plan, programs of its epochs and its loss."""
    experiment = read_experiment([config])
    arrays = [part for part in (experiment.train, experiment.stopping, experiment.validation) if part is not None]
    numbers = [
        float(jnp.sum(jnp.sin(jnp.arange(leaf.size) + leaf.ravel() * 7)))
        for leaf in jax.tree.leaves((arrays, first_members(config, experiment, 1).params))
    ]
    member = jax.tree.map(lambda leaf: leaf[0], first_members(config, experiment, 1))
    trainer, plan = experiment.trainer, experiment.plan
    programs = (
        jax.make_jaxpr(trainer.epochs)(member, experiment.hypers[0], experiment.train,
                                       jnp.zeros((1, len(experiment.train.images)), int)),
        jax.make_jaxpr(trainer.loss)(member, experiment.validation),
    )  # fmt: skip
    orders = np.asarray(plan.orders(16)(jax.random.split(jax.random.key(0), len(config.seeds)), 0, 1)).tolist()
    settings = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan) if field.name != "orders"}
    text = f"{numbers} {programs} {experiment.hypers} {settings} {orders} {experiment.seeds}"
    return re.sub(r"0x[0-9a-f]+", "", text)


def another(field, value):
    if field in TEXTS:
        return TEXTS[field]
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int | float):
        return f"{2 * value or 1:g}"
    return None


@pytest.mark.slow
@pytest.mark.parametrize(
    "base", [(), ("stopping.enabled=True", "stopping.fraction=0.3", "stopping.phases=2", "model.layer0.dropout=0.2")]
)
def test_every_field_changes_the_fit_or_is_refused(base):
    config = load_config(TINY, base)
    before, ignored, tried = computed(config), [], 0
    for field, value in flatten(config).items():
        text = another(field, value)
        if field.startswith(ELSEWHERE) or text is None or any(field == one.split("=")[0] for one in base):
            continue
        tried += 1
        overrides = [*base, f"{field}={text}"]
        sentence = refusal(overrides)
        if sentence:
            assert f"config.{field} does nothing here" in sentence
            continue
        try:
            changed = computed(load_config(TINY, overrides)) != before
        except ConfigError as error:
            changed = field.split(".")[-1] in str(error)
        if not changed:
            ignored.append(field)
    assert tried > 50 and ignored == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["stopping.patience=3"], "stopping.patience does nothing here: config.stopping.enabled is False"),
        (["stopping.enabled=True", "stopping.rate_factor=0.5"], "config.stopping.phases is 1"),
        (["data.teacher.noise=0.1"], "no config.data.teacher.run is set"),
        (["data.dir=Data", "data.simulated.neurons=5"], "config.data.dir names a recording"),
        (["data.dir=Data", "data.source=simulated"], "data.source does nothing here: config.data.dir names"),
        (["data.split_seed=4"], "no rows are set aside"),
        (["data.inputs=none", "data.own_statistics=True"], "which need no statistics"),
        (["optimization.noise=gaussian", "optimization.poisson_offset=1e-3"], "optimization.noise is 'gaussian'"),
        (["optimization.divide_by_rates=False", "optimization.rates_over_all_rows=True"], "divide_by_rates is False"),
        (["optimization.optimizer=lbfgs", "optimization.beta1=0.5"], "optimizer is 'lbfgs'"),
        (["optimization.batch_size=none", "optimization.keep_last_batch=False"], "there is one batch"),
        (["optimization.count_masked=True"], "only the Bernoulli loss of pooled regions"),
        (["fit.score_with_dropout=True"], "no layer has dropout"),
        (["model.layer0.dropout_mask=unit"], "config.model.layer0.dropout is 0"),
        (["model.layer0.bias_scale=0.2", "model.layer0.bias_initializer=zeros"], "bias_initializer is 'zeros'"),
        (["model.layer0.bias=False", "model.layer0.bias_initializer=ones"], "model.layer0.bias is False"),
    ],
)
def test_a_field_that_does_nothing_is_named(overrides, words):
    sentence = refusal(overrides)
    assert words in sentence and "does nothing here" in sentence and "\n" not in sentence


def test_layers_that_are_not_in_use_are_named():
    spec = "configs/v1/exp_3_2_1.py"
    assert "config.model.use is 'nowhere'" in refusal(["sweep.runs=()", "model.use=nowhere"], spec=spec)
    field = "alternatives.bs4_exp1.layer0.penalties.d2x"
    assert refusal([f"{field}=0.5"], spec=spec) == ""
    assert "config.model.use is 'bl2'" in refusal(["sweep.runs=()", f"{field}=0.5"], spec=spec)


def test_the_report_reads_no_config(tmp_path):
    assert "only the stage 'train'" in refusal(["fit.epochs=3"], ["report"])
    assert refusal(["fit.epochs=3"], ["train", "report"]) == ""


def test_presets_and_configs_are_accepted_as_they_are():
    for spec in ("configs/v1/bl4.py:ndn3+quick", "configs/v1/klindt.py:gaussian", "configs/v1/exp_3_2_1.py"):
        assert refusal(["seeds=0,1"], spec=spec) == ""
