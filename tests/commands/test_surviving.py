"""What survives deletions: paths, and the gradient by them; against sums over all sets of blocks."""

from processes import command


def test_the_commands_draw_what_survives_and_refuse_another_network(trained, tmp_path):
    few = ("--examples", 20, "--quiet")
    command("paths", trained / "resnet.pt", tmp_path / "paths.h5", *few, "--draws", 2)
    for network in ("resnet", "plain"):
        command("lesion", trained / f"{network}.pt", tmp_path / f"{network}.h5", "--delete", 1, *few)
    command("figure", tmp_path / "a.png", tmp_path / "paths.h5", tmp_path / "resnet.h5")
    assert (tmp_path / "a.png").stat().st_size > 20_000
    wrong = command("figure", tmp_path / "b.png", tmp_path / "paths.h5", tmp_path / "plain.h5", check=False)
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "paths.h5 is of resnet-8" in wrong.stderr
    assert not (tmp_path / "b.png").exists()
