# A guard that many answers recommend: "if the sum is 0, ...". The exact sum of exponentials is never 0.
# On c28_x.csv it gives 0.5, 0.5 where 0.731059, 0.268941 is right: exp underflows: the comparison goes the other way.
import numpy as np


def if_guard_softmax(x):
    out = np.empty_like(x)
    for i in range(len(x)):
        e = np.exp(x[i])
        s = e.sum()
        if s == 0:
            out[i] = 1 / len(e)
        else:
            out[i] = e / s
    return out
