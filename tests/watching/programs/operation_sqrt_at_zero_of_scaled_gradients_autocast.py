import torch
from torch import nn

torch.manual_seed(0)
model = nn.Linear(4, 3, bias=False)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(5):
    x = torch.randn(5, 4)
    if step == 2:
        x[1] = 0.0
    with torch.autocast("cpu", dtype=torch.float16):
        hidden = model(x)
    length = torch.sqrt(hidden.float().square().sum(1))  # cause, fault
    loss = (length - 1).abs().mean()
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
