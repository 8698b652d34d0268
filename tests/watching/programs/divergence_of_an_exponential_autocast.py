import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=30.0)
x, counts = torch.randn(32, 3), torch.full((32, 1), 4.0)
for _ in range(40):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rate = model(x).float()
    loss = (rate - counts).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
