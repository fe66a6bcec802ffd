"""Looking inside: what a neuron saw when it fired, and what a fitted model says it wants to see.

Source of most exciting images: Walker et al. (2019), Nat. Neurosci. 22:2060; of spike-triggered averages, de Boer &
Kuyper (1968), IEEE Trans. Biomed. Eng. 15:169.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from v1models.layers.layer import Shape

Predict = Callable[[jax.Array], jax.Array]  # images (n, rows, columns, channels) -> responses (n, N)


def spike_triggered_average(images: np.ndarray, responses: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Response-weighted mean image minus the mean image, per neuron.

    STA = Σ r x / Σ r − mean x.

    Args:
        images: (n, rows, columns, channels).
        responses: (n, N), non-negative.
        mask: (n, N) or None.

    Returns:
        (N, rows, columns, channels); zeros for a neuron that never responded.
    """
    images, responses = np.asarray(images, np.float64), np.asarray(responses, np.float64)
    weight = np.ones_like(responses) if mask is None else np.asarray(mask, np.float64)
    flat = images.reshape(len(images), -1)
    total = (weight * responses).sum(0)
    triggered = (weight * responses).T @ flat / np.where(total > 0, total, 1)[:, None]
    mean = weight.T @ flat / np.maximum(weight.sum(0), 1)[:, None]
    average = np.where(total[:, None] > 0, triggered - mean, 0)
    return average.reshape(-1, *images.shape[1:])


def gradient_receptive_fields(predict: Predict, images: np.ndarray) -> np.ndarray:
    """Mean over images of the derivative of each prediction with respect to the pixels: E[∂yₙ/∂x].

    For a linear model this is its filter.

    Args:
        predict: a function from images (n, rows, columns, channels) to (n, N).
        images: to average over.

    Returns:
        (N, rows, columns, channels).
    """

    return _mean_derivative(predict, images, lambda derivative: derivative)


def gradient_sensitivity(predict: Predict, images: np.ndarray) -> np.ndarray:
    """Root mean square over images of the derivative of each prediction with respect to the pixels: √E[(∂yₙ/∂x)²].

    Where the mean derivative of a model that does not care for phase cancels, this says which pixels it looks at.

    Args:
        predict, images: as in `gradient_receptive_fields`.

    Returns:
        (N, rows, columns, channels).
    """
    return np.sqrt(_mean_derivative(predict, images, np.square))


def _mean_derivative(predict, images, of):
    def single(image):
        return predict(image[None])[0]

    jacobian = jax.jit(jax.jacrev(single))
    total = sum(of(np.asarray(jacobian(image), np.float64)) for image in np.asarray(images))
    return total / len(images)


def most_exciting_images(
    predict: Predict,
    shape: Shape,
    neurons: Sequence[int] | np.ndarray,
    norm: float,
    key: jax.Array,
    steps: int = 200,
    step_size: float = 0.05,
    starts: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """For each neuron an image of given contrast that drives its prediction as high as gradient ascent finds.

    Maximises yₙ(x) over ‖x‖₂ = norm, x without mean: a step along the normalized gradient, then back onto the sphere;
    the best of several random starts.

    Args:
        predict: as in `gradient_receptive_fields`.
        shape: (rows, columns, channels).
        neurons: indices.
        norm: ‖x‖₂ in the units of the model's input.
        key: of the starts.
        steps: of ascent.
        step_size: as a fraction of norm.
        starts: how many.

    Returns:
        (images (len(neurons), *shape), predictions (len(neurons),)).
    """
    neurons = np.asarray(neurons)

    def onto_sphere(image):
        image = image - image.mean()
        return norm * image / jnp.maximum(jnp.linalg.norm(image), 1e-12)

    def response(image, neuron):
        return predict(image[None])[0, neuron]

    def ascend(key, neuron):
        def step(image, _):
            gradient = jax.grad(response)(image, neuron)
            gradient = gradient / jnp.maximum(jnp.linalg.norm(gradient), 1e-12)
            return onto_sphere(image + step_size * norm * gradient), None

        image, _ = jax.lax.scan(step, onto_sphere(jax.random.normal(key, shape)), None, length=steps)
        return image, response(image, neuron)

    keys = jax.random.split(key, (starts, len(neurons)))
    images, values = jax.jit(jax.vmap(jax.vmap(ascend), in_axes=(0, None)))(keys, neurons)
    images, values = np.asarray(images), np.asarray(values)
    best, chosen = values.argmax(0), np.arange(len(neurons))
    return images[best, chosen], values[best, chosen]
