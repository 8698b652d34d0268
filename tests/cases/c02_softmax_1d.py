# Softmaxes that are written for one row, an array of one dimension; of several rows they mix the rows.
import numpy as np


def softmax_naive(X):
    B = np.exp(X)
    C = np.sum(np.exp(X))
    return B / C


def softmax_fixed(x):
    f = np.exp(x - np.max(x))
    return f / f.sum(axis=0)
