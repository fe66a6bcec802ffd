"""How a tree of arrays lies on disk: leaves under their paths in one Orbax folder, and a list that says what each is.

Orbax stores arrays. Three kinds of leaf need more: typed random keys are stored as their key data, Python numbers as
arrays without dimensions, and arrays without elements not at all (their type and shape say everything). The containers,
whether dicts, tuples, NamedTuples or optimizer states, are not stored: the path of a leaf names its place, and the
template of the reader gives the containers back.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import unflatten_dict

from runtime.devices import place

SCALARS = {"bool": bool, "int": int, "float": float}
GENERATORS = ("threefry2x32", "rbg", "unsafe_rbg")


class MismatchError(ValueError):
    """A template is not like the tree that was saved; the message names the first leaf that differs."""


class Leaf(NamedTuple):
    """What a manifest says of one leaf of a tree."""

    path: tuple[str, ...]  # names from the root, such as ('params', 'conv', 'kernel')
    kind: str  # 'array', 'key' (typed random keys), or the Python type 'bool', 'int', 'float'
    dtype: str  # of an array its type, of keys their generator, such as 'threefry2x32'
    shape: tuple[int, ...]  # of the array, or of the array of keys

    def __str__(self) -> str:
        kind = {"array": self.dtype, "key": f"key<{self.dtype}>"}.get(self.kind, self.kind)
        return f"{kind}[{','.join(map(str, self.shape))}]"


def describe(tree: Any) -> list[Leaf]:
    """Returns what every leaf of a tree is, in the tree's order.

    Raises:
        ValueError: a leaf is no array, key or number.
    """
    return [_describe(path, value) for path, value in _flatten(tree)]


def storable(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a tree that have elements, as arrays that Orbax stores, in nested dicts.

    Raises:
        ValueError: a leaf is no array, key or number.
    """
    leaves = zip(describe(tree), jax.tree.leaves(tree), strict=True)
    return unflatten_dict({leaf.path: _storable(leaf, value) for leaf, value in leaves if 0 not in leaf.shape})


def restore_tree(folder: Path, saved: list[Leaf], template: Any) -> Any:
    """Returns the tree whose `storable` leaves were written, in the containers, types and shardings of a template.

    Args:
        folder: the folder written.
        saved: the description of the tree written.
        template: a tree of the same leaves; an array may stand as `jax.ShapeDtypeStruct`.

    Raises:
        MismatchError: the template differs from the saved tree: names the first leaf that does.
    """
    leaves = describe(template)
    _check_same(saved, leaves)
    values = jax.tree.leaves(template)
    arrays = _read(folder, {leaf: _restore_arguments(leaf, value) for leaf, value in zip(leaves, values, strict=True)})
    restored = [_as_template(leaf, arrays.get(leaf.path), value) for leaf, value in zip(leaves, values, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(template), restored)


def load_nested(folder: Path, saved: list[Leaf]) -> dict[str, Any]:
    """Returns the tree whose `storable` leaves were written as nested dicts of NumPy arrays and Python numbers.

    Items of a tuple or list are named '0', '1', …; random keys become their key data.
    """
    arrays = _read(folder, {leaf: ocp.RestoreArgs(restore_type=np.ndarray) for leaf in saved})
    return unflatten_dict({leaf.path: _host_value(leaf, arrays.get(leaf.path)) for leaf in saved})


def _check_same(saved: list[Leaf], wanted: list[Leaf]) -> None:
    there, here = ({leaf.path: leaf for leaf in leaves} for leaves in (saved, wanted))
    for path in [*here, *there]:
        if there.get(path) != here.get(path):
            name, saved_as, wanted_as = "/".join(path), there.get(path, "missing"), here.get(path, "missing")
            raise MismatchError(f"{name} is {saved_as} in the checkpoint and {wanted_as} in this run")


def _flatten(tree: Any) -> list[tuple[tuple[str, ...], Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    names = [tuple(jax.tree_util.keystr((key,), simple=True) for key in path) for path, _ in leaves]
    return [(path or ("value",), leaf) for path, (_, leaf) in zip(names, leaves, strict=True)]


def _describe(path: tuple[str, ...], value: Any) -> Leaf:
    if type(value) in SCALARS.values():
        return Leaf(path, type(value).__name__, type(value).__name__, ())
    if not isinstance(value, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct):
        raise ValueError(f"a checkpoint holds arrays and numbers, but {'/'.join(path)} is a {type(value).__name__}")
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return Leaf(path, "key", _generator(value), tuple(value.shape))
    return Leaf(path, "array", np.dtype(value.dtype).name, tuple(value.shape))


def _generator(key: jax.Array | jax.ShapeDtypeStruct) -> str:
    if isinstance(key, jax.Array):
        return str(jax.random.key_impl(key))
    # Only a key itself can be asked for its generator, so a shape is compared with keys of each.
    dtypes = {name: jax.eval_shape(partial(jax.random.key, 0, impl=name)).dtype for name in GENERATORS}
    return next(name for name, dtype in dtypes.items() if dtype == key.dtype)


def _storable(leaf: Leaf, value: Any) -> jax.Array | np.ndarray:
    if leaf.kind == "key":
        return jax.random.key_data(value)
    return value if isinstance(value, jax.Array) else np.asarray(value)


def _read(folder: Path, wanted: dict[Leaf, ocp.RestoreArgs]) -> dict[tuple[str, ...], Any]:
    arguments = {leaf.path: argument for leaf, argument in wanted.items() if 0 not in leaf.shape}
    if not arguments:
        return {}
    with ocp.PyTreeCheckpointer() as checkpointer:
        return dict(_flatten(checkpointer.restore(folder, restore_args=unflatten_dict(arguments))))


def _placed(template: Any) -> jax.sharding.Sharding | None:
    """Returns where a leaf must lie; None where JAX is free to move it, as it is with an array of no stated device."""
    return getattr(template, "sharding", None) if getattr(template, "committed", True) else None


def _restore_arguments(leaf: Leaf, template: Any) -> ocp.RestoreArgs:
    if leaf.kind == "array" and (sharding := _placed(template)) is not None:
        return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=leaf.shape, dtype=np.dtype(leaf.dtype))
    return ocp.RestoreArgs(restore_type=np.ndarray)


def _as_template(leaf: Leaf, saved: Any, template: Any) -> Any:
    if isinstance(saved, jax.Array):
        return saved
    value = _host_value(leaf, saved)
    if leaf.kind in SCALARS or isinstance(template, np.ndarray | np.generic):
        return value
    array = jax.device_put(value)
    array = jax.random.wrap_key_data(array, impl=leaf.dtype) if leaf.kind == "key" else array
    return array if (sharding := _placed(template)) is None else place(array, sharding)


def _host_value(leaf: Leaf, saved: np.ndarray | None) -> Any:
    if leaf.kind in SCALARS:
        return SCALARS[leaf.kind](saved)
    if saved is not None:
        return saved
    if leaf.kind == "key":
        return np.asarray(jax.random.key_data(jax.random.split(jax.random.key(0, impl=leaf.dtype), leaf.shape)))
    return np.zeros(leaf.shape, np.dtype(leaf.dtype))
