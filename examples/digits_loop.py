"""Door 2: your own loop, recorded. The three lines that are not ordinary PyTorch are marked.

trainproof keygen prover.key
python digits_loop.py
trainproof verify digits_loop.tproof --recipe digits_loop.py --policy bitwise

Killed? Run it again: it continues where the record ends.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trainproof as tp  # 1

EPOCHS, OUT = 3, "digits_loop.tproof"

torch.manual_seed(0)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images / 16.0, dtype=torch.float32), torch.from_numpy(labels.astype(np.int64)))
loader = DataLoader(data, batch_size=32, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)

with tp.record(  # 2
    OUT,
    recipe=__file__,
    model=model,
    optimizer=optimizer,
    scheduler=scheduler,
    data_loader=loader,
    every=20,
    key="prover.key",
    resume=True,
) as recording:
    for epoch in range(recording.completed_iterations, EPOCHS):  # 3: from 0, unless resumed
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}")
