import torch
from torch import nn

torch.manual_seed(0)
policy = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 18))
optimizer = torch.optim.SGD(policy.parameters(), lr=1e-3)
for step in range(2):
    observed, gain = torch.randn(512, 64), torch.randn(512)
    if step == 1:
        observed[37] *= 200
    p = torch.softmax(policy(observed), -1)  # cause
    action = torch.multinomial(p.detach(), 1)
    log_p = torch.log(p)  # fault
    entropy = -(p * log_p).sum(-1).mean()
    loss = -(log_p.gather(1, action)[:, 0] * gain).mean() - 0.01 * entropy
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
