"""Papers, books and issue threads that the variants and bounds rest on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """A source."""

    #: Where is the journal, conference or project.
    authors: str
    #: Of publication; a thread has none.
    year: int | None
    #: Where is the journal, conference or project.
    title: str
    #: Where is the journal, conference or project.
    where: str
    #: DOI or address.
    link: str

    def __str__(self) -> str:
        """One line: authors (year), title, where, link."""
        when = f" ({self.year})" if self.year else ""
        return f"{self.authors}{when}. {self.title}. {self.where}. {self.link}"


CITATIONS: dict[str, Citation] = {
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
    "pytorch-11752": Citation(
        "pytorch", None, "Issue 11752", "GitHub", "https://github.com/pytorch/pytorch/issues/11752"
    ),
    "pytorch-31829": Citation(
        "pytorch", None, "Issue 31829", "GitHub", "https://github.com/pytorch/pytorch/issues/31829"
    ),
    "optax-1792": Citation(
        "optax", None, "Pull request 1792", "GitHub", "https://github.com/google-deepmind/optax/pull/1792"
    ),
    "scipy-19521": Citation("scipy", None, "Issue 19521", "GitHub", "https://github.com/scipy/scipy/issues/19521"),
    "scipy-21597": Citation("scipy", None, "Pull request 21597", "GitHub", "https://github.com/scipy/scipy/pull/21597"),
    "keras-17634": Citation("keras", None, "Issue 17634", "GitHub", "https://github.com/keras-team/keras/issues/17634"),
    "flash-attention-1930": Citation(
        "flash-attention",
        None,
        "Issue 1930",
        "GitHub",
        "https://github.com/Dao-AILab/flash-attention/issues/1930",
    ),
    "scikit-learn-24315": Citation(
        "scikit-learn",
        None,
        "Issue 24315",
        "GitHub",
        "https://github.com/scikit-learn/scikit-learn/issues/24315",
    ),
}
