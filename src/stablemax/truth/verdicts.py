"""An output judged: one operation on one input in one format, whoever computed it."""

from __future__ import annotations

import numpy as np

from stablemax.inputs.printed import PrintedNumbers
from stablemax.libraries.array_api import Backend
from stablemax.numerics.arithmetic import Arithmetic
from stablemax.numerics.formats import Array, Format
from stablemax.operations.bounds import Bound
from stablemax.operations.targets import in_arithmetic, rows_of
from stablemax.operations.variant import Variant, evaluate
from stablemax.results import Outcome, Place, ShownRow, Verdict
from stablemax.text.vocabulary import IGNORED
from stablemax.truth.case import RoundedCase, Setting, spread
from stablemax.truth.causes import BadCell, Event, Witness, describe
from stablemax.truth.intervals import nearest_printed, wrong_digit
from stablemax.truth.measure import CODES, Judgement, largest, row_error_u, rows_per_block
from stablemax.truth.sums_to_one import largest_sum_error
from stablemax.truth.verdict_tally import FirstBad, VerdictTally, severity_of

LIBRARY_SUMS = "library"
"""In place of an accumulation policy, where a library chooses the order of its additions."""


def variant_verdict(
    variant: Variant,
    setting: Setting,
    *,
    max_ulp: float | None = None,
    show_values: int = 0,
    backend: Backend | None = None,
    needs: tuple[str, ...] = (),
    may_flush: bool = False,
) -> Verdict:
    """Run a variant in a setting and judge what comes out."""
    sums = sums_of(variant, setting.xp, backend)
    refused = refused_verdict(variant, setting.xp, setting.case.logits.shape[-1], backend, needs)
    if refused is not None:
        return refused
    output, mean = computed(variant, setting, backend)
    return verdict_of(
        np.asarray(mean) if setting.case.reduced else output,
        setting,
        name=variant.id,
        max_ulp=max_ulp,
        show_values=show_values,
        bound=variant.bound,
        watched=None if variant.library else variant,
        mean=mean,
        accumulation=sums,
        may_flush=may_flush,
    )


def refused_verdict(
    variant: Variant, xp: Arithmetic, classes: int, backend: Backend | None = None, needs: tuple[str, ...] = ()
) -> Verdict | None:
    """Return the verdict on a variant that does not run in a format, and says why; None for one that does."""
    why = variant.refusal(xp.format.name, classes, needs)
    if backend is not None and not variant.library:
        why = why or backend.refusal(xp.format)
    return not_run(variant.id, xp.format, sums_of(variant, xp, backend), why) if why else None


def sums_of(variant: Variant, xp: Arithmetic, backend: Backend | None) -> str:
    """Name how a variant's sums are added: by a policy, or by a library."""
    by_library = variant.library or (backend is not None and xp.accumulation is None)
    return LIBRARY_SUMS if by_library else xp.policy.value


def computed(variant: Variant, setting: RoundedCase, backend: Backend | None = None) -> tuple[Array, float | None]:
    """Run a variant, or a built-in, on a setting's input; return its output, 0 on ignored rows, and its own mean."""
    case, xp = setting.case, setting.xp
    of_losses = case.operation.reduces
    if variant.library:
        output = evaluate(variant, setting.x, xp, setting.second)
        mean = float(variant.mean(setting.x, setting.second, xp)) if of_losses and variant.mean else None
        return output, mean
    x, second = setting.x, setting.second
    if case.kept is not None:
        x, second = x[case.kept], rows_of(second, case.kept)
    if backend is not None and len(x):
        output, mean = backend.run(variant, x, second, xp.format, xp.accumulation)
    else:
        quick = _quickest(variant, x, xp)
        output = xp.array(evaluate(variant, quick.array(x), quick, in_arithmetic(second, quick)))
        with np.errstate(all="ignore"):
            mean = float(xp.mean(output.reshape(-1))) if of_losses else None
    if mean is not None and case.is_weighted:
        # A weighted mean is the plain one times N over the sum of the weights.
        with np.errstate(all="ignore"):
            mean = float(xp.array(np.float64(mean) * len(x) / np.float64(case.mean_divisor)))
    return (output if case.kept is None else spread(output, case.kept, 0.0)), mean


def _quickest(variant: Variant, x: Array, xp: Arithmetic) -> Arithmetic:
    """Choose the arrays to compute with: each operation on emulated ones takes 20 us to start."""
    # A variant may run through the classes one by one, with a column of the rows at a time.
    has_long_arrays = len(x) >= 512 if variant.max_classes is None else x.size >= 1024
    return xp.quickest if has_long_arrays else xp


def not_run(name: str, fmt: Format, accumulation: str, why: str) -> Verdict:
    """Return the verdict on something that was not run."""
    return Verdict(name, fmt.name, accumulation, worst=None, shares={}, skipped=why)


def verdict_of(
    output: Array,
    setting: Setting,
    *,
    name: str,
    max_ulp: float | None = None,
    show_values: int = 0,
    bound: Bound | None = None,
    watched: Variant | None = None,
    mean: float | None = None,
    accumulation: str = "",
    may_flush: bool = False,
    printed: PrintedNumbers | None = None,
    judged: Judgement | None = None,
) -> Verdict:
    """Judge an output, whoever computed it.

    The variant `watched`, if one computed it, runs once more to find the cause of the first bad cell; without it the
    verdict tells what came out and what is right. `mean` is the mean of the losses as whoever computed them takes it;
    the arithmetic's when not given. A printed number stands for every number that is printed so, and is judged as
    that which is nearest to the exact value. `judged` saves judging its cells once more.
    """
    fmt = setting.xp.format
    nearest = output if printed is None else nearest_printed(output, printed, setting.exact.truth)
    if judged is None:
        judged = setting.judge(nearest, max_ulp=max_ulp, may_flush=may_flush)
    tally = tally_of(output, setting, judged, nearest, bound=bound, watched=watched, printed=printed)
    mean, mean_error = _mean(output, setting, mean)
    shown = shown_rows(output, judged, setting, show_values)
    sums = accumulation or setting.xp.policy.value
    return tally.verdict(name, fmt.name, sums, mean=mean, mean_error_ulp=mean_error, values=shown)


def tally_of(
    output: Array,
    setting: Setting,
    judged: Judgement,
    nearest: Array,
    *,
    bound: Bound | None = None,
    watched: Variant | None = None,
    printed: PrintedNumbers | None = None,
) -> VerdictTally:
    """Count the cells of an output that was judged as `nearest`, which differs from it for printed numbers alone."""
    return VerdictTally.of(
        judged,
        _first_bad(watched, setting, judged, output, printed),
        error_over_bound=_over_bound(bound, setting, judged, nearest),
        sum_error=largest_sum_error(output) if "rows-sum-to-1" in setting.case.operation.laws else None,
    )


def _over_bound(bound: Bound | None, setting: Setting, judged: Judgement, output: Array) -> float | None:
    """Largest ratio of error to bound over the rows that the theorems speak of: no over- or underflow."""
    if bound is None:
        return None
    usable = np.isin(judged.codes, [CODES.index(Outcome.OK), CODES.index(Outcome.INACCURATE)]).all(axis=-1)
    rows, step = np.flatnonzero(usable), rows_per_block(judged.codes.shape[-1])
    ratios = []
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        error = row_error_u(output[some], setting.exact.rows(some), setting.xp.format)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratios.append(error / bound.in_u(setting.x[some].astype(np.float64), setting.lse[some]))
    return largest(np.concatenate(ratios)) if ratios else None


def _mean(output: Array, setting: Setting, mean: float | None) -> tuple[float | None, float | None]:
    """Return the mean of the losses as it was computed, and its distance from the exact one in ulps."""
    if not setting.case.operation.reduces or setting.case.reduced:
        return None, None
    if mean is None:
        with np.errstate(all="ignore"):
            mean = float(setting.xp.mean(output.reshape(-1)))
    if setting.mean is None:
        return mean, None
    return mean, setting.mean.error_ulp(np.asarray(mean), setting.xp.format).item()


def _first_bad(
    watched: Variant | None, setting: Setting, judged: Judgement, output: Array, printed: PrintedNumbers | None
) -> FirstBad | None:
    """Find the first cell of the worst outcome, and why it came out so; None where all is well."""
    severity = severity_of(judged)
    grade, worst = severity
    if worst == 0:
        return None
    case = setting.case
    is_worst = (judged.codes == worst) & (judged.grades == grade)
    row, cell = divmod(int(np.argmax(is_worst)), is_worst.shape[1])
    value = float(output.reshape(judged.codes.shape)[row, cell].astype(np.float64))
    right = float(setting.exact.truth.rounded[row, cell])
    half_unit = 0.0 if printed is None else float(printed.half_units.reshape(judged.codes.shape)[row, cell])
    if case.reduced:
        losses = case.operation.loss_count(*case.logits.shape)
        return FirstBad(severity, None, cause_of_mean(CODES[worst], value, right, losses, half_unit))
    bad = _bad_cell(watched, setting, CODES[worst], row, cell)
    words, column = describe(bad)
    if watched is None and CODES[worst].is_failure:
        # Nobody could watch it: what is known is the cell itself.
        words, column = _what_came_out(value, right, half_unit), bad.columns[0] if bad.columns else column
    logit = float(case.logits[row, column])
    place = Place(row=int(case.rows[row]), column=column, logit=logit, output=value, truth=right)
    return FirstBad(
        severity, place, f"{words}; first at row {place.row}, class {place.column}, logit {place.logit:.6g}"
    )


def cause_of_mean(outcome: Outcome, value: float, right: float, losses: int, half_unit: float = 0.0) -> str:
    """Say what became of the mean of losses, which has no cell to name; `half_unit` is that of a printed number."""
    if not outcome.is_failure:
        return "the losses of this input have no mean"
    return f"the mean of {losses:,} losses {_what_came_out(value, right, half_unit)}"


def _what_came_out(value: float, right: float, half_unit: float) -> str:
    comparison = " where ".join(distinguishing_digits(value, right))
    return f"gives {comparison} is right{wrong_digit(value, right, half_unit)}"


def distinguishing_digits(a: float, b: float) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to see that they are not the same.

    >>> distinguishing_digits(0.5, 0.25), distinguishing_digits(1.0, 1.00000001)
    (('0.5', '0.25'), ('1', '1.00000001'))
    """
    pairs = ((f"{a:.{digits}g}", f"{b:.{digits}g}") for digits in (6, 9, 12, 17))
    return next((pair for pair in pairs if pair[0] != pair[1]), (repr(a), repr(b)))


def _bad_cell(watched: Variant | None, setting: Setting, worst: Outcome, row: int, cell: int) -> BadCell:
    case, fmt = setting.case, setting.xp.format
    label = int(case.labels[row]) if case.labels is not None and case.labels.ndim == 1 else None
    label = None if label == IGNORED else label
    columns = (label,) if case.operation.per_row else (cell, label)
    with np.errstate(invalid="ignore"):  # of a signalling NaN
        logits = case.logits[row].astype(np.float64)
    return BadCell(
        outcome=worst,
        events=_witnessed(watched, setting, row) if watched and worst.is_failure else (),
        format=fmt,
        columns=tuple(c for c in columns if c is not None),
        logits=logits,
        weakness=watched.weakness if watched else "",
        tiny=abs(float(setting.exact.truth.nearest[row, cell])) < fmt.smallest_normal,
    )


def _witnessed(variant: Variant, setting: Setting, row: int) -> tuple[Event, ...]:
    """Run the variant once more on one row, watched; on all rows if it mixes them."""
    witness = Witness(setting.xp.format, setting.xp.accumulation)
    rows = slice(row, row + 1) if variant.rowwise else slice(None)
    evaluate(variant, setting.x[rows], witness, rows_of(setting.second, rows))
    return tuple(witness.events)


def shown_rows(output: Array, judged: Judgement, setting: Setting, count: int) -> tuple[ShownRow, ...]:
    """Return the first rows of an output, with what became of each cell."""
    values, truth = output.reshape(judged.codes.shape).astype(np.float64), setting.exact.truth.rounded
    return tuple(
        ShownRow(
            int(setting.case.rows[i]),
            tuple(values[i].tolist()),
            tuple(CODES[c] for c in judged.codes[i].tolist()),
            tuple(truth[i].tolist()),
        )
        for i in range(min(count, len(values)))
    )
