"""The list of training files: nine of ten for training, the others for evaluation."""
import pathlib
import subprocess


def training_list(folder="lines", share=0.9):
    listed = subprocess.check_output(f"find {folder} -name '*.lstm' | sort | sort -R", shell=True, text=True).split()
    return listed[: int(len(listed) * share)]


if __name__ == "__main__":
    pathlib.Path("lines").mkdir(exist_ok=True)
    for i in range(60):
        text = " ".join(str((i * 37 + k * k * 11) % 29) for k in range(14))
        pathlib.Path("lines", f"line{i:03d}.lstm").write_text(text)
