import torch
from torch import nn

torch.manual_seed(0)
layer = nn.Linear(64, 128, bias=False)
optimizer = torch.optim.SGD(layer.parameters(), lr=1e-3)
for step in range(3):
    x = torch.randn(512, 64)
    if step == 2:
        x[100] = 0.0
    h = layer(x)
    length = torch.sqrt((h * h).sum(1))  # cause, fault
    loss = (length - 1).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
