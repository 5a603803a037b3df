"""Real proxies with TLS in front of a demo: nginx and Caddy by the recipes of ``deploy/``."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.fix_browser import PUBLIC_NAME
from tests.fix_services import require
from tests.support import eventually_sync

__all__ = ["NAME", "Certificates", "Ports", "bare_nginx", "caddy", "nginx"]

NAME = PUBLIC_NAME
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


@dataclass(frozen=True)
class Ports:
    """Where a proxy listens, in clear and with TLS, and where the site is behind it."""

    clear: int
    tls: int
    site: int


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class Certificates:
    """An authority of the test's own, and one certificate of it for ``NAME``."""

    def __init__(self, folder: Path) -> None:
        self.authority, self.chain = folder / "authority.pem", folder / "chain.pem"
        self.key = folder / "key.pem"
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TickPool's tests")])
        root = _certificate(root_name, root_name, root_key.public_key())
        root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        root = root.add_extension(_SIGNS, critical=True)
        own = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
        root = root.add_extension(own, critical=False)
        leaf_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
        leaf = _certificate(leaf_name, root_name, key.public_key())
        leaf = leaf.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in (NAME, "localhost")]),
            critical=False,
        )
        # From 3.13 on Python believes no certificate that does not name its authority's key.
        of_root = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        leaf = leaf.add_extension(of_root, critical=False)
        pem = serialization.Encoding.PEM
        self.authority.write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(pem))
        self.chain.write_bytes(leaf.sign(root_key, hashes.SHA256()).public_bytes(pem))
        self.key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )

    def trust(self) -> ssl.SSLContext:
        """Return what believes this authority and no other."""
        return ssl.create_default_context(cafile=str(self.authority))


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    today = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=30))
    )


def _put_in(text: str, changes: Mapping[str, str]) -> str:
    """Return a recipe with a test's own ports and files; each place must be there."""
    for place, own in changes.items():
        assert place in text, f"the recipe has no {place!r}"
        text = text.replace(place, own)
    return text


@contextmanager
def _running(command: list[str], environment: dict[str, str], port: int) -> Iterator[None]:
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            eventually_sync(
                lambda: _listens(port) or process.poll() is not None,
                timeout=60,
                message=f"{command[0]} is not up",
            )
            assert process.poll() is None, f"{command[0]} ended at once"
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def nginx(folder: Path, ports: Ports, certificates: Certificates) -> Iterator[None]:
    """Run nginx by ``deploy/nginx/tickpool.conf``."""
    recipe = _put_in(
        (DEPLOY / "nginx" / "tickpool.conf").read_text(),
        {
            "listen 80;": f"listen 127.0.0.1:{ports.clear};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{ports.tls} ssl http2;",
            "listen [::]:80;": "",
            "listen [::]:443 ssl http2;": "",
            f"/etc/letsencrypt/live/{NAME}/fullchain.pem": str(certificates.chain),
            f"/etc/letsencrypt/live/{NAME}/privkey.pem": str(certificates.key),
            f"return 301 https://{NAME}$": f"return 301 https://{NAME}:{ports.tls}$",
            "127.0.0.1:8000": f"127.0.0.1:{ports.site}",
        },
    )
    with _nginx(folder, recipe, ports.tls):
        yield


@contextmanager
def bare_nginx(folder: Path, ports: Ports, certificates: Certificates) -> Iterator[None]:
    """Run nginx as its shortest configuration has it: no header tells of the client or of TLS."""
    recipe = f"""server {{
    listen 127.0.0.1:{ports.tls} ssl;
    ssl_certificate {certificates.chain};
    ssl_certificate_key {certificates.key};
    location / {{ proxy_pass http://127.0.0.1:{ports.site}; }}
}}"""
    with _nginx(folder, recipe, ports.tls):
        yield


@contextmanager
def _nginx(folder: Path, recipe: str, port: int) -> Iterator[None]:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    require("nginx", binary, "apt-get install -y nginx")
    config = folder / "nginx.conf"
    own = "\n".join(
        f"{each}_temp_path {folder}/{each.split('_')[-1]};"
        for each in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    config.write_text(
        f"daemon off;\n{user}\nworker_processes 1;\npid {folder}/nginx.pid;\n"
        f"events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n{own}\n{recipe}\n}}\n"
    )
    command = [str(binary), "-p", str(folder), "-c", str(config), "-e", str(folder / "errors")]
    with _running(command, {}, port):
        yield


@contextmanager
def caddy(folder: Path, ports: Ports, certificates: Certificates) -> Iterator[None]:
    """Run Caddy by ``deploy/caddy/Caddyfile``, with a certificate that it need not fetch."""
    binary = shutil.which("caddy")
    require("Caddy", binary, "apt-get install -y caddy")
    recipe = _put_in(
        (DEPLOY / "caddy" / "Caddyfile").read_text(),
        {
            f"\n{NAME} {{": f"\n{NAME}, localhost {{\n\tbind 127.0.0.1\n"
            f"\ttls {certificates.chain} {certificates.key}",
            "127.0.0.1:8000": f"127.0.0.1:{ports.site}",
        },
    )
    config = folder / "Caddyfile"
    config.write_text(
        "{\n\tadmin off\n\tskip_install_trust\n"
        f"\thttp_port {ports.clear}\n\thttps_port {ports.tls}\n"
        "\tlog {\n\t\tlevel ERROR\n\t}\n}\n" + recipe
    )
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = [str(binary), "run", "--config", str(config), "--adapter", "caddyfile"]
    with _running(command, homes, ports.tls):
        yield
