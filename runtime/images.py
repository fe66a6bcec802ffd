"""Images to train on, and which of them make up the batch of a step.

A name says where images come from:

    natural              patches cut from the photographs that ship inside scikit-image: nothing is downloaded
    natural_scrambled    the same patches with the phases of their Fourier transforms drawn anew
    natural_white        white noise with the contrast of each of the same patches
    tfds:NAME            a prepared TensorFlow Datasets set, such as tfds:cifar10, read without TensorFlow
    folder:PATH          every PNG, JPEG, TIFF and NumPy file below a folder of one's own

All are float32 arrays (N, H, W, C) with values in [0, 1], held in memory. The same arguments give the same arrays.
The batch of a step is a function of the seed and the step alone, so a run that is resumed sees the images that the
uninterrupted one would have seen.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import skimage.data
import skimage.io
from numpy.lib.stride_tricks import sliding_window_view
from skimage.color import rgb2gray
from skimage.transform import downscale_local_mean, resize

from runtime.errors import ConfigError, did_you_mean

COLOUR_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
GREY_PHOTOGRAPHS = ("camera.png", "grass.png", "gravel.png")
IMAGE_FILES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".npy")
HELD_OUT = 0.2  # the right-hand part of each photograph, from which the test patches come
FLAT = 0.04  # standard deviation over a patch's pixels below which it (sky, wall, blur) is not used


Named = tuple[str, np.ndarray]  # where an image comes from, and its pixels as they were stored


class ImageSet(NamedTuple):
    """Images to train and to test on: float32, (N, H, W, C), values in [0, 1]."""

    train: np.ndarray
    test: np.ndarray
    name: str


class Request(NamedTuple):
    """What is asked of a source; None leaves it to the source."""

    data_dir: str | None
    size: int | None
    channels: int | None
    num_train: int | None
    num_test: int | None
    seed: int


def load_images(
    name: str,
    *,
    data_dir: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    num_train: int | None = None,
    num_test: int | None = None,
    contrast: float | None = None,
    seed: int = 0,
) -> ImageSet:
    """Returns the images of a source, as float32 in [0, 1].

    Args:
        name: 'natural', 'natural_scrambled', 'natural_white', 'tfds:NAME' or 'folder:PATH'.
        data_dir: where prepared TFDS sets lie (default: TFDS's own, `~/tensorflow_datasets`).
        size: height and width in pixels. Whole images are cropped to their central square and resized; natural patches
            are cut at this size. None: as the source has them (natural: 16).
        channels: 1 (luminance) or 3. None: as the source has them (natural: 1).
        num_train: number of training images. None: all (natural: 20,000).
        num_test: number of test images. None: all (natural: 2,000).
        contrast: None leaves the images as they are; a number c maps every image x to
            clip(1/2 + c (x − mean x) / std x, 0, 1), so that all have the same mean and nearly the same contrast.
        seed: of the patches' places; the other sources have an order of their own.

    Raises:
        ConfigError: unknown source, missing data (says how to get it), or an impossible size or number.
    """
    kind, _, argument = name.partition(":")
    if kind not in SOURCES:
        known = {"natural": "natural"} | {form.split(":")[-1]: form for form in ("tfds:cifar10", "tfds:mnist")}
        hint = f" (did you mean {known[name]!r}?)" if name in known else did_you_mean(kind, SOURCES)
        raise ConfigError(f"unknown images {name!r}{hint}")
    for field, value in {"size": size, "num_train": num_train, "num_test": num_test}.items():
        if value is not None and value < 1:
            raise ConfigError(f"images {name!r}: {field} must be at least 1, not {value}")
    if channels not in (None, 1, 3):
        raise ConfigError(f"images {name!r}: channels must be 1 (grey) or 3 (colour), not {channels}")
    train, test = SOURCES[kind](argument, Request(data_dir, size, channels, num_train, num_test, seed))
    for part, images, number in (("training", train, num_train), ("test", test, num_test)):
        if number is not None and len(images) < number:
            raise ConfigError(f"images {name!r} hold {len(images)} {part} images, not the {number} asked for")
    if contrast is not None:
        train, test = normalize_contrast(train, contrast), normalize_contrast(test, contrast)
    return ImageSet(train, test, name)


def normalize_contrast(images: np.ndarray, contrast: float) -> np.ndarray:
    """Returns clip(1/2 + contrast · (x − mean x) / std x, 0, 1) for each image x.

    Args:
        images: (N, H, W, C); mean and standard deviation are over (H, W, C) of an image.
        contrast: standard deviation wanted, before clipping; 0.2 clips 1 to 2 % of the pixels of natural patches.
    """
    axes = (1, 2, 3)
    deviation = images - images.mean(axes, keepdims=True)
    spread = np.maximum(images.std(axes, keepdims=True), 1e-6)
    return np.clip(0.5 + contrast * deviation / spread, 0.0, 1.0).astype(np.float32)


def scramble_phases(images: np.ndarray, seed: int) -> np.ndarray:
    """Returns images with the phases of their Fourier transforms drawn anew: what is left is each one's spectrum.

    x ↦ F⁻¹(|F x| e^{iφ}), φ the phases of white noise, another draw for every image; the mean of each is kept, and so
    are its variance and amplitude spectrum, but for values cut off at 0 and 1.

    Args:
        images: (N, H, W, C) in [0, 1]; all channels of an image are turned by the same phases, which keeps its colours.
        seed: of the phases.
    """
    noise = np.random.default_rng([seed, 2]).standard_normal((*images.shape[:3], 1))
    turned = np.fft.rfft2(noise, axes=(1, 2))
    turned /= np.abs(turned)
    turned[:, 0, 0] = 1.0
    spectra = np.fft.rfft2(images.astype(np.float64), axes=(1, 2))
    # A phase is added to an image's own, so that how its channels lie to each other stays.
    found = np.fft.irfft2(spectra * turned, s=images.shape[1:3], axes=(1, 2))
    return np.clip(found, 0.0, 1.0).astype(np.float32)


def whiten_patches(images: np.ndarray, seed: int) -> np.ndarray:
    """Returns white noise in place of images, with the contrast of each: no pixel says anything of another's sign.

    x ↦ m + a s(x) ξ, ξ normal and independent, m the mean over all pixels, s(x) the standard deviation of an image over
    its pixels, cut off at 0 and 1; a is such that the variance over all pixels is that of the images.

    Args:
        images: (N, H, W, C) in [0, 1].
        seed: of the noise.
    """
    noise = np.random.default_rng([seed, 3]).standard_normal(images.shape)
    noise *= images.std(axis=(1, 2, 3), keepdims=True, dtype=np.float64)
    mean, wanted, scale = images.mean(dtype=np.float64), images.std(dtype=np.float64), 1.0
    for _ in range(20):  # what is cut off has to be made up for by the rest
        found = np.clip(mean + scale * noise, 0.0, 1.0)
        scale *= wanted / max(found.std(), 1e-12)
    return found.astype(np.float32)


def steps_per_epoch(batch_size: int, num_train: int) -> int:
    """Returns the number of whole batches in the training images; what is left over changes from epoch to epoch."""
    if not 1 <= batch_size <= num_train:
        raise ConfigError(f"the batch size must be between 1 and the {num_train} training images, not {batch_size}")
    return num_train // batch_size


def batch_indices(seed: int, step: int, batch_size: int, num_train: int) -> np.ndarray:
    """Returns which training images make up the batch of a step: (batch_size,), int64.

    Each epoch goes through a fresh permutation, drawn from the seed and the number of the epoch alone.

    Args:
        seed: non-negative.
        step: number of the step, from 0.
        batch_size: images in a batch.
        num_train: number of training images.
    """
    epoch, batch = divmod(step, steps_per_epoch(batch_size, num_train))
    order = np.random.default_rng([seed, epoch]).permutation(num_train)
    return order[batch * batch_size : (batch + 1) * batch_size]


def _natural(argument: str, request: Request) -> tuple[np.ndarray, np.ndarray]:
    """Cuts patches from photographs; the test patches come from a part of each that no training patch touches."""
    if argument:
        raise ConfigError(f"images cut from the photographs take nothing after a colon, not {argument!r}")
    size, channels = request.size or 16, request.channels or 1
    regions = _photograph_regions(size, channels)
    rng = np.random.default_rng(request.seed)
    numbers = (request.num_train or 20_000, request.num_test or 2_000)
    return tuple(_cut_patches(rng, part, size, number) for part, number in zip(regions, numbers, strict=True))


def _natural_scrambled(argument: str, request: Request) -> tuple[np.ndarray, np.ndarray]:
    """The patches of `natural` without the phases that make edges of them."""
    return _without(scramble_phases, argument, request)


def _natural_white(argument: str, request: Request) -> tuple[np.ndarray, np.ndarray]:
    """White noise as strong as each of the patches of `natural`."""
    return _without(whiten_patches, argument, request)


def _without(change: Callable, argument: str, request: Request) -> tuple[np.ndarray, np.ndarray]:
    train, test = _natural(argument, request)
    return change(train, request.seed), change(test, request.seed + 1)


def _photograph_regions(size: int, channels: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns the (H, W, C) regions of the photographs to train on and to test on."""
    names = COLOUR_PHOTOGRAPHS if channels == 3 else COLOUR_PHOTOGRAPHS + GREY_PHOTOGRAPHS
    photographs = [_with_channels(_photograph(name), channels) for name in names]
    # Neighbouring pixels of a large photograph are nearly alike: at half the size a patch shows more than one edge.
    for shrink in (2, 1):
        shrunk = [downscale_local_mean(photograph, (shrink, shrink, 1)) for photograph in photographs]
        cuts = [round(image.shape[1] * (1 - HELD_OUT)) for image in shrunk]
        train = [image[:, :cut] for image, cut in zip(shrunk, cuts, strict=True)]
        test = [image[:, cut:] for image, cut in zip(shrunk, cuts, strict=True)]
        largest = min(min(region.shape[:2]) for region in train + test)
        if size <= largest:
            return train, test
    raise ConfigError(f"images 'natural': patches can be up to {largest} pixels wide, not {size}")


def _photograph(name: str) -> np.ndarray:
    path = Path(skimage.data.__file__).parent / name
    if not path.is_file():
        raise ConfigError(f"scikit-image has no photograph {name}: install the version that requirements.txt names")
    return _unit_range(skimage.io.imread(path))


def _cut_patches(rng: np.random.Generator, regions: list[np.ndarray], size: int, number: int) -> np.ndarray:
    """Returns (number, size, size, C) patches from places drawn evenly over all regions, nearly flat ones left out."""
    windows = [sliding_window_view(region, (size, size), axis=(0, 1)) for region in regions]
    places = np.array([window.shape[0] * window.shape[1] for window in windows])
    found, wanted = [], number
    while wanted > 0:
        drawn = rng.multinomial(2 * wanted, places / places.sum())
        patches = np.concatenate([_draw(rng, window, count) for window, count in zip(windows, drawn, strict=True)])
        patches = rng.permutation(patches[patches.mean(axis=-1).std(axis=(1, 2)) >= FLAT])[:wanted]
        found.append(patches)
        wanted -= len(patches)
    return np.concatenate(found).astype(np.float32)


def _draw(rng: np.random.Generator, windows: np.ndarray, number: int) -> np.ndarray:
    rows, columns = (rng.integers(0, length, number) for length in windows.shape[:2])
    return np.moveaxis(windows[rows, columns], 1, -1)


def _tfds(argument: str, request: Request) -> tuple[np.ndarray, np.ndarray]:
    """Reads a prepared TFDS set; only array_record can be read without TensorFlow."""
    # Importing TFDS takes about a second, which only those who use it should pay.
    import tensorflow_datasets as tfds

    if not argument:
        raise ConfigError("images 'tfds' need the name of a set, such as tfds:cifar10")
    data_dir = Path(request.data_dir or tfds.core.constants.DATA_DIR).expanduser()
    prepared = sorted(data_dir.glob(f"{argument}/**/dataset_info.json"))
    readable = [path.parent for path in prepared if list(path.parent.glob("*.array_record*"))]
    if not readable:
        state = "prepared in another format than array_record" if prepared else "not prepared"
        raise ConfigError(
            f"images 'tfds:{argument}' are {state} in {data_dir}: give the folder that holds them with "
            f"--config.data.dir=FOLDER, or prepare them once (this downloads the set and needs TensorFlow): "
            f"pip install tensorflow && tfds build {argument} --file_format=array_record --data_dir={data_dir}"
        )
    builder = tfds.builder_from_directory(readable[-1])
    if "image" not in builder.info.features:
        raise ConfigError(f"tfds:{argument} is no set of images: its features are {', '.join(builder.info.features)}")
    missing = {"train", "test"} - set(builder.info.splits)
    if missing:
        raise ConfigError(f"tfds:{argument} has no split {missing.pop()!r}, only {', '.join(builder.info.splits)}")
    numbers = {"train": request.num_train, "test": request.num_test}
    return tuple(_stack(_entries(builder, split, number), request) for split, number in numbers.items())


def _entries(builder: Any, split: str, number: int | None) -> Iterator[Named]:
    source = builder.as_data_source(split)
    for index in range(len(source))[:number]:
        yield f"{split}[{index}]", source[index]["image"]


def _folder(argument: str, request: Request) -> tuple[np.ndarray, np.ndarray]:
    """Reads all images below a folder, in the order of their paths; every tenth from the last is a test image."""
    folder = Path(argument).expanduser()
    if not argument or not folder.is_dir():
        raise ConfigError(f"images 'folder:{argument}': there is no folder {argument!r}")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_FILES)
    images = [entry for path in files for entry in _read_file(path)]
    if len(images) < 2:
        kinds = ", ".join(IMAGE_FILES)
        raise ConfigError(f"images 'folder:{argument}': found {len(images)} images, need at least 2 ({kinds})")
    # Counted from the end, so that two images are enough for both parts.
    test = images[::-1][::10][::-1][: request.num_test]
    train = [image for number, image in enumerate(images[::-1]) if number % 10][::-1][: request.num_train]
    stacked = _stack(train + test, request)
    return stacked[: len(train)], stacked[len(train) :]


def _read_file(path: Path) -> list[Named]:
    """Returns the named images of a file; a NumPy file holds one (H, W), (H, W, 1 or 3) or a stack (N, H, W[, C])."""
    try:
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            with PIL.Image.open(path):  # fails at once; scikit-image tries every reader that it knows
                pass
        array = np.load(path) if path.suffix.lower() == ".npy" else skimage.io.imread(path)
    except Exception as error:
        raise ConfigError(f"{path} cannot be read as an image: {error}") from None
    if path.suffix.lower() != ".npy" or array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (1, 3)):
        return [(str(path), array)]
    if array.ndim not in (3, 4):
        raise ConfigError(f"{path} holds an array of shape {array.shape}, not an image or a stack of images")
    return [(f"{path}[{number}]", image) for number, image in enumerate(array)]


def _stack(images: Iterable[Named], request: Request) -> np.ndarray:
    """Brings named images to one size and number of channels and stacks them; names the one that does not fit."""
    prepared: list[np.ndarray] = []
    for name, raw in images:
        try:
            image = _unit_range(raw)
        except ValueError as error:
            raise ConfigError(f"image {name}: {error}") from None
        channels = request.channels or (prepared[0].shape[-1] if prepared else image.shape[-1])
        image = _with_size(_with_channels(image, channels), request.size)
        if prepared and image.shape != prepared[0].shape:
            raise ConfigError(
                f"image {name} has shape {image.shape}, the first has {prepared[0].shape}: give one size with "
                "--config.data.size=PIXELS"
            )
        prepared.append(image.astype(np.float32))
    return np.stack(prepared)


def _unit_range(image: np.ndarray) -> np.ndarray:
    """Returns an image as (H, W, C) with values in [0, 1] and no opacity."""
    image = image[..., np.newaxis] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[-1] > 4:
        raise ValueError(f"has shape {image.shape}, not (height, width) or (height, width, 1 to 4)")
    image = image[..., : {2: 1, 4: 3}.get(image.shape[-1], image.shape[-1])]
    if image.dtype == bool:
        return image.astype(np.float32)
    if np.issubdtype(image.dtype, np.integer):
        return image.astype(np.float32) / np.iinfo(image.dtype).max
    if not (np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1):
        raise ValueError("holds floating-point values outside [0, 1]")
    return image.astype(np.float32)


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[-1] == channels:
        return image
    return rgb2gray(image)[..., np.newaxis] if channels == 1 else np.repeat(image, channels, axis=-1)


def _with_size(image: np.ndarray, size: int | None) -> np.ndarray:
    height, width = image.shape[:2]
    if size is None or height == width == size:
        return image
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    return np.clip(resize(square, (size, size), order=1, anti_aliasing=side > size), 0.0, 1.0)


SOURCES: dict[str, Callable[[str, Request], tuple[np.ndarray, np.ndarray]]] = {
    "natural": _natural,
    "natural_scrambled": _natural_scrambled,
    "natural_white": _natural_white,
    "tfds": _tfds,
    "folder": _folder,
}
