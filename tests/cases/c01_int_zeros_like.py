# Softmaxes whose result takes the dtype of the input: on integers each probability is cut off to 0.
import numpy as np


def softmax_columns(x):
    if x.ndim == 1:
        return np.exp(x) / np.sum(np.exp(x))
    out = np.zeros_like(x)
    for j in range(x.shape[1]):
        total = np.sum(np.exp(x[:, j]))
        out[:, j] = np.exp(x[:, j]) / total
    return out


def softmax_rows(x):
    # the same by rows: right on floats (naive), all zeros on integers
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        out[i] = np.exp(x[i]) / np.sum(np.exp(x[i]))
    return out
