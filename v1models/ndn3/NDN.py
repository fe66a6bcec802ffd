"""Stands in for NDN3's `NDN`: a network that is trained, scored, saved and loaded by the calls of NDN3's scripts.

    from v1models.ndn3 import NDN, NDNutils

    params = NDNutils.ffnetwork_params(input_dims=[1, 31, 31], layer_sizes=[9, 20, 103], …)
    params['weights_initializers'] = ['random', 'normal', 'normal']
    model = NDN.NDN(params, noise_dist='poisson', tf_seed=0)
    model.train(input_data=x, output_data=y, train_indxs=train, test_indxs=test, opt_params={'batch_size': 16, …})
    model.save_model('model.ndnmod')

Initial weights, order of rows, costs and gradients are those of NDN3 with the same seed. Like NDN3, every call seeds
NumPy's global generator with `tf_seed`: scripts that draw noise after a prediction depend on it. The revision says
which NDN3 is meant, see `quirks.REVISIONS`; 'published' made the published numbers.
"""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from runtime.errors import ConfigError, RunError, did_you_mean
from v1models import losses
from v1models.ndn3 import regime
from v1models.ndn3.adapter import network_from_parameters
from v1models.ndn3.ndnmod import SavedModel, read_model, write_model
from v1models.ndn3.options import LOG_CORRELATIONS, array, on_device, read_opt_params, refuse, rows
from v1models.ndn3.quirks import REVISIONS
from v1models.ndn3.scoring import Scorer
from v1models.ndn3.summaries import Summaries
from v1models.ndn3.weights import export_weights, import_weights
from v1models.network import Network, as_images
from v1models.specification import NetworkSpec
from v1models.update import Data, Optimization, Trainer, default_hyper, make_trainer

NOISES = ("poisson", "gaussian", "bernoulli")  # that NDN3 has


class Layer:
    """Weights and biases of one layer in NDN3's shapes; what is set here is what the next call uses."""

    def __init__(self, weights: np.ndarray, biases: np.ndarray | None):
        self.weights, self.biases = weights, biases


class FFNetwork:
    """The layers of a network."""

    def __init__(self, layers: list[Layer]):
        self.layers = layers

    @property
    def num_layers(self) -> int:
        """How many there are."""
        return len(self.layers)


class NDN:
    """A network of NDN3.

    Attributes:
        network_list: [the parameter dictionary].
        networks: [FFNetwork], whose layers hold `weights` and `biases`.
        log_correlation: None, or 'zero-NaNs' or 'filter-NaNs': whether and how logged scores have a correlation.
        poisson_unit_norm: (N,), mean rates that divide the Poisson loss; set by the first training.
        history: what was printed, {'epoch', 'costs': {'train', 'test'}}, and what was logged, {'epoch', 'train': {…},
            'test': {…}}.
    """

    def __init__(
        self,
        network_list: Mapping[str, Any] | list[Mapping[str, Any]],
        noise_dist: str = "poisson",
        ffnet_out: int | list[int] = -1,
        input_dim_list: Any = None,
        batch_size: int | None = None,
        tf_seed: int = 0,
        revision: str = "published",
    ):
        """A network with NDN3's initial values.

        Args:
            network_list: a dictionary of `NDNutils.ffnetwork_params`, or a list of one.
            noise_dist: 'poisson', 'gaussian' or 'bernoulli'.
            ffnet_out, input_dim_list: only the values of a single network.
            batch_size: rows at once in training and `get_LL` where nothing else is said.
            tf_seed: of initial values and of the order of rows.
            revision: one of `quirks.REVISIONS`.

        Raises:
            ConfigError: something that is unknown or not supported.
        """
        refuse("NDN", ffnet_out=(-1 if ffnet_out in ([-1], [0], 0) else ffnet_out, -1))
        refuse("NDN", input_dim_list=(input_dim_list, None))
        described = list(network_list) if isinstance(network_list, (list, tuple)) else [network_list]
        if len(described) != 1:
            raise ConfigError(f"NDN: {len(described)} networks were given; a single one is supported.")
        if revision not in REVISIONS:
            raise ConfigError(f"NDN: revision is {revision!r}{did_you_mean(revision, REVISIONS)}")
        if noise_dist not in NOISES:
            raise ConfigError(f"NDN: noise_dist is {noise_dist!r}{did_you_mean(noise_dist, NOISES)}")
        self.network_list = [dict(described[0])]
        self.noise_dist, self.batch_size, self.tf_seed, self.revision = noise_dist, batch_size, tf_seed, revision
        self.quirks = REVISIONS[revision]
        self.spec = network_from_parameters(self.network_list[0], self.quirks)
        self.log_correlation: str | None = None
        self.poisson_unit_norm: np.ndarray | None = None
        self.history: list[dict[str, Any]] = []
        self._reseed()
        draws = regime.draws_of_parameters(self.network_list[0])
        self._write(regime.initial_values(self.spec, tf_seed, draws))

    # --- training ------------------------------------------------------------------------------------------------

    def train(
        self,
        input_data: Any = None,
        output_data: Any = None,
        train_indxs: Any = None,
        test_indxs: Any = None,
        blocks: Any = None,
        fit_variables: Any = None,
        data_filters: Any = None,
        learning_alg: str = "adam",
        opt_params: Mapping[str, Any] | None = None,
        output_dir: str | None = None,
        use_dropout: bool = True,
        silent: bool = False,
    ) -> int:
        """Trains all weights with Adam for a number of epochs and keeps the last ones, as NDN3 stores them.

        Args:
            input_data: stimuli, (n, pixels); output_data: responses, (n, N); either may be in a list of one.
            train_indxs: rows to train on, all by default; test_indxs: rows to score on, needed while early_stop is on.
            data_filters: 1 where a response was measured and 0 elsewhere, (n, N).
            learning_alg: 'adam'.
            opt_params: see `options.OPT_PARAMS`; batch_size has no default.
            output_dir: folder of TensorBoard logs, `summaries/train` and `summaries/test`, at the logged epochs.
            use_dropout: whether layers with dropout drop, in the logged scores too.
            silent: whether the epochs of `display` are not printed.
            blocks, fit_variables: not supported.

        Returns:
            The number of epochs.

        Raises:
            ConfigError: an argument that is missing, unknown or not supported.
            RunError: the weights stop being finite.
        """
        refuse("train", blocks=(blocks, None), fit_variables=(fit_variables, None), learning_alg=(learning_alg, "adam"))
        options = read_opt_params(opt_params, self.batch_size, test_indxs is not None)
        images, responses, mask = self._data(input_data, output_data, data_filters)
        train = rows(train_indxs, len(images), "train_indxs")
        test = None if test_indxs is None else rows(test_indxs, len(images), "test_indxs")
        size, epochs = int(options["batch_size"]), int(options["epochs_training"])
        if self.quirks.drop_last_batch and size > len(train):
            raise ConfigError(f"batch_size is {size}, but there are only {len(train)} training rows; lower it.")
        self._set_unit_norm(options["poisson_unit_norm"], responses, mask)
        self._check_correlation()
        self._reseed()
        adam = {name: options[name] for name in ("beta1", "beta2", "epsilon")}
        with on_device(options["use_gpu"]), Summaries(output_dir, options, silent) as summaries:
            trainer, start, run = _trainer(self.spec, regime.optimization(self.noise_dist, size, self.quirks, **adam))
            data = Data(*jax.device_put((images, responses, mask)), self._rates())
            hyper = self._hyper(options, use_dropout)
            member = start(import_weights(self.spec, self._arrays()), jax.random.key(self.tf_seed))
            scorer = Scorer(self.spec, trainer, self.noise_dist, self.log_correlation, size, self.quirks)
            parts = {"train": train} if test is None else {"train": train, "test": test}
            stream = np.random.RandomState(self.tf_seed)
            for epoch in range(epochs):
                order = stream.permutation(train)
                member, _ = run(member, hyper, data, order[None].astype(np.int32))
                if summaries.printed(epoch):
                    costs = {name: scorer.cost(member, hyper, data, part) for name, part in parts.items()}
                    self.history.append(summaries.print_costs(epoch, costs))
                if summaries.logged(epoch):
                    seen = {**parts, "train": scorer.last_batch(order)}
                    values = {name: scorer.values(member, hyper, data, part) for name, part in seen.items()}
                    self.history.append(summaries.log(epoch, values))
            trained = export_weights(self.spec, member.params)
        if not all(np.isfinite(part).all() for pair in trained for part in pair if part is not None):
            raise RunError("train: the weights are no longer finite; lower the learning rate or look at the data.")
        self._write(regime.stored_values(self.network_list[0], trained, self.quirks))
        return epochs

    # --- evaluation ----------------------------------------------------------------------------------------------

    def eval_models(
        self,
        input_data: Any = None,
        output_data: Any = None,
        data_indxs: Any = None,
        blocks: Any = None,
        data_filters: Any = None,
        nulladjusted: bool = False,
        use_gpu: bool = False,
        use_dropout: bool = False,
    ) -> np.ndarray:
        """Cost of each neuron over the rows, (N,), see `regime.neuron_costs`; arguments as for `train`."""
        refuse("eval_models", blocks=(blocks, None), use_dropout=(use_dropout, False))
        images, responses, mask = self._data(input_data, output_data, data_filters)
        chosen = rows(data_indxs, len(images), "data_indxs")
        predictions = self._outputs(images[chosen], -1, use_gpu)
        part = None if mask is None else mask[chosen]
        return regime.neuron_costs(self.noise_dist, predictions, responses[chosen], part, nulladjusted)

    def get_LL(
        self,
        input_data: Any = None,
        output_data: Any = None,
        data_indxs: Any = None,
        blocks: Any = None,
        data_filters: Any = None,
        use_gpu: bool = False,
        use_dropout: bool = False,
    ) -> float:
        """Cost of the rows without penalties, in batches of the model's batch_size if it has one, see `regime.cost`."""
        refuse("get_LL", blocks=(blocks, None), use_dropout=(use_dropout, False))
        images, responses, mask = self._data(input_data, output_data, data_filters)
        chosen = rows(data_indxs, len(images), "data_indxs")
        predictions = self._outputs(images[chosen], -1, use_gpu)
        part, keep = None if mask is None else mask[chosen], not self.quirks.drop_last_batch
        rates, size = self._rates(), self.batch_size
        return float(regime.cost(self.noise_dist, predictions, responses[chosen], part, rates, size, keep))

    def generate_prediction(
        self,
        input_data: Any,
        data_indxs: Any = None,
        blocks: Any = None,
        use_gpu: bool = False,
        ffnet_target: int = -1,
        layer_target: int = -1,
        pre_activation: bool = False,
        use_dropout: bool = False,
    ) -> np.ndarray:
        """Predicted responses (rows, N), or the outputs of the layer `layer_target`; without dropout."""
        refuse("generate_prediction", blocks=(blocks, None), use_dropout=(use_dropout, False))
        refuse("generate_prediction", pre_activation=(pre_activation, False))
        refuse("generate_prediction", ffnet_target=(-1 if ffnet_target in (0, None) else ffnet_target, -1))
        images = self._images(input_data)
        if not -len(self.spec.layers) <= layer_target < len(self.spec.layers):
            raise ConfigError(f"generate_prediction: layer_target is {layer_target}; {len(self.spec.layers)} layers.")
        return self._outputs(images[rows(data_indxs, len(images), "data_indxs")], layer_target, use_gpu)

    # --- files ---------------------------------------------------------------------------------------------------

    def save_model(self, save_file: str) -> None:
        """Writes the model to a file of this name, whole or not at all, in the format of `ndnmod`."""
        self._check_correlation()
        fields = (self.noise_dist, self.tf_seed, self.poisson_unit_norm, self.log_correlation, self.revision)
        write_model(Path(save_file), SavedModel(self.network_list[0], self._arrays(), *fields))

    @classmethod
    def load_model(cls, save_file: str, revision: str | None = None) -> "NDN":
        """The model in a file of ours or of NDN3; a revision is needed only where a file of NDN3 was not 'published'.

        Raises:
            ConfigError: the file cannot be read, names something that is refused, or its weights do not fit.
        """
        saved = read_model(save_file)
        model = cls(saved.params, saved.noise_dist, tf_seed=saved.tf_seed,
                    revision=revision or saved.revision or "published")  # fmt: skip
        import_weights(model.spec, saved.arrays)  # shapes fit, or an error names the layer
        model._write(saved.arrays)
        if saved.poisson_unit_norm is not None:
            model.poisson_unit_norm = np.asarray(saved.poisson_unit_norm, np.float32).reshape(-1)
        model.log_correlation = saved.log_correlation
        return model

    # --- within --------------------------------------------------------------------------------------------------

    def _reseed(self):
        # As NDN3 does whenever it builds its graph: scripts that draw noise afterwards depend on it.
        np.random.seed(self.tf_seed)  # noqa: NPY002

    def _write(self, arrays):
        # Copies: scripts may write into them.
        pairs = ([None if part is None else np.array(part) for part in pair] for pair in arrays)
        self.networks = [FFNetwork([Layer(*pair) for pair in pairs])]

    def _arrays(self):
        pairs = [(layer.weights, layer.biases) for layer in self.networks[0].layers]
        return [tuple(None if part is None else np.asarray(part, np.float32) for part in pair) for pair in pairs]

    def _images(self, input_data):
        return as_images(array(input_data, "input_data", int(np.prod(self.spec.input_shape))), self.spec.input_shape)

    def _data(self, input_data, output_data, data_filters):
        images = self._images(input_data)
        neurons = int(np.prod(self.spec.shapes[-1]))
        responses = array(output_data, "output_data", neurons)
        mask = None if data_filters is None else array(data_filters, "data_filters", neurons)
        for name, part in (("output_data", responses), ("data_filters", mask)):
            if part is not None and len(part) != len(images):
                raise ConfigError(f"{name} has {len(part)} rows for {len(images)} rows of input_data.")
        return images, responses, mask

    def _set_unit_norm(self, given, responses, mask):
        if given is not None:
            self.poisson_unit_norm = np.broadcast_to(np.asarray(given, np.float32).reshape(-1), responses.shape[1:])
        elif self.poisson_unit_norm is None and self.noise_dist == "poisson":
            # Once, over all rows: later calls keep it, whatever data they are given.
            self.poisson_unit_norm = np.asarray(losses.mean_rates(responses, mask, over_measured=False))

    def _rates(self):
        poisson = self.noise_dist == "poisson" and self.poisson_unit_norm is not None
        return jax.device_put(self.poisson_unit_norm) if poisson else None

    def _hyper(self, options, use_dropout):
        hyper = default_hyper(self.spec, options["learning_rate"])
        return hyper._replace(
            strengths=hyper.strengths if options["MAPest"] else {}, dropout=hyper.dropout if use_dropout else {}
        )

    def _check_correlation(self):
        if self.log_correlation not in LOG_CORRELATIONS:
            raise ConfigError(
                f"log_correlation is {self.log_correlation!r}; supported are {', '.join(map(repr, LOG_CORRELATIONS))}."
            )

    def _outputs(self, images, layer, use_gpu):
        self._reseed()
        with on_device(use_gpu):
            params = import_weights(self.spec, self._arrays())
            return np.asarray(_activities(self.spec)(params, images)[layer]).reshape(len(images), -1)


# Scripts make the same network with one seed after another: its programs are compiled once.
@functools.lru_cache(maxsize=4)
def _trainer(spec: NetworkSpec, options: Optimization) -> tuple[Trainer, Callable, Callable]:
    trainer = make_trainer(Network(spec), options)
    return trainer, jax.jit(trainer.start), jax.jit(trainer.epochs)


@functools.lru_cache(maxsize=4)
def _activities(spec: NetworkSpec) -> Callable:
    return jax.jit(lambda params, images: Network(spec).apply({"params": params}, images, method="activities"))
