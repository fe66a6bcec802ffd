"""Compile for tests: the models are so small that compiling takes nearly all of the time, so ask for little of it."""

import functools

import jax

OPTIONS = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
compiled = functools.partial(jax.jit, compiler_options=OPTIONS)
