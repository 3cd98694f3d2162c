from mycoswarm.hardware.parse import mounts
from mycoswarm.hardware.parse.mounts import Mount
from tests.hardware.recorded import text


def test_a_fedora_machine_with_containers_and_a_network_disk():
    assert mounts.parse(text("mountinfo_fedora.txt")) == (
        Mount("/", "/dev/mapper/ssd-root--f20", "ext4"),
        Mount("/DATA/foo_bla_bla", "//foo/BLA BLA BLA/", "cifs", network=True),
        Mount("/home", "/dev/mapper/ssd-home", "ext4"),
        Mount("/mnt/old", "/dev/mapper/HelpDeskRHEL6-FedoraRoot", "ext4"),
        Mount("/tmp/mnt", "/dev/mapper/ssd-root", "ext4"),
        Mount("/var/lib/libvirt/images", "/dev/mapper/ssd-virt", "ext4"),
    )


def test_of_bind_mounts_and_subvolumes_of_one_disk_the_highest_counts():
    text = (
        "1 0 0:30 /@home /home rw - btrfs /dev/sda2 rw\n"
        "2 0 0:29 /@ / rw - btrfs /dev/sda2 rw\n"
        "3 0 8:1 /x /data/deep rw - ext4 /dev/sdb1 rw\n"
        "4 0 8:1 / /data rw - ext4 /dev/sdb1 rw\n"
    )
    assert [entry.mount for entry in mounts.parse(text)] == ["/", "/data"]


def test_the_root_counts_whatever_it_is_made_of():
    assert mounts.parse("1 0 0:50 / / rw - overlay overlay rw,lowerdir=/a\n") == (Mount("/", "overlay", "overlay"),)


def test_lines_of_another_form_are_passed_over():
    assert mounts.parse("nonsense\n1 2 3 - x\n") == ()


def test_the_mount_that_holds_a_path_is_the_longest_that_leads_to_it():
    points = ["/", "/home", "/home/me/big", "/homework"]
    assert mounts.holding("/home/me/state", points) == "/home"
    assert mounts.holding("/home/me/big/state", points) == "/home/me/big"
    assert mounts.holding("/homework2", points) == "/"
    assert mounts.holding("/x", ["/home"]) is None
