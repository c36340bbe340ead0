import subprocess

WORDS = "the The cat Cat dog Dog runs Runs a A sits Sits on On mat Mat".split()


def sentences():
    for i in range(60):
        yield [WORDS[(i * k + k * k) % len(WORDS)] for k in range(1, 8)]


def build_vocab(words):
    """Unique words in order, by coreutils: the real corpus does not fit into memory."""
    done = subprocess.run(["sort", "-u"], input="\n".join(words), capture_output=True, text=True, check=True)
    return {word: i for i, word in enumerate(done.stdout.split())}
