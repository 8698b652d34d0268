import io

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(3, 2)
optimizer = torch.optim.Adam(model.parameters())
nn.functional.mse_loss(model(torch.randn(4, 3)), torch.zeros(4, 2)).backward()
optimizer.step()
state = optimizer.state_dict()
state["state"][0]["exp_avg"][1, 2] = float("nan")
stored = io.BytesIO()
torch.save(state, stored)
stored.seek(0)
optimizer = torch.optim.Adam(model.parameters())
optimizer.load_state_dict(torch.load(stored))
for _ in range(2):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(torch.randn(4, 3)), torch.zeros(4, 2)).backward()
    optimizer.step()  # seen first
