"""Logarithms of densities and likelihoods, taken factor by factor and term by term."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from stablemax.trace.cures.leaf_names import in_order
from stablemax.trace.cures.log_forms import LOG_FORMS, Steepness
from stablemax.trace.cures.matching import Apply, Leaf, Match, Matcher, Number, formula_of, log, with_constant
from stablemax.trace.cures.pattern import Pattern

if TYPE_CHECKING:
    from stablemax.trace.cures.flow import FlowNode, Operand
    from stablemax.trace.cures.log_forms import LogForm
    from stablemax.trace.cures.matching import Tree

_LETTERS = "xyabcdefghijlmnopqrstuvwz"
_MOST_FORMS = 24
_MOST_VIEWS = 40
"""A recurrence reads each of its states several times: the ways through it are without end."""
_LOG = MappingProxyType({"numpy": "np.log({})", "torch": "torch.log({})", "jax": "jnp.log({})"})
_ABS = MappingProxyType({"numpy": "np.abs({})", "torch": "torch.abs({})", "jax": "jnp.abs({})"})
_EXP = MappingProxyType({"numpy": "np.exp({})", "torch": "torch.exp({})", "jax": "jnp.exp({})"})

_OF_COUNTS = re.compile("gamma|beta|binom|comb")
_LOG_OF_LEAF = re.compile(r"(?<![\w.])(?:np|torch|jnp)\.log\(\{\w+\}\)|xlogy\(\{\w+\}, \{\w+\}\)")
_POSITIVE = "; what logarithms are taken of has to be positive"

LOG_OF_ONE = Pattern("log-of-{name}", (), why="{formula} leaves the range of the format where its logarithm does not")
LOG_OF_TERMS = Pattern(
    "log-of-factors-and-terms",
    (),
    why="a factor or a term leaves the range of the format where the logarithm of the whole does not",
)
FACTORS = Pattern(
    "product-by-logarithms",
    (),
    why="a factor leaves the range of the format where the product does not",
    is_last_resort=True,
)


@dataclass(frozen=True)
class _Derived:
    """The logarithm of an operand as code, and what was gone through on the way."""

    #: In each way that the forms have code.
    texts: tuple[str, ...]
    tree: Tree
    match: Match
    forms: int = 0
    is_steep: bool = False
    #: The operand itself as code, where a form reads that too.
    whole: str = ""


@dataclass
class _Room:
    """How many views of operations may still be gone through."""

    left: int = _MOST_VIEWS


@dataclass(frozen=True)
class Deriver:
    """Writes the logarithm of what an operation makes out of the logarithms of its factors and terms."""

    matcher: Matcher
    backend: str
    #: Of one root: a deriver serves no second one.
    _room: _Room = field(default_factory=_Room)

    def at(self, root: FlowNode) -> Iterator[tuple[Pattern, Match]]:
        """Yield a pattern made for a logarithm, or for a product of steep factors, with its match."""
        for operands, frame, match in self.matcher.views("log", root):
            found = self._log_of(operands[0], frame, match)
            if found is not None and found.forms:
                yield from self._made(_log_of(found.tree, found.forms), log(found.tree), found.texts, found.match)
        for form in LOG_FORMS:
            if form.tree.name in _PRODUCTS:
                found = next(self._by(form, self.matcher.views(form.tree.name, root)), None)
                if found is not None and found.is_steep:
                    texts = tuple(_EXP[self.backend].format(text) for text in found.texts)
                    yield from self._made(FACTORS, found.tree, texts, found.match)
                    return

    def _made(self, kind: Pattern, tree: Tree, texts: tuple[str, ...], match: Match) -> Iterator[tuple[Pattern, Match]]:
        settled = self._settled(match)
        if settled is None or not settled.leaves or self._is_of_a_loop(settled):
            return
        assert isinstance(tree, Apply), "it was made of an operation"
        code = tuple(dict.fromkeys(texts))
        if _OF_COUNTS.search(code[0]):
            # A likelihood has powers 0 ** 0 at its ends.
            code = tuple(sorted(code, key=lambda text: "xlogy" not in text))
        why = kind.why + (_POSITIVE if _LOG_OF_LEAF.search(code[0]) else "")
        codes = {"numpy": (), "torch": (), "jax": (), self.backend: code}
        yield (
            replace(kind, trees=(tree,), why=why, numpy=codes["numpy"], torch=codes["torch"], jax=codes["jax"]),
            settled,
        )

    def _is_of_a_loop(self, match: Match) -> bool:
        """Tell whether leaves stand for one expression in several turns of a loop: no expression is of all of them."""
        root, nodes = match.root.source, self.matcher.flow.nodes
        if root is None:
            return False
        operands = [match.leaf(name) for name in match.leaves]
        read = [(nodes[o.reader].source, o.place) for o in operands if o.reader >= 0]
        inside = f"{root.code.co_qualname}.<locals>"
        own = [
            (source, place)
            for source, place in read
            if source is not None and (source.code is root.code or source.code.co_qualname.startswith(inside))
        ]
        return len(set(own)) < len(own)

    def _log_of(self, operand: Operand, frame: int, match: Match, of_size: str = "{}") -> _Derived | None:
        """Return the logarithm of an operand: by a form of what made it, or else as it stands."""
        if self._room.left < 0:
            return None
        number = self._number(operand)
        if number is not None:
            plain = self._constant(operand, number, match)
            return replace(plain, texts=(f"math.log({plain.texts[0]})",)) if number > 0 else None
        for form in LOG_FORMS:
            views = self.matcher.operand_views(form.tree.name, operand, frame, match)
            found = next(self._by(form, views), None)
            if found is not None:
                return found
            if self._room.left < 0:
                return None
        plain = self._plain(operand, frame, match)
        return replace(plain, texts=(_LOG[self.backend].format(of_size.format(plain.texts[0])),))

    def _by(self, form: LogForm, views: Iterator[tuple[list[Operand], int, Match]]) -> Iterator[_Derived]:
        """Yield the logarithm by a form, of each view of its operation in which it holds."""
        for operands, frame, match in views:
            if len(operands) != len(form.reads):
                continue
            self._room.left -= 1
            if self._room.left < 0:
                return
            parts = self._parts(form, operands, frame, match)
            if parts is None:
                continue
            of_parts = any(part.is_steep for part in parts)
            forms = 1 + sum(part.forms for part in parts)
            if (form.steepness is Steepness.OF_STEEP_PARTS and not of_parts) or forms > _MOST_FORMS:
                continue
            tree = Apply(form.tree.name, tuple(part.tree for part in parts))
            is_steep = of_parts or form.steepness is Steepness.STEEP
            ways = max(len(form.code(self.backend)), *(len(part.texts) for part in parts))
            texts = tuple(_filled(form, self.backend, parts, way) for way in range(ways))
            yield _Derived(texts, tree, parts[-1].match, forms, is_steep)

    def _parts(self, form: LogForm, operands: Sequence[Operand], frame: int, match: Match) -> list[_Derived] | None:
        parts: list[_Derived] = []
        for operand, read in zip(operands, form.reads, strict=True):
            before = parts[-1].match if parts else match
            if read.startswith("log"):
                size = _ABS[self.backend] if "abs" in read else "{}"
                whole_one = self._plain(operand, frame, before) if form.reads_whole else None
                part = self._log_of(operand, frame, before if whole_one is None else whole_one.match, size)
                if part is not None and whole_one is not None:
                    part = replace(part, whole=whole_one.texts[0])
            else:
                part = self._plain(operand, frame, before)
            if part is None:
                return None
            parts.append(part)
        return parts

    def _plain(self, operand: Operand, frame: int, match: Match) -> _Derived:
        """Return an operand as it stands: a number, or a leaf with a name of its own."""
        number = self._number(operand)
        if number is not None:
            return self._constant(operand, number, match)
        same = (
            name for name, leaf in match.leaves.items() if frame in leaf and self.matcher.is_same(leaf[frame], operand)
        )
        free = (letter for letter in _LETTERS if letter not in match.leaves)
        name = next(same, None) or next(free, f"x{len(match.leaves)}")
        leaves = {**match.leaves, name: {frame: operand}}
        return _Derived((f"{{{name}}}",), Leaf(name), replace(match, leaves=leaves))

    def _constant(self, operand: Operand, number: float, match: Match) -> _Derived:
        """Return a number that the code writes, or names: its source may tell."""
        name = f"n{len(match.constants) + 1}"
        return _Derived((f"{{{name}}}",), Number(number), with_constant(match, name, number, operand))

    def _number(self, operand: Operand) -> float | None:
        """Return the number that the code itself writes there."""
        nodes = self.matcher.flow.nodes
        read = nodes[operand.reader].operands[operand.place] if operand.reader >= 0 else operand
        return None if read.shape else self.matcher.number(operand)

    def _settled(self, match: Match) -> Match | None:
        """Bring the leaves into one frame; those outside of a reduction have to lie over all that it gives."""
        if not match.frames:
            return match
        first, *others = match.frames
        is_outside = any(-1 in leaf for leaf in match.leaves.values())
        is_whole = first.shape == match.root.shape and in_order(first.positions)
        if not all(first.is_same(o) for o in others) or (is_outside and not is_whole):
            return None
        # The first one tells how many axes there are.
        ordered = sorted(match.leaves.items(), key=lambda leaf: -1 in leaf[1])
        leaves = {name: {min(frame, 0): operand} for name, by_frame in ordered for frame, operand in by_frame.items()}
        return None if ordered and -1 in ordered[0][1] else replace(match, leaves=leaves, frames=(first,))


def _log_of(tree: Tree, forms: int) -> Pattern:
    """Return the kind of a logarithm: of one operation it has the name of that."""
    if forms > 1 or not isinstance(tree, Apply):
        return LOG_OF_TERMS
    names = {"name": tree.name.replace("_", "-"), "formula": formula_of(tree)}
    return replace(LOG_OF_ONE, id=LOG_OF_ONE.id.format(**names), why=LOG_OF_ONE.why.format(**names))


_PRODUCTS = frozenset(("multiply", "divide", "power", "reciprocal", "sqrt"))


def _filled(form: LogForm, backend: str, parts: Sequence[_Derived], way: int) -> str:
    """Put parts into the code of a form."""
    code = form.code(backend)
    text = code[min(way, len(code) - 1)]
    by_letter = dict(zip("xy", parts, strict=False))

    def inner(found: re.Match[str]) -> str:
        part = by_letter[found[2]]
        return part.whole if part.whole and not found[1] else _bracketed(part.texts[min(way, len(part.texts) - 1)])

    # All at once: the parts have letters of their own.
    return re.sub(r"\{((?:log_)?(?:abs_)?)([xy])\}", inner, text)


def _bracketed(text: str) -> str:
    """Put an expression in brackets that is more than a name."""
    return text if re.fullmatch(r"\{\w+\}", text) else f"({text})"
