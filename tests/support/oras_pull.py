"""Pulls artifacts with the client `oras` and prints a line for each: reference, digest of its manifest, digests of its blobs.

`OrasClient.pull` unpacks the layers of images, so there is nothing to hash. Its parts are called instead.
"""

import hashlib
import os
import sys
import tempfile

import oras.client
import oras.defaults

ACCEPTED = oras.defaults.default_manifest_accepted_media_types + [
    "application/vnd.oci.image.index.v1+json",
]

registry, ca, *references = sys.argv[1:]
client = oras.client.OrasClient(hostname=registry, tls_verify=ca)


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def pull(container, folder):
    url = f"{client.prefix}://{container.manifest_url()}"
    answer = client.do_request(url, headers={"Accept": ", ".join(ACCEPTED)})
    answer.raise_for_status()
    manifest = answer.json()
    blobs = []
    for one in manifest.get("manifests", []):
        part = client.get_container(f"{registry}/{container.api_prefix}@{one['digest']}")
        blobs += pull(part, folder)[1]
    for one in [manifest["config"], *manifest["layers"]] if "layers" in manifest else []:
        file = client.download_blob(container, one["digest"], os.path.join(folder, "blob"))
        with open(file, "rb") as opened:
            blobs.append(sha256(opened.read()))
        if blobs[-1] != one["digest"]:
            sys.exit(f"{container}: a blob has digest {blobs[-1]} instead of {one['digest']}")
    return sha256(answer.content), blobs


with tempfile.TemporaryDirectory() as folder:
    for reference in references:
        manifest, blobs = pull(client.get_container(f"{registry}/{reference}"), folder)
        print(reference, manifest, *blobs)
