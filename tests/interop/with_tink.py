"""Keysets and sealed images, made and opened by the real Tink.

with_tink.py new KEYSET                write a keyset with one new key, made from Tink's own template
with_tink.py seal KEYSET DIR SIZE...   write an image of each size (bytes) for the user `tink`
with_tink.py verify KEYSET DIR         open every sealed image in DIR, in constant memory; exit 1 if one is bad
with_tink.py digest KEYSET DIR         the same, and print the SHA-256 of each plaintext
"""

import hashlib
import pathlib
import sys

import tink
from tink import cleartext_keyset_handle, streaming_aead

PIECE_BYTES = 1 << 20
PREFIX, SUFFIX = "encrypted_", ".png"


def read_primitive(path):
    handle = cleartext_keyset_handle.read(tink.JsonKeysetReader(pathlib.Path(path).read_text()))
    return handle.primitive(streaming_aead.StreamingAead)


def new(path):
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
    with open(path, "w") as file:
        cleartext_keyset_handle.write(tink.JsonKeysetWriter(file), tink.new_keyset_handle(template))
    pathlib.Path(path).chmod(0o600)


def plaintext(size):
    """Byte i is (i*131 + (i>>8)*17 + 7) mod 256, which repeats after 256 rows of 256."""
    rows = bytes((i * 131 + (i >> 8) * 17 + 7) % 256 for i in range(min(size, 1 << 16)))
    return (rows * (size // (1 << 16) + 1))[:size]


def seal(keyset, directory, sizes):
    primitive = read_primitive(keyset)
    for size in map(int, sizes):
        with open(pathlib.Path(directory, f"{PREFIX}{size}.tink{SUFFIX}"), "wb") as file:
            with primitive.new_encrypting_stream(file, f"tink/{size}{SUFFIX}".encode()) as stream:
                stream.write(plaintext(size))


def associated_data(name):
    """encrypted_<stem>.<user>.png belongs to user/<stem>.png, and so with .PNG."""
    front, extension = name[: -len(SUFFIX)], name[-len(SUFFIX) :]
    stem, _, user = front.removeprefix(PREFIX).rpartition(".")
    return f"{user}/{stem}{extension}".encode()


def digest_of(primitive, path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        with primitive.new_decrypting_stream(file, associated_data(path.name)) as stream:
            while piece := stream.read(PIECE_BYTES):
                digest.update(piece)
    return digest.hexdigest()


def verify(keyset, directory, print_digests):
    primitive = read_primitive(keyset)
    good = bad = 0
    for path in sorted(pathlib.Path(directory).glob(f"{PREFIX}*")):
        if path.suffix.lower() != SUFFIX:
            continue
        try:
            digest = digest_of(primitive, path)
        except (tink.TinkError, OSError) as error:
            print(f"{path}: {error}")
            bad += 1
        else:
            good += 1
            if print_digests:
                print(f"{digest}  {path.name}")
    print(f"{good} opened with Tink, {bad} bad")
    return 1 if bad else 0


def main(arguments):
    streaming_aead.register()
    match arguments:
        case ["new", keyset]:
            return new(keyset)
        case ["seal", keyset, directory, *sizes]:
            return seal(keyset, directory, sizes)
        case ["verify" | "digest" as command, keyset, directory]:
            return verify(keyset, directory, command == "digest")
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
