import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=300.0)
x = torch.randn(32, 8)
y = x.sum(1, keepdim=True)
for _ in range(8):
    with torch.autocast("cpu", dtype=torch.float16):
        loss = (model(x).float() - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
