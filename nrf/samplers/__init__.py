"""Samplers: how states are drawn from, or moved under, the energy.

    name              what it does                                         law of the positions
    underdamped       Langevin dynamics with inertia and exact noise       exp(-E/T), off by O(h²); the default
    langevin          overdamped Langevin dynamics                         exp(-E/T), off by O(ε²)
    sghmc             adaptive SGHMC with matched noise                    exp(-E/T) after burn-in, off by O(ε²)
    sghmc_thesis      adaptive SGHMC as published, clamped noise, states   far colder than exp(-E): see `sghmc`
    sgd, momentum, nesterov, adam, descent (any optax chain)               none: they go downhill
    hmc, mala, nuts   BlackJAX's own, one chain per image: the referee     exp(-E/T), exact

All but hmc and nuts evaluate the gradient once a step.

Each file has BlackJAX's form: `init(position, gradient_fn) -> state`, `build_kernel(options) -> kernel(key, state,
gradient_fn) -> (state, info)`, `as_top_level_api(gradient_fn, **options) -> SamplingAlgorithm(init, step)`.
`make_sampler` gives them all one face, so that a phase can scan over any of them:

    sampler = make_sampler("underdamped", step_size=0.1, temperature=0.002, bounds=(-1.0, 1.0))
    state = sampler.init(position, gradient_fn)
    state, info = sampler.step(key, state, gradient_fn)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from nrf.samplers import descent, langevin, referee, sghmc, underdamped
from nrf.samplers.base import GradientFn, Position, Sampler, SamplerInfo, gradient_from_energy
from nrf.samplers.options import check_names, is_per_layer, nearest

__all__ = [
    "GradientFn",
    "Position",
    "Sampler",
    "SamplerInfo",
    "gradient_from_energy",
    "make_sampler",
    "options_for_layers",
    "sampler_names",
    "sampler_options",
]

CHAIN_SETTINGS = {"momentum": 0.9, "b1": 0.9, "b2": 0.999}
SETTINGS_OF = {"momentum": ("momentum",), "nesterov": ("momentum",), "adam": ("b1", "b2")}


def _same_init(module, **fixed) -> Callable:
    return lambda **options: (module.init, module.build_kernel(**fixed, **options))


def _thesis(**options):
    return sghmc.init, sghmc.build_kernel(**{**sghmc.THESIS, **options})


def _descent(**options):
    chain = {name: options[name] for name in ("optimizer", *CHAIN_SETTINGS) if name in options}
    return partial(descent.init, **chain), descent.build_kernel(**options)


def _named_descent(name: str) -> Callable:
    return lambda **options: _descent(optimizer=name, **options)


def _defaults(function: Callable, without: Sequence[str] = (), **more) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD and p.name not in without} | more


def _descent_defaults(name: str) -> dict[str, Any]:
    settings = {key: CHAIN_SETTINGS[key] for key in SETTINGS_OF.get(name, ())}
    return _defaults(descent.build_kernel, ["optimizer"], step_size=0.1, **settings)


def _referee_defaults(*without: str) -> dict[str, Any]:
    return _defaults(referee.build_kernel, ["algorithm", *without])


# name -> (factory(**options) -> (init, kernel), options with their defaults)
SAMPLERS: dict[str, tuple[Callable, dict[str, Any]]] = {
    "underdamped": (_same_init(underdamped), _defaults(underdamped.build_update)),
    "langevin": (_same_init(langevin), _defaults(langevin.build_update)),
    "sghmc": (_same_init(sghmc), _defaults(sghmc.build_update)),
    "sghmc_thesis": (_thesis, _defaults(sghmc.build_update) | sghmc.THESIS),
    "descent": (_descent, _defaults(descent.build_kernel, **CHAIN_SETTINGS)),
    **{name: (_named_descent(name), _descent_defaults(name)) for name in descent.OPTIMIZERS},
    "hmc": (_same_init(referee, algorithm="hmc"), _referee_defaults("max_num_doublings")),
    "mala": (
        _same_init(referee, algorithm="mala"),
        _referee_defaults("max_num_doublings", "num_integration_steps", "inverse_mass"),
    ),
    "nuts": (_same_init(referee, algorithm="nuts"), _referee_defaults("num_integration_steps")),
}


def sampler_names() -> tuple[str, ...]:
    """Names that `make_sampler` knows."""
    return tuple(SAMPLERS)


def sampler_options(name: str) -> dict[str, Any]:
    """Options of a sampler with their defaults.

    Raises ValueError for an unknown name.
    """
    if name not in SAMPLERS:
        raise ValueError(f"there is no sampler {name!r}{nearest(name, sampler_names())}; known: {', '.join(SAMPLERS)}.")
    return dict(SAMPLERS[name][1])


def make_sampler(name: str, **options) -> Sampler:
    """A sampler by name, its options checked and fixed; the file of each sampler documents them.

    Raises ValueError for an unknown name or option and for values out of range, naming the option.
    """
    defaults = sampler_options(name)
    check_names(name, list(options), list(defaults))
    init, kernel = SAMPLERS[name][0](**options)
    return Sampler(name, init, kernel, defaults | options)


def options_for_layers(options: Mapping[str, Any], layers: Sequence[int]) -> dict[str, Any]:
    """Options written for all layers, cut down to those that move: tuples keep the entries of the given layers.

    A phase with a clamped image passes layers = range(1, number of layers).  Single values, and a single pair of
    bounds, stay as they are.
    """

    def cut(name: str, value: Any) -> Any:
        if not is_per_layer(value) or (name == "bounds" and not all(is_per_layer(pair) for pair in value)):
            return value
        return tuple(value[layer] for layer in layers)

    return {name: cut(name, value) for name, value in options.items()}
