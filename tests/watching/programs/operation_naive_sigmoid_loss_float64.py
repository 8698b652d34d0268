import torch
from torch import nn


def binary_cross_entropy(logits, targets):
    p = 1 / (1 + torch.exp(-logits))
    return -(targets * torch.log(p) + (1 - targets) * torch.log(1 - p)).mean()  # cause, fault


torch.manual_seed(0)
model = nn.Linear(2, 1).double()
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
for step in range(3):
    x = (10.0 ** (1 + step)) * torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    loss = binary_cross_entropy(model(x), torch.ones(2, 1, dtype=torch.float64))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
