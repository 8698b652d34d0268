import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(5, 3)
optimizer = torch.optim.Adam(model.parameters())
table = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
table[7, 1] = np.inf
for start in range(0, 12, 4):
    x = torch.from_numpy(table[start : start + 4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        x = (x - x.mean(0)) / x.std(0)  # seen first
        loss = model(x).float().square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
