"""Other values for the fields of a config, and what a config's update computes: for tests that no field is ignored."""

import re
from typing import Any

import jax
import jax.numpy as jnp

from nrf.from_config import make_trainer
from runtime.config import load_config
from runtime.errors import ConfigError

# Where a value says nothing of what else may stand there.
OPTIONAL = {
    "positive.stop_threshold": "1e-3", "sampler.underdamped.coupling_sd": "0.5", "data.whitened_sd": "0.2",
    "data.num_train": "60", "data.contrast": "0.2",
}  # fmt: skip


def another(spec: str, field: str, value: Any) -> str | None:
    """A text of another value that a field takes; None where there is none to be guessed."""
    if field in OPTIONAL:
        return OPTIONAL[field]
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int | float):
        for text in (f"{2 * value:g}", f"{value / 2:g}", "1", "0.5", "0"):
            try:
                load_config(spec, [f"{field}={text}"])
            except ConfigError:
                continue
            if float(text) != value:
                return text
    if isinstance(value, str):
        try:
            load_config(spec, [f"{field}=nothing-like-it"])
        except ConfigError as error:
            known = re.search(r"one of (.*), not", str(error))
            return next((word for word in known[1].split(", ") if word != value), None) if known else None
    return None


def program(config) -> str:
    """The start, the update and the evaluation of a run as texts: every number and choice that acts is in them."""
    trainer = make_trainer(config, 64)
    images = jnp.zeros((config.train.batch, *trainer.model.architecture.state_shapes(1)[0][1:]))
    state = jax.eval_shape(trainer.create_state, jax.random.key(0))
    texts = (
        jax.make_jaxpr(trainer.create_state)(jax.random.key(0)),
        jax.make_jaxpr(trainer.update)(state, images),
        jax.make_jaxpr(trainer.evaluate)(state, images),
    )
    return re.sub(r"0x[0-9a-f]+", "", "".join(map(str, texts)))
