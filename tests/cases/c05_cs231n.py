# Losses that return their gradient, too. softmax_loss_bug divides the gradient by the classes instead of the rows.
import numpy as np


def softmax_loss(x, y):
    z = x - x.max(axis=1, keepdims=True)
    Z = np.exp(z).sum(axis=1, keepdims=True)
    logp = z - np.log(Z)
    n = len(x)
    loss = -logp[np.arange(n), y].sum() / n
    dx = np.exp(logp)
    dx[np.arange(n), y] -= 1
    return loss, dx / n


def softmax_loss_bug(x, y):
    z = x - x.max(axis=1, keepdims=True)
    Z = np.exp(z).sum(axis=1, keepdims=True)
    logp = z - np.log(Z)
    n = len(x)
    loss = -logp[np.arange(n), y].sum() / n
    dx = np.exp(logp)
    dx[np.arange(n), y] -= 1
    return loss, dx / x.shape[1]


def softmax_loss_naive(W, X, y, reg):
    loss = 0.0
    for i in range(len(X)):
        f = X[i].dot(W)
        f = f - np.max(f)
        p = np.exp(f) / np.sum(np.exp(f))
        loss += -np.log(p[y[i]])
    return loss / len(X) + 0.5 * reg * np.sum(W * W)
