import torch
from torch import nn

torch.manual_seed(0)
make, judge = nn.Linear(3, 5), nn.Sequential(nn.Linear(5, 6), nn.LeakyReLU(), nn.Linear(6, 1))
for_make = torch.optim.Adam(make.parameters(), lr=1e-3, foreach=True)
for_judge = torch.optim.Adam(judge.parameters(), lr=1e-3, fused=True)
bce = nn.functional.binary_cross_entropy_with_logits
for _ in range(4):
    made = make(torch.randn(8, 3))
    for_judge.zero_grad()
    (bce(judge(torch.randn(8, 5)), torch.ones(8, 1)) + bce(judge(made.detach()), torch.zeros(8, 1))).backward()
    for_judge.step()
    for_make.zero_grad()
    bce(judge(made), torch.ones(8, 1)).backward()
    for_make.step()
