"""Papers, books and issue threads that the variants and bounds rest on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """A source."""

    #: Names, or the project that a thread belongs to.
    authors: str
    #: Year of publication; a thread has none.
    year: int | None
    #: Title of the paper or book, or the kind and number of a thread.
    title: str
    #: Journal, conference or project.
    where: str
    #: DOI or address.
    link: str

    def __str__(self) -> str:
        """One line: authors (year), title, where, link."""
        when = f" ({self.year})" if self.year else ""
        return f"{self.authors}{when}. {self.title}. {self.where}. {self.link}"


_PAPERS = {
    "blanchard-2021": Citation(
        "P. Blanchard, D. J. Higham, N. J. Higham",
        2021,
        "Accurately computing the log-sum-exp and softmax functions",
        "IMA J. Numer. Anal. 41(4), 2311-2330",
        "https://doi.org/10.1093/imanum/draa038",
    ),
    "goodfellow-2016": Citation(
        "I. Goodfellow, Y. Bengio, A. Courville",
        2016,
        "Deep Learning, section 4.1: Overflow and Underflow",
        "MIT Press",
        "https://www.deeplearningbook.org",
    ),
    "milakov-2018": Citation(
        "M. Milakov, N. Gimelshein",
        2018,
        "Online normalizer calculation for softmax",
        "arXiv",
        "https://arxiv.org/abs/1805.02867",
    ),
    "dao-2022": Citation(
        "T. Dao, D. Y. Fu, S. Ermon, A. Rudra, C. Re",
        2022,
        "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
        "NeurIPS",
        "https://arxiv.org/abs/2205.14135",
    ),
    "dekker-1971": Citation(
        "T. J. Dekker",
        1971,
        "A floating-point technique for extending the available precision",
        "Numer. Math. 18, 224-242",
        "https://doi.org/10.1007/BF01397083",
    ),
    "knuth-1997": Citation(
        "D. E. Knuth",
        1997,
        "The Art of Computer Programming, volume 2, section 4.2.2",
        "Addison-Wesley",
        "https://www-cs-faculty.stanford.edu/~knuth/taocp.html",
    ),
    "rump-2008": Citation(
        "S. M. Rump, T. Ogita, S. Oishi",
        2008,
        "Accurate floating-point summation part I: faithful rounding",
        "SIAM J. Sci. Comput. 31(1), 189-224",
        "https://doi.org/10.1137/050645671",
    ),
    "prieto-2025": Citation(
        "L. Prieto, M. Barsbey, P. A. M. Mediano, T. Birdal",
        2025,
        "Grokking at the Edge of Numerical Stability",
        "ICLR",
        "https://arxiv.org/abs/2501.04697",
    ),
    "maechler-2012": Citation(
        "M. Maechler",
        2012,
        "Accurately computing log(1 - exp(-|a|)), assessed by the Rmpfr package",
        "CRAN, vignette of Rmpfr",
        "https://CRAN.R-project.org/package=Rmpfr/vignettes/log1mexp-note.pdf",
    ),
}

_THREADS = (
    "pytorch/pytorch/issues/11752",
    "pytorch/pytorch/issues/31829",
    "google-deepmind/optax/pull/1792",
    "scipy/scipy/issues/19521",
    "scipy/scipy/pull/21597",
    "keras-team/keras/issues/17634",
    "Dao-AILab/flash-attention/issues/1930",
    "scikit-learn/scikit-learn/issues/24315",
    "pytorch/pytorch/issues/1835",
    "pytorch/pytorch/pull/2211",
    "pytorch/pytorch/issues/40553",
    "pytorch/pytorch/issues/49844",
    "pytorch/pytorch/issues/80488",
    "pytorch/pytorch/issues/135359",
    "google-deepmind/optax/pull/431",
    "google-deepmind/optax/pull/1786",
    "keras-team/keras/issues/13747",
    "huggingface/trl/issues/7221",
    "apache/tvm/issues/20184",
    "huggingface/candle/issues/2561",
    "clab/dynet/issues/1525",
)


def _thread(address: str) -> Citation:
    """Return the citation of an issue or a pull request on GitHub."""
    _, project, kind, number = address.split("/")
    title = f"{'Issue' if kind == 'issues' else 'Pull request'} {number}"
    return Citation(project, None, title, "GitHub", f"https://github.com/{address}")


_CITED_THREADS = {f"{c.authors}-{c.title.split()[-1]}": c for c in map(_thread, _THREADS)}

CITATIONS: dict[str, Citation] = {**_PAPERS, **_CITED_THREADS}
"""Every source by its key: the first author and the year, or the project and the number of its thread."""
