"""Q-learning on a chain; the replay buffer is not saved, the target network and the exploration are."""
import argparse, random
from collections import deque
import torch
from torch import nn

class Agent:
    def __init__(self, seed):
        random.seed(seed); torch.manual_seed(seed)
        self.q, self.target = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 2)), nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 2))
        self.target.load_state_dict(self.q.state_dict())
        self.opt = torch.optim.Adam(self.q.parameters(), 3e-3)
        self.memory = deque(maxlen=400)
        self.place, self.t = 0, 0
    def one(self, i): return nn.functional.one_hot(torch.tensor(i), 10).float()
    def act(self):
        move = random.randrange(2) if random.random() < 0.4 else int(self.q(self.one(self.place)).argmax())
        nxt = min(9, self.place + 1) if move else max(0, self.place - 1)
        self.memory.append((self.place, move, float(nxt == 9), nxt)); self.place = 0 if nxt == 9 else nxt
    def learn(self):
        s, m, r, n = zip(*random.sample(list(self.memory), 8))
        with torch.no_grad(): goal = torch.tensor(r) + 0.9 * self.target(torch.stack([self.one(i) for i in n])).max(1).values
        value = self.q(torch.stack([self.one(i) for i in s])).gather(1, torch.tensor(m).unsqueeze(1)).squeeze(1)
        loss = nn.functional.smooth_l1_loss(value, goal); self.opt.zero_grad(); loss.backward(); self.opt.step()
        self.t += 1
        if self.t % 10 == 0: self.target.load_state_dict(self.q.state_dict())
    def state(self): return {"q": self.q.state_dict(), "target": self.target.state_dict(), "opt": self.opt.state_dict(), "t": self.t, "place": self.place, "py": random.getstate(), "torch": torch.get_rng_state()}
    def load(self, s):
        self.q.load_state_dict(s["q"]); self.target.load_state_dict(s["target"]); self.opt.load_state_dict(s["opt"]); self.t, self.place = s["t"], s["place"]
        random.setstate(s["py"]); torch.set_rng_state(s["torch"])

ap = argparse.ArgumentParser(); ap.add_argument("--resume"); a = ap.parse_args()
agent = Agent(1)
if a.resume: agent.load(torch.load(a.resume, weights_only=False))
while agent.t < 40:
    for _ in range(8 if len(agent.memory) < 8 else 2): agent.act()
    agent.learn()
    if agent.t == 15 and not a.resume: torch.save(agent.state(), "q15.pt")
