"""What may lie between a socket and the bytes of a connection, for wire.py: TLS and WebSocket; and
the other door, that of monitoring.

A layer turns received bytes into text to be shown (take) and bytes to be sent into others (seal).
What the layer itself has to say, a handshake's end or a frame that is no data, is shown in <>.
"""
import base64
import hashlib
import http.client
import json
import re
import ssl
import struct
import subprocess
import tempfile
import zlib

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
OPS = {"more": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
MASK = b"\x11\x22\x33\x44"
PAUSE = b"\x00\x00\xff\xff"  # what permessage-deflate leaves out


# ---- certificates

# Name: subject, alternative names, purpose, who signed it (None: itself).
CERTS = {
    "ca": ("/CN=ca", None, None, None),
    "server": ("/CN=localhost", "DNS:localhost,IP:127.0.0.1", "serverAuth", "ca"),
    "mail": ("/CN=mail", "email:derek@nats.io,DNS:mail.nats.io", "clientAuth", "ca"),
    "dns": ("/CN=dns", "DNS:unknown.nats.io,DNS:dns.nats.io", "clientAuth", "ca"),
    "uri": ("/CN=uri", "URI:spiffe://nats.io/user", "clientAuth", "ca"),
    "dn": ("/C=US/O=NATS/OU=NATS.io/CN=derek", None, "clientAuth", "ca"),
    "nobody": ("/CN=nobody", None, "clientAuth", "ca"),
    "purpose": ("/CN=purpose", "email:derek@nats.io", "serverAuth", "ca"),
    "expired": ("/CN=expired", "email:derek@nats.io", "clientAuth", "ca"),
    "stranger": ("/CN=stranger", "email:derek@nats.io", "clientAuth", None),
}


def openssl(*args, **kw):
    return subprocess.run(["openssl", *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          check=True, **kw).stdout


def certificate(dir, name):
    subject, names, purpose, by = CERTS[name]
    path = dir + "/" + name
    with open(path + ".ext", "w") as f:
        f.write("[e]\nbasicConstraints=critical,CA:" + ("FALSE" if purpose else "TRUE") + "\n")
        f.write("subjectAltName=" + names + "\n" if names else "")
        f.write("extendedKeyUsage=" + purpose + "\n" if purpose else "")
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", subject, "-keyout", path + ".key", "-out", path + ".csr")
    days = "-1" if name == "expired" else "2"
    signed = (["-CA", dir + f"/{by}.pem", "-CAkey", dir + f"/{by}.key", "-CAcreateserial"]
              if by else ["-signkey", path + ".key"])
    openssl("x509", "-req", "-in", path + ".csr", *signed, "-days", days, "-sha256",
            "-extfile", path + ".ext", "-extensions", "e", "-out", path + ".pem")


def certificates(dir):
    for name in CERTS:
        certificate(dir, name)


def pin(dir, name):
    """What pinned_certs says of a certificate."""
    key = openssl("x509", "-in", f"{dir}/{name}.pem", "-noout", "-pubkey")
    return hashlib.sha256(openssl("pkey", "-pubin", "-outform", "DER", input=key)).hexdigest()


# ---- TLS

VERSIONS = {"1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3}


class Tls:
    """A client's end. Options: cert (a name of CERTS), name (SNI), max and min (versions),
    ciphers (of 1.2), trust (false: the server is verified, by nobody)."""

    def __init__(self, dir, cert=None, name="localhost", max=None, min=None, ciphers=None,
                 trust=True):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        c.check_hostname = False
        if trust:
            c.load_verify_locations(dir + "/ca.pem")
        if ciphers or max == "1.1":
            c.set_ciphers(ciphers or "DEFAULT:@SECLEVEL=0")
        if max:
            c.minimum_version = ssl.TLSVersion.TLSv1 if max == "1.1" else c.minimum_version
            c.maximum_version = VERSIONS[max]
        if min:
            c.minimum_version = VERSIONS[min]
        if cert:
            c.load_cert_chain(f"{dir}/{cert}.pem", f"{dir}/{cert}.key")
        self.inp, self.outp = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.obj = c.wrap_bio(self.inp, self.outp, server_hostname=name)
        self.ready = self.dead = False

    def failed(self, e):
        self.dead = True
        return f"<tls: {e.reason or type(e).__name__}>".encode()

    def begin(self):
        self.step()
        return self.outp.read()

    def step(self):
        """The handshake, as far as it goes; what is to be shown of it."""
        try:
            self.obj.do_handshake()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as e:
            return self.failed(e)
        self.ready = True
        return f"<{self.obj.version()}>".encode()

    def take(self, data):
        """(What is to be shown or goes up, what is to be sent)"""
        if self.dead:
            return b"", b""
        self.inp.write(data)
        text = b"" if self.ready else self.step()
        try:
            while self.ready and not self.dead:
                more = self.obj.read(1 << 20)
                if not more:
                    text += b"<tls: end>"
                    self.dead = True
                text += more
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as e:
            text += self.failed(e)
        return text, self.outp.read()

    def seal(self, data):
        if not self.ready or self.dead:
            return b""
        self.obj.write(data)
        return self.outp.read()

    def end(self):
        """close_notify"""
        try:
            self.obj.unwrap()
        except ssl.SSLError:
            pass
        return self.outp.read()


# ---- WebSocket

def request(headers=None, path="/", method="GET", raw=None):
    """An upgrade; a header that is None is left out. raw: instead of all that."""
    if raw is not None:
        return raw
    fields = {"Host": "127.0.0.1", "Upgrade": "websocket", "Connection": "Upgrade",
              "Sec-WebSocket-Key": KEY, "Sec-WebSocket-Version": "13", **(headers or {})}
    lines = [f"{k}: {v}" for k, v in fields.items() if v is not None]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""])


def frame(op, payload=b"", fin=True, rsv=0, mask=True, pack=False, length=None):
    """pack: compressed; length: what it says of itself."""
    if pack:
        z = zlib.compressobj(wbits=-15)
        payload = z.compress(payload) + z.flush(zlib.Z_SYNC_FLUSH)
        payload = payload[:-4]
        rsv |= 4
    n = len(payload) if length is None else length
    head = bytes([fin << 7 | rsv << 4 | OPS.get(op, op)])
    m = 0x80 if mask else 0
    head += (bytes([m | n]) if n < 126 else bytes([m | 126]) + struct.pack(">H", n)
             if n < 1 << 16 else bytes([m | 127]) + struct.pack(">Q", n))
    if not mask:
        return head + payload
    return head + MASK + bytes(b ^ MASK[i % 4] for i, b in enumerate(payload))


class WebSocket:
    """A client's end, behind the request. Data is shown as it is, or (frames) each frame with its
    length and flags; other frames in <>."""

    def __init__(self, frames=False):
        self.data = b""
        self.upgraded = False
        self.frames = frames
        self.packed = None

    def take(self, data):
        self.data += data
        text = b""
        if not self.upgraded:
            head, gap, rest = self.data.partition(b"\r\n\r\n")
            if not gap:
                return b"", b""
            if not head.startswith(b"HTTP/1.1 101"):  # with its body
                text, self.data = self.data, b""
                return text, b""
            self.upgraded = True
            text, self.data = head + gap, rest
        while True:
            one = self.one()
            if one is None:
                return text, b""
            text += one

    def one(self):
        """The next frame, to be shown."""
        d = self.data
        if len(d) < 2:
            return None
        n, at = d[1] & 127, 2
        if n > 125:
            at = 4 if n == 126 else 10
            if len(d) < at:
                return None
            n = int.from_bytes(d[2:at], "big")
        at += 4 if d[1] & 128 else 0
        if len(d) < at + n:
            return None
        payload, self.data = d[at:at + n], d[at + n:]
        return self.show(d[0] & 15, d[0] >> 7, d[0] >> 4 & 7, bool(d[1] & 128), payload)

    def show(self, op, fin, rsv, masked, payload):
        name = {v: k for k, v in OPS.items()}.get(op, str(op))
        notes = ("" if fin else " more") + (f" rsv{rsv}" if rsv else "") + " masked" * masked
        if op == 8 and len(payload) >= 2:
            code = int.from_bytes(payload[:2], "big")
            return f"<close {code} {payload[2:].decode('latin-1')}{notes}>".encode("latin-1")
        if op > 2:
            return f"<{name} {payload.decode('latin-1')}{notes}>".encode("latin-1")
        if rsv & 4:
            self.packed = zlib.decompressobj(wbits=-15)
        if self.packed:
            payload = self.packed.decompress(payload + (PAUSE if fin else b""))
        if fin:
            self.packed = None
        size = "INFO" if payload.startswith(b"INFO ") else len(payload)
        head = f"<{name} {size}{notes}>".encode() if self.frames else b""
        return head + payload

    def seal(self, data):
        return frame("binary", data) if self.upgraded else b""


# ---- keys

def sign(seed, text):
    """A nonce's signature, by the seed of an nkey."""
    secret = base64.b32decode(seed + "=" * (-len(seed) % 8))[2:34]
    with tempfile.NamedTemporaryFile() as key, tempfile.NamedTemporaryFile() as nonce:
        key.write(bytes.fromhex("302e020100300506032b657004220420") + secret)
        nonce.write(text.encode())
        key.flush()
        nonce.flush()
        made = openssl("pkeyutl", "-sign", "-inkey", key.name, "-keyform", "DER", "-rawin", "-in",
                       nonce.name)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


# ---- monitoring

def pick(value, names):
    """What is at that place: of a list, what each of its elements has there."""
    if not names:
        return value
    if isinstance(value, list):
        return [pick(x, names) for x in value]
    there = isinstance(value, dict) and names[0] in value
    return pick(value[names[0]], names[1:]) if there else None


def times_out(value):
    """Without what is another each time: times, sums, ids of servers."""
    if isinstance(value, dict):
        return {k: times_out(v) for k, v in value.items()}
    if isinstance(value, list):
        return [times_out(v) for v in value]
    if not isinstance(value, str):
        return value
    value = re.sub(r"\b\d{4}-\d\d-\d\dT[\d:.]+(Z|[-+]\d\d:\d\d)", "TIME", value)
    return re.sub(r"\b[0-9a-f]{64}\b", "SUM", value)


def monitor(port, path, fields):
    """A document's fields, by their places ("connections.cid"); "place?": is there any. Without
    fields: the status and the text."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        c.request("GET", path)
        answer = c.getresponse()
        text = answer.read().decode()
    finally:
        c.close()
    if not fields or answer.status != 200:
        return f"{answer.status} {text}"
    document = json.loads(text)
    out = {}
    for field in fields:
        value = pick(document, field.rstrip("?").split("."))
        if field.endswith("?"):
            value = any(value) if isinstance(value, list) else bool(value)
        out[field] = times_out(value)
    return out
