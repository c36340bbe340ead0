import os
import wave

import numpy as np
import torch
from torch.utils.data import Dataset


def find_audio(root, extensions=(".wav", ".flac")):
    for folder, _, names in os.walk(root, followlinks=True):
        for name in names:
            if name.endswith(extensions):
                yield os.path.join(folder, name)


class Speakers(Dataset):
    def __init__(self, root):
        self.files = sorted(find_audio(root))
        self.speakers = sorted({os.path.basename(os.path.dirname(f)) for f in self.files})

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with wave.open(self.files[i]) as w:
            pcm = np.frombuffer(w.readframes(w.getnframes()), np.int16)
        return torch.from_numpy(pcm.astype(np.float32) / 32768), self.speakers.index(os.path.basename(os.path.dirname(self.files[i])))
