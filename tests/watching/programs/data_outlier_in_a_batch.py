import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in range(4):
    x = torch.randn(16, 6)
    if step == 2:
        x[3, 2] = 1e30
    loss = (model(x) - 1).square().mean()  # seen first
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
