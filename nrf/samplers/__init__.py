"""Samplers: how states are drawn from, or moved under, the energy.

    name              what it does                                         distribution of the positions
    underdamped       Langevin dynamics with inertia and exact noise       exp(-E/T), off by O(h²); the default
    langevin          overdamped Langevin dynamics                         exp(-E/T), off by O(ε²)
    sghmc             adaptive SGHMC with matched noise                    exp(-E/T) after burn-in, off by O(ε²)
    sghmc_thesis      adaptive SGHMC as published, clamped noise, states   far colder than exp(-E): `sghmc_published`
    sgd, momentum, nesterov, adam                                          none: they go downhill
    hmc, mala, nuts   BlackJAX's own, with rejections, a chain an image    exp(-E/T), exact

All but hmc and nuts evaluate the gradient once a step.

Each file has BlackJAX's form: `Options`, `init(position, gradient_fn) -> state`, `build_kernel(options) -> kernel(key,
state, gradient_fn) -> (state, info)`.  `make_sampler` gives them all one face, so that a phase can scan over any of
them, and `as_top_level_api` binds one to a target:

    sampler = make_sampler("underdamped", step_size=0.1, temperature=0.002, bounds=(-1.0, 1.0))
    state = sampler.init(position, gradient_fn)
    state, info = sampler.step(key, state, gradient_fn)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

from blackjax.base import SamplingAlgorithm

from nrf.samplers import adaptation, descent, langevin, metropolis, sghmc, sghmc_published, underdamped
from nrf.samplers.base import GradientFn, Position, Sampler, SamplerInfo, gradient_from_energy, move, no_temperature
from nrf.samplers.options import check_names, is_per_layer, nearest

__all__ = [
    "GradientFn",
    "Position",
    "Sampler",
    "SamplerInfo",
    "as_top_level_api",
    "gradient_from_energy",
    "make_sampler",
    "options_for_layers",
    "sampler_names",
    "sampler_options",
]


class _Parts(NamedTuple):
    """What a name of the registry stands for."""

    options: type  # a dataclass whose defaults are the sampler's
    init: Callable  # options -> init(position, gradient_fn)
    kernel: Callable  # options -> kernel
    inertia: bool = False
    place: Callable = move
    momentum_temperature: Callable = no_temperature  # (options, state) -> (layers,)


def _fixed(init: Callable) -> Callable:
    return lambda options: init


def _descent(options: type) -> _Parts:
    return _Parts(options, descent.build_init, descent.build_kernel)


def _metropolis(options: type) -> _Parts:
    return _Parts(options, _fixed(metropolis.init), metropolis.build_kernel, place=metropolis.place)


# fmt: off
SAMPLERS: dict[str, _Parts] = {
    "underdamped": _Parts(
        underdamped.Options, _fixed(underdamped.init), underdamped.build_kernel, inertia=True,
        momentum_temperature=underdamped.momentum_temperature,
    ),
    "langevin": _Parts(langevin.Options, _fixed(langevin.init), langevin.build_kernel),
    "sghmc": _Parts(
        sghmc.Options, _fixed(sghmc.init), sghmc.build_kernel, inertia=True,
        momentum_temperature=sghmc.momentum_temperature,
    ),
    "sghmc_thesis": _Parts(
        sghmc_published.ThesisOptions, _fixed(adaptation.init), sghmc_published.build_kernel, inertia=True
    ),
    "sgd": _descent(descent.Options),
    "momentum": _descent(descent.MomentumOptions),
    "nesterov": _descent(descent.NesterovOptions),
    "adam": _descent(descent.AdamOptions),
    "hmc": _metropolis(metropolis.HmcOptions),
    "mala": _metropolis(metropolis.MalaOptions),
    "nuts": _metropolis(metropolis.NutsOptions),
}
# fmt: on


def sampler_names() -> tuple[str, ...]:
    """Names that `make_sampler` knows."""
    return tuple(SAMPLERS)


def sampler_options(name: str) -> dict[str, Any]:
    """Options of a sampler with their defaults.

    Raises:
        ValueError: an unknown name.
    """
    if name not in SAMPLERS:
        raise ValueError(f"there is no sampler {name!r}{nearest(name, sampler_names())}; known: {', '.join(SAMPLERS)}.")
    return asdict(SAMPLERS[name].options())


def make_sampler(name: str, **options) -> Sampler:
    """A sampler by name, its options checked and fixed; the `Options` of each file document them.

    Raises:
        ValueError: an unknown name or option, or a value out of range, naming the option.
    """
    defaults = sampler_options(name)
    check_names(name, list(options), list(defaults))
    parts = SAMPLERS[name]
    chosen = parts.options(**options)
    return Sampler(
        name,
        parts.init(chosen),
        parts.kernel(chosen),
        defaults | options,
        parts.inertia,
        parts.place,
        partial(parts.momentum_temperature, chosen),
    )


def as_top_level_api(sampler: Sampler, gradient_fn: GradientFn) -> SamplingAlgorithm:
    """The sampler for one target, in BlackJAX's form: init(position), step(key, state) -> (state, info)."""
    return SamplingAlgorithm(
        lambda position, rng_key=None: sampler.init(position, gradient_fn),
        lambda key, state: sampler.step(key, state, gradient_fn),
    )


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
