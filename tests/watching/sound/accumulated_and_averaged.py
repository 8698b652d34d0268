import copy

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
average = copy.deepcopy(model)
optimizer = torch.optim.NAdam(model.parameters(), lr=1e-2)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=6)
lowest, seen = torch.tensor(torch.inf), torch.full((2,), -torch.inf)
for _ in range(4):
    for _ in range(3):
        logits = model(torch.randn(4, 4))
        loss = nn.functional.cross_entropy(logits, torch.randint(0, 2, (4,))) / 3
        loss.backward()
        seen = torch.maximum(seen, logits.detach().amax(0))
    nn.utils.clip_grad_value_(model.parameters(), 0.5)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
            slow.lerp_(fast, 0.1)
        lowest = torch.minimum(lowest, average(torch.randn(4, 4)).square().mean())
        p = model(torch.randn(3, 4)).softmax(1)
        precision = torch.zeros(()) / torch.zeros(())  # of a class that nobody guessed
