"""Fields that do nothing are refused in one sentence: every field of a config acts, or is named."""

import re

import jax
import jax.numpy as jnp
import pytest

from nrf.from_config import make_trainer
from nrf.idle import idle_fields, idle_known
from runtime.config import ReadRecorder, flatten, load_config, save_config
from runtime.errors import ConfigError
from runtime.idle import check_used
from tests.nrf.idle_fields import another, program

TINY = "tests/nrf/tiny.py:small"
GROUPS = ("initializer.", "sampler.", "positive.", "negative.", "train.", "model.gain", "model.ff", "model.weight",
          "model.activation", "model.state_activation", "model.architecture")  # fmt: skip
# Between them every branch of an update is taken.
VARIANTS = {
    "chains": (),
    "buffer": ("negative.start=buffer", "train.lr_schedule=epochs", "positive.start=random", "negative.growth=1.0",
               "positive.stop_threshold=1e-9", "positive.steps=300", "sampler.name=langevin"),
}  # fmt: skip
# Read, but without a part in the update: loop, folder and report.
LOOP = {"train.updates", "train.start_from", "train.max_energy"}


def refusal(spec, overrides, stages=("train",), workdir="nowhere", idle=idle_fields):
    """The sentence for a command line; '' where it is accepted."""
    try:
        check_used(load_config(spec, overrides), overrides, stages, idle, workdir)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_an_update_does_not_read_is_refused(variant):
    config = load_config(TINY, VARIANTS[variant])
    recorder = ReadRecorder(config)
    trainer = make_trainer(recorder, 64)
    images = jnp.zeros((config.train.batch, 8, 8, 1))
    state = jax.eval_shape(trainer.create_state, jax.random.key(0))
    jax.eval_shape(trainer.update, state, images)
    idle = idle_fields(config, ["train"])
    unread = [field for field in recorder.unread() if field.startswith(GROUPS) and field not in LOOP]
    assert unread and [field for field in unread if not idle.why(field)] == []
    # And nothing is refused that other configs of the kind use.
    for field in ("train.lr", "positive.steps", "negative.steps", f"sampler.{config.sampler.name}.step_size", "seed"):
        assert not idle.why(field)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_field_changes_the_update_or_is_refused(variant):
    """However it is read: another value gives another program, or a sentence that names the field."""
    base = [*VARIANTS[variant]]
    config = load_config(TINY, base)
    before, ignored, tried = program(config), [], 0
    for field, value in flatten(config).items():
        if not field.startswith(GROUPS) or field in LOOP or any(field == one.split("=")[0] for one in base):
            continue
        text = another(TINY, field, value)
        if text is None:
            continue
        tried += 1
        overrides = [*base, f"{field}={text}"]
        sentence = refusal(TINY, overrides)
        if sentence:
            assert f"config.{field} does nothing here" in sentence
            continue
        try:
            changed = program(load_config(TINY, overrides)) != before
        except ConfigError as error:
            changed = field.split(".")[-1] in str(error)
        if not changed:
            ignored.append(field)
    assert tried > 60 and ignored == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sampler.sghmc.friction=0.2"], r"sampler.sghmc.friction does nothing here: config.sampler.name is 'under"),
        (["negative.buffer_size=9"], r"negative.buffer_size does nothing here: config.negative.start is 'persistent'"),
        (["negative.start=buffer", "negative.chains=9"], r"negative.chains does .* config.negative.start is 'buffer'"),
        (["positive.start=previous", "initializer.lr=0.1"], r"initializer.lr does .* nor config.negative.fresh is"),
        (["train.lr_decay=0.9"], r"train.lr_decay does nothing here: config.train.lr_schedule is 'cosine'"),
        (["train.lr_schedule=epochs", "train.lr_final=1e-6"], r"train.lr_final does .* is 'epochs'"),
        (["positive.stop_window=9"], r"stop_window does nothing here: no config.positive.stop_threshold is set"),
        (["positive.stop_threshold=1e-3"], r"stop_threshold does .* of at most 8 steps .* end before they may stop"),
        (["sampler.underdamped.mass=circulant"], r"mass does nothing here: no layer has 6 channels"),
        (["negative.growth=1.0", "negative.growth_cooldown=2"], r"growth_cooldown does .* keeps its length"),
        (["data.rescale=False"], r"data.rescale does nothing here: whitened images"),
        (["data.dir=DATA"], r"data.dir does nothing here: config.data.name is 'natural'"),
        (["model.named=NRFLV_CIFAR_4SL_small_densebackw_wideSL1base", "model.architecture.growth_rate=8"],
         r"architecture.growth_rate does nothing here: config.model.named chooses"),
        (["sampler.underdamped.coupling_sd=0.5"], r"coupling_sd does nothing here: .*mass is 'diagonal'"),
        (["record.level=full"], r"record.level does .* the stage 'record', which --stages does not name, alone reads"),
        (["sweep.together=4"], r"config.sweep.together does nothing here: there is no sweep"),
        (["sweep.record=True"], r"config.sweep.record does nothing here: there is no sweep"),
        (["sweep.grid=(('seed',(0,1)),('negative.buffer_size',(8,9)))"], r"negative.buffer_size does nothing here"),
        (["sweep.grid=(('seed',(0,1)),)", "train.lr_decay=0.9"], r"train.lr_decay does nothing here"),
    ],
)  # fmt: skip
def test_a_field_that_does_nothing_is_named(overrides, words):
    sentence = refusal(TINY, overrides)
    assert re.search(words, sentence) and "\n" not in sentence


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        (["negative.start=buffer", "negative.buffer_size=9"], ["train"]),
        (["sampler.name=sghmc", "sampler.sghmc.friction=0.2"], ["train"]),
        (["sampler.langevin.step_size=0.01"], ["train", "record"]),  # the control that is recorded beside the field
        (["record.level=full", "train.updates=3"], ["train", "record"]),
        (["sweep.grid=(('sampler.name',('underdamped','sghmc')),('sampler.sghmc.friction',(0.1,0.2)))"], ["train"]),
        (["sweep.grid=(('seed',(0,1)),)", "sweep.together=2"], ["train"]),
        (["sweep.grid=(('seed',(0,1)),)", "sweep.record=True", "record.level=full"], ["train"]),
        (["positive.steps=5", "data.name=tfds:mnist", "data.dir=DATA"], ["record"]),
    ],
)
def test_fields_that_act_are_accepted(overrides, stages):
    assert refusal(TINY, overrides, stages) == ""


def test_what_a_run_began_with_may_be_said_again(tmp_path):
    overrides = ["train.updates=7", "log.every=3"]
    assert "train.updates does nothing here: the stages 'train' and 'import'" in refusal(TINY, overrides, ["record"])
    save_config(load_config(TINY, overrides), tmp_path)
    assert refusal(TINY, overrides, ["record"], tmp_path) == ""
    assert "log.every does nothing" in refusal(TINY, ["log.every=4"], ["record"], tmp_path)


def test_fields_of_the_stages_belong_to_their_stage():
    config = load_config(TINY)
    for stage in ("visualise", "record", "analyse", "diagnose", "score", "respond"):
        own = [field for field in flatten(config) if field.startswith(f"{stage}.")]
        assert own and all(f"'{stage}'" in idle_fields(config, ["train"]).why(field) for field in own)
        used = [field for field in own if not idle_fields(config, [stage]).why(field)]
        assert len(used) >= len(own) / 2


def test_the_known_system():
    spec = "configs/known.py"
    assert refusal(spec, ["known.trials=8"], ["record"], idle=idle_known) == ""
    assert "nor a control fixes the scale" in refusal(
        spec, ["known.controls=langevin", "known.fixed_at=0.5"], ["record"], idle=idle_known
    )
    assert "'analyse'" in refusal(spec, ["analyse.level=0.1"], ["record"], idle=idle_known)
