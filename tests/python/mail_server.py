"""A mail server that treats each address as its name says, and prints each message that it takes.

Arguments, in any order: `tls` (wants STARTTLS first), `implicit` (TLS from the beginning), `login` (knows the user `ada` by
the password `p:w?d`), `ascii` (no SMTPUTF8), `closed` (refuses whoever connects). Prints `{"port": …, "certificate": …}` first.
"""

import asyncio
import datetime
import email.policy
import ipaddress
import json
import ssl
import sys
import tempfile

from aiosmtpd.smtp import SMTP, AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

wants = set(sys.argv[1:])


def say(what):
    print(json.dumps(what), flush=True)


def certificate():
    """A certificate of this machine that nobody signed, and the context to show it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
    made = made.not_valid_after(now + datetime.timedelta(days=1)).add_extension(names, critical=False)
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as both:
        both.write(pem + private)
        both.flush()
        context.load_cert_chain(both.name)
    return pem.decode(), context


class Handler:
    greylisted = set()
    unanswered = set()
    connected = asyncio.Event()

    async def handle_RCPT(self, server, session, envelope, address, options):
        match address.split("@")[0].split(".")[0]:
            case "unknown":
                return f"550 5.1.1 <{address}>: no such user {address.split('@')[0]} here"
            case "full":
                return "452 4.2.2 mailbox full"
            case "greylisted" if address not in self.greylisted:
                self.greylisted.add(address)
                return f"451 4.7.1 {address} is greylisted, come back later"
            case "closing":
                return "421 4.3.2 closing"
            case "stalls":
                await asyncio.sleep(3600)
            case "dies":
                server.transport.abort()
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        match envelope.rcpt_tos[0].split("@")[0]:
            case "spam":
                return "554 5.7.1 message refused"
            case "takes.and.dies":
                server.transport.abort()
                await asyncio.sleep(3600)
            case "takes.and.stalls":
                await asyncio.sleep(3600)
        leaves = [part for part in message.walk() if not part.is_multipart()]
        parts = {leaf.get_content_type(): leaf.get_content().replace("\r\n", "\n") for leaf in leaves}
        say(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "hello": session.host_name,
                "encrypted": session.ssl is not None or "implicit" in wants,
                "user": session.auth_data and session.auth_data.decode(),
                "connection": session.peer[1],
                "headers": {name: str(value) for name, value in message.items()},
                "type": message.get_content_type(),
                "parts": parts,
            }
        )
        match envelope.rcpt_tos[0].split("@")[0]:
            # Taken, and the answer is lost; the next time it is not.
            case "unanswered" if envelope.rcpt_tos[0] not in self.unanswered:
                self.unanswered.add(envelope.rcpt_tos[0])
                await asyncio.sleep(3600)
            # Taken, and answered once somebody else connects.
            case "held":
                self.connected.clear()
                await self.connected.wait()
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = (data.login, data.password) == (b"ada", b"p:w?d")
    return AuthResult(success=good, handled=good, auth_data=data.login)


async def main():
    pem, context = certificate()
    options = {"hostname": "mail.example.com", "enable_SMTPUTF8": "ascii" not in wants}
    if "tls" in wants:
        options |= {"tls_context": context, "require_starttls": True}
    if "login" in wants:
        options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": "tls" in wants}
    loop = asyncio.get_running_loop()

    class Closed(asyncio.Protocol):
        def connection_made(self, transport):
            transport.write(b"554 5.7.1 your address is on a list\r\n")
            transport.close()

    def connect():
        Handler.connected.set()
        return Closed() if "closed" in wants else SMTP(Handler(), loop=loop, **options)

    server = await loop.create_server(
        connect,
        "127.0.0.1",
        0,
        ssl=context if "implicit" in wants else None,
    )
    say({"port": server.sockets[0].getsockname()[1], "certificate": pem})
    await server.serve_forever()


asyncio.run(main())
