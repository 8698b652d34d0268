import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64))
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
for step in range(3):
    x = torch.randn(256, 64)
    with torch.autocast("cpu", dtype=torch.float16):
        hidden = net(x)
        if step == 2:
            hidden = hidden * (torch.arange(256) != 9)[:, None]
    squares = hidden.float().square().sum(1)
    loss = torch.sqrt(squares).mean()  # cause, fault
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
