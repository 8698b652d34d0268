"""The operations by name, for the tests that are about one of them."""

from __future__ import annotations

from stablemax.operations import get_operation

SOFTMAX = get_operation("softmax")
LOG_SOFTMAX = get_operation("log_softmax")
LOGSUMEXP = get_operation("logsumexp")
CROSS_ENTROPY = get_operation("cross_entropy")
CROSS_ENTROPY_GRAD = get_operation("cross_entropy_grad")
SOFTMAX_VJP = get_operation("softmax_vjp")
SIGMOID = get_operation("sigmoid")
LOG_SIGMOID = get_operation("log_sigmoid")
SOFTPLUS = get_operation("softplus")
BINARY_CROSS_ENTROPY = get_operation("binary_cross_entropy")
BINARY_CROSS_ENTROPY_GRAD = get_operation("binary_cross_entropy_grad")
ENTROPY = get_operation("entropy")
KL_DIVERGENCE = get_operation("kl_divergence")
