import copy
import io

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
with torch.inference_mode():
    model(torch.randn(3, 4)).add_(1)
for _ in range(3):
    loss = model(torch.randn(3, 4)).sum() + checkpoint(model, torch.randn(3, 4), use_reentrant=False).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.func.grad(lambda x: (x**2).sum())(torch.randn(3))
torch.vmap(lambda x: x.exp().sum())(torch.randn(3, 4))
torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.randn(3))
stored = io.BytesIO()
torch.save(model.state_dict(), stored)
stored.seek(0)
model.load_state_dict(torch.load(stored))
copy.deepcopy(model)
with torch.device("meta"):
    nn.Linear(3, 3)
