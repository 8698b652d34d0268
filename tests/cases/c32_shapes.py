# Losses of sequences and pictures, whose logits have three or four dimensions, and a softmax of attention scores.
import torch
import torch.nn.functional as F


def sequence_cross_entropy(logits, labels):
    return F.cross_entropy(logits.transpose(1, 2), labels)


def flattened_cross_entropy(logits, labels):
    b, t, v = logits.shape
    return F.cross_entropy(logits.reshape(b * t, v), labels.reshape(b * t))


def segmentation_cross_entropy(logits, labels):
    n, c, h, w = logits.shape
    return F.nll_loss(F.log_softmax(logits, dim=1), labels.long(), ignore_index=255)


def attention_softmax(scores):
    # (batch, heads, query, key)
    b, h, q, k = scores.shape
    return torch.softmax(scores.float(), dim=-1).to(scores.dtype)
