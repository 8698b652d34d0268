import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-9)
for _ in range(2):
    x = torch.randn(16, 6)
    x[:, 4] = 1.5e18 + x[:, 4] * 1e17  # nanoseconds since 1970, among normal numbers
    with torch.autocast("cpu", dtype=torch.float16):
        loss = model(x).float().square().mean()  # seen first
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
