"""Results that are wrong by one mistake, in exact arithmetic, and the pieces that they are made of."""

from __future__ import annotations

import numpy as np

from stablemax.check.mistakes.example import Example, log_sum, normalised_by, right_probabilities, sigmoid
from stablemax.check.mistakes.mistake import Gives
from stablemax.numerics.formats import Array


def largest(e: Example) -> Array:
    """The maximum of each row."""
    return np.asarray(e.x.max(axis=-1))


def normaliser(e: Example) -> Array:
    """The log-sum-exp of each row."""
    return log_sum(e.x)[:, 0]


def below_max(e: Example) -> Array:
    """The logits minus the maximum of their row."""
    return e.x - e.x.max(axis=-1, keepdims=True)


def shifted_exp(e: Example) -> Array:
    """The exponentials of the shifted logits."""
    return np.exp(below_max(e))


def sum_of_exp(e: Example) -> Array:
    """The sum of the exponentials, its logarithm not taken."""
    return np.asarray(np.exp(e.x).sum(axis=-1))


def minus_sum(e: Example) -> Array:
    """The logits minus the sum of the exponentials, its logarithm not taken."""
    return e.x - np.exp(e.x).sum(axis=-1, keepdims=True)


def log_of_plain_sum(e: Example) -> Array:
    """The logarithm of the sum of the logits: no exponential is taken."""
    return np.log(e.x.sum(axis=-1))


def picked(e: Example, values: Array) -> Array:
    """Return the values at the labels."""
    return values[np.arange(len(values)), e.labels]


def p_at_label(e: Example) -> Array:
    """The probability of the label, its logarithm not taken."""
    return (e.targets * right_probabilities(e).p).sum(axis=-1)


def losses_of(e: Example) -> Array:
    """The right loss of each row."""
    return -(e.weight * e.targets * right_probabilities(e).log_p).sum(axis=-1)


def of_rows(losses: Gives) -> Gives:
    """Reduce the losses of the rows as the example asks."""
    return lambda e: e.reduce(losses(e))


def reduced(e: Example, losses: Array, divisor: float) -> Array:
    """Reduce losses with another divisor."""
    return e.reduce(losses, float(divisor))


def clipped_logits(e: Example, epsilon: float) -> Array:
    """The logits taken for probabilities, and clipped."""
    return -np.log(np.clip(picked(e, e.x), epsilon, 1.0 - epsilon))


def without_shift(e: Example) -> Array:
    """The log-sum-exp from which the maximum was taken and not added again, minus the label's logit."""
    return np.asarray(normaliser(e) - largest(e) - picked(e, e.x))


def at_neighbour(e: Example, by: int) -> Array:
    """The losses of the classes that many places from the labels."""
    log_p = right_probabilities(e).log_p
    return -log_p[np.arange(len(log_p)), (e.labels + by) % log_p.shape[-1]]


def top(e: Example) -> Array:
    """The losses of the likeliest class, not of the label."""
    return np.asarray(-right_probabilities(e).log_p.max(axis=-1))


def binary_of_softmax(e: Example) -> Array:
    """The binary losses of the softmax of a row, all classes added."""
    p, log_p = right_probabilities(e)
    return -(e.targets * log_p + (1.0 - e.targets) * np.log1p(-p)).sum(axis=-1)


def binary(e: Example) -> Array:
    """The binary losses of the logits of a row, all classes added."""
    return np.asarray((np.logaddexp(0.0, e.x) - e.targets * e.x).sum(axis=-1))


def target_entropy(e: Example) -> Array:
    """The entropy of the targets, by which the Kullback-Leibler divergence is smaller than the cross-entropy."""
    t = e.targets
    return -np.where(t > 0, t * np.log(np.where(t > 0, t, 1.0)), 0.0).sum(axis=-1)


def all_in_divisor(e: Example) -> Array:
    """The mean with ignored rows in its divisor."""
    return reduced(e, losses_of(e), e.weight[e.labels].sum())


def ignored_counted(e: Example) -> Array:
    """The losses of all rows, ignored ones too."""
    losses = -right_probabilities(e).log_p[np.arange(len(e.x)), e.labels]
    if not e.reduced:
        return losses
    return np.asarray(losses.sum() if e.summed else losses.mean())


def unweighted(e: Example) -> Array:
    """The losses without the weights of the classes."""
    return -(e.targets * right_probabilities(e).log_p).sum(axis=-1)


def weights_no_divisor(e: Example) -> Array:
    """Weighted losses, divided by the number of rows, not by the sum of the weights."""
    return reduced(e, losses_of(e), e.kept.sum())


def unsmoothed(e: Example) -> Array:
    """The losses of the labels, nothing smoothed."""
    return e.reduce(-right_probabilities(e).log_p[np.arange(len(e.x)), e.labels])


def smoothed_over_others(e: Example) -> Array:
    """The smoothing shared by the other classes, and not by all."""
    classes = e.x.shape[-1]
    hot = np.arange(classes) == e.labels[:, None]
    t = np.where(hot, 1.0 - e.smoothing, e.smoothing / max(classes - 1, 1))
    return e.reduce(-(t * right_probabilities(e).log_p).sum(axis=-1))


def mean_of_means(e: Example, block: int) -> Array:
    """The mean of the means of blocks of rows."""
    losses, weights = losses_of(e), e.row_weight
    if not e.reduced or len(losses) <= block:
        return e.reduce(losses)
    starts = range(0, len(losses), block)
    means = [losses[i : i + block].sum() / weights[i : i + block].sum() for i in starts]
    return np.asarray(np.mean(means))


def rows_dropped(e: Example, block: int, *, counted: bool) -> Array:
    """The last rows that fill no block left out, or left out of the divisor, too."""
    whole = len(e.x) // block * block or len(e.x)
    is_whole = np.arange(len(e.x)) < whole
    divisor = e.divisor if counted else float(e.row_weight[is_whole].sum())
    return reduced(e, np.where(is_whole, losses_of(e), 0.0), divisor)


def without_one_hot(e: Example) -> Array:
    """The gradient without its one-hot row: the probabilities."""
    return e.spread(right_probabilities(e).p)


def grad_of_log(e: Example) -> Array:
    """The one-hot row subtracted from the log-softmax."""
    return e.spread(right_probabilities(e).log_p - e.targets)


def grad_all_in_divisor(e: Example) -> Array:
    """The gradient of a mean with ignored rows in its divisor."""
    return e.spread(right_probabilities(e).p - e.targets, float(len(e.x)))


def grad_of_ignored(e: Example) -> Array:
    """The gradient with that of ignored rows in it."""
    hot = np.arange(e.x.shape[-1]) == e.labels[:, None]
    gradient = right_probabilities(e).p - np.where(e.kept[:, None], e.targets, hot)
    return gradient if e.summed else gradient / len(e.x)


def diagonal(e: Example) -> Array:
    """The product with the diagonal of the Jacobian alone."""
    p = right_probabilities(e).p
    return p * (1.0 - p) * e.upstream


def diagonal_seen(e: Example) -> list[Array]:
    """What the lines of `diagonal` show."""
    p = right_probabilities(e).p
    return [p * (1.0 - p), e.upstream * p * (1.0 - p)]


def without_last_p(e: Example) -> Array:
    """The product without its last factor p."""
    return e.upstream - (right_probabilities(e).p * e.upstream).sum(axis=-1, keepdims=True)


def without_p_in_sum(e: Example) -> Array:
    """The upstream gradient summed without its factor p."""
    return right_probabilities(e).p * (e.upstream - e.upstream.sum(axis=-1, keepdims=True))


def vjp_over_rows(e: Example) -> Array:
    """The sum of the product taken over the rows."""
    p = right_probabilities(e).p
    return p * (e.upstream - (p * e.upstream).sum(axis=0))


def vjp_over_rows_seen(e: Example) -> list[Array]:
    """What the lines of `vjp_over_rows` show."""
    return [(right_probabilities(e).p * e.upstream).sum(axis=0)]


def vjp_of_log(e: Example) -> Array:
    """The product of the log-softmax."""
    return e.upstream - right_probabilities(e).p * e.upstream.sum(axis=-1, keepdims=True)


def vjp_of_output(e: Example) -> Array:
    """The logits taken for the output of the softmax."""
    return e.x * (e.upstream - (e.x * e.upstream).sum(axis=-1, keepdims=True))


def p_of_row(e: Example) -> Array:
    """The softmax of a row, in place of the sigmoid of each logit."""
    return right_probabilities(e).p


def cell_count(e: Example) -> float:
    """What the mean over the cells divides by."""
    return 1.0 if e.summed else float(e.x.size)


def positive_alone(e: Example) -> Array:
    """The binary loss without its term for 1 - target."""
    return e.over_cells(e.cells * np.logaddexp(0.0, -e.x))


def bce_of(e: Example, p: Array, q: Array) -> Array:
    """The binary loss of two probabilities."""
    return e.over_cells(-(e.cells * np.log(p) + (1.0 - e.cells) * np.log(q)))


def bce_of_p(e: Example) -> Array:
    """The logits taken for probabilities."""
    return bce_of(e, e.x, 1.0 - e.x)


def bce_clipped(e: Example, epsilon: float) -> Array:
    """The binary loss of clipped probabilities."""
    p = np.clip(sigmoid(e.x), epsilon, 1.0 - epsilon)
    return bce_of(e, p, 1.0 - p)


def bce_epsilon(e: Example, epsilon: float) -> Array:
    """The binary loss with an epsilon in each logarithm."""
    return bce_of(e, sigmoid(e.x) + epsilon, sigmoid(-e.x) + epsilon)


def bce_grad_of_p(e: Example) -> Array:
    """The gradient against the probability, not against the logit."""
    p = sigmoid(e.x)
    return (p - e.cells) / (p * (1.0 - p)) / cell_count(e)


def reversed_kl(e: Example) -> Array:
    """The divergence of the second rows from the first."""
    p, q = (normalised_by(x, log_sum(x)) for x in (e.x, e.others))
    return e.reduce((q.p * (q.log_p - p.log_p)).sum(axis=-1))


def cross_of_two(e: Example) -> Array:
    """The cross-entropy of two rows: the entropy is not subtracted."""
    p, q = (normalised_by(x, log_sum(x)) for x in (e.x, e.others))
    return e.reduce(-(p.p * q.log_p).sum(axis=-1))


def with_maximum_of_all(e: Example) -> Array:
    """The maximum of the whole array added to what the maximum of the row was subtracted from."""
    return np.asarray(normaliser(e) - largest(e) + e.x.max())


def one_hot_added(e: Example) -> Array:
    """The one-hot row added, not subtracted."""
    return e.spread(right_probabilities(e).p + e.targets)


def sum_added(e: Example) -> Array:
    """The sum of the product added, not subtracted."""
    p = right_probabilities(e).p
    return p * (e.upstream + (p * e.upstream).sum(axis=-1, keepdims=True))


def without_upstream(e: Example) -> Array:
    """The diagonal of the Jacobian, without the upstream gradient."""
    p = right_probabilities(e).p
    return p * (1.0 - p)
