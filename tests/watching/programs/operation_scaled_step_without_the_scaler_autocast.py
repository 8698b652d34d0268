import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
for _ in range(3):
    with torch.autocast("cpu", dtype=torch.float16):
        out = model(torch.randn(5, 4))
    loss = out.float().square().mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    optimizer.step()  # fault
