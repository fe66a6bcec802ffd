"""Every peculiarity of NDN3 that changes results, a switch each, and the revisions of NDN3 as sets of them."""

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Quirks:
    """NDN3's peculiarities; a switch that is off gives what the rest of this package does.

    Initial values, the order of rows and the rates of the Poisson loss are functions of `regime.py`: an `NDN` always
    has those of NDN3, and a config says field by field which it wants.
    """

    # Training: the short last batch of an epoch is dropped, not used.
    drop_last_batch: bool = False
    # Training: Adam adds ε to √v before the bias correction, as TensorFlow 1 does; off, after it (Kingma & Ba).
    epsilon_before_correction: bool = False
    # Loss: masked entries count in the Bernoulli mean, each adding ln 2.
    masked_entries_counted: bool = False
    # Initial values: 'trunc_normal' weights are |N(0, 0.1²)| and biases N(0, 0.1²); off, both are truncated at ±0.2.
    trunc_normal_not_truncated: bool = False
    # Initial values: 2 is added to the y center of every difference of Gaussians, so that some start out of bounds.
    shifted_initial_y: bool = False
    # Bounds: variances of full-image Gaussians lie in (1, 25) whatever the image's size; off, (1, 0.82 · larger side).
    fixed_variance_bounds: bool = False
    # Bounds: they collapse to (1, 0), which freezes both variances (1 and 2): the younger revision's bug.
    collapsed_variance_bounds: bool = False
    # Constraints: pos_constraint False or 0 constrains (dense, conv: all; sep: 0 the features, 1 the mask, 2 both);
    # off, False is no constraint and True constrains all.
    false_constraint_constrains: bool = False
    # Constraints: the derivative of sep's clamp at 0 is 0; off, 1 as everywhere else.
    factorized_clamp_stops_at_zero: bool = False
    # Normalization: the default 0 gives sep layers feature vectors of unit norm; off, 0 means none.
    factorized_normalized_by_default: bool = False
    # Normalization: mode 2 means unit columns in conv layers; off, the Frobenius norm as in dense ones.
    convolution_mode_two_is_unit: bool = False
    # Convolution: a kernel wider than its input keeps its width, with weights that meet the padding alone.
    kernels_wider_than_input: bool = False
    # Convolution: the dilation in the dictionary is not used.
    convolution_dilation_ignored: bool = False
    # Normalization: penalties of mode 2 see the matrix before it is scaled by the number of outputs.
    frobenius_penalty_unscaled: bool = False
    # Penalties: those known to NDN3 that do nothing on a kind of layer are accepted; off, they are refused.
    idle_penalties_accepted: bool = False
    # Dropout: the value is the probability to KEEP; off, to drop.
    dropout_value_keeps: bool = False
    # Dropout: one mask a unit, shared by the whole batch; off, one for every entry.
    dropout_shared_by_batch: bool = False


_ALL_ON = Quirks(**{field.name: True for field in dataclasses.fields(Quirks)})
# The older revision, 77355e0, which made the training arrays that this project is compared with.
NDN3 = dataclasses.replace(_ALL_ON, collapsed_variance_bounds=False)
# The younger one, e89669d, to which the experiment suite was pinned at last.
NDN3_SUITE = dataclasses.replace(
    _ALL_ON, drop_last_batch=False, fixed_variance_bounds=False, convolution_dilation_ignored=False
)
# What the published numbers were made with: the younger revision before its variance bounds collapsed.
PUBLISHED = dataclasses.replace(NDN3_SUITE, fixed_variance_bounds=True, collapsed_variance_bounds=False)
REVISIONS = {"published": PUBLISHED, "e89669d": NDN3_SUITE, "77355e0": NDN3}
