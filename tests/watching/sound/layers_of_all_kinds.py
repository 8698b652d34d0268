import torch
from torch import nn

torch.manual_seed(0)
lstm, gru = nn.LSTM(4, 5, batch_first=True, bidirectional=True), nn.GRU(4, 3)
conv, norm = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)
embedding = nn.Embedding(10, 4, sparse=True, padding_idx=0)
sparse = torch.optim.SparseAdam(embedding.parameters())
dense = torch.optim.Adam([*lstm.parameters(), *gru.parameters(), *conv.parameters(), *norm.parameters()], amsgrad=True)
for _ in range(2):
    x = embedding(torch.randint(0, 10, (2, 6)))
    a, b = lstm(x)[0], gru(x)[0]
    c = nn.functional.max_pool2d(norm(conv(torch.randn(2, 1, 6, 6))), 2)
    packed = nn.utils.rnn.pack_padded_sequence(x, [6, 3], batch_first=True)
    d = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0])[0]
    e = nn.functional.scaled_dot_product_attention(x[None], x[None], x[None], is_causal=True)
    f = torch.fft.rfft(a, dim=1).abs().mean()
    g = torch.distributions.Normal(a.mean(), a.std()).log_prob(torch.zeros(()))
    h = nn.functional.ctc_loss(
        torch.randn(6, 2, 4).log_softmax(2), torch.tensor([1, 2, 3, 1]), torch.tensor([6, 6]), torch.tensor([2, 2])
    )
    loss = a.sum() + b.square().sum() + c.mean() + d.mean() + e.mean() + f + g + h
    sparse.zero_grad()
    dense.zero_grad()
    loss.backward()
    sparse.step()
    dense.step()
