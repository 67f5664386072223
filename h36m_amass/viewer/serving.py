"""Where a page is served: on which port, who can reach it, and how it is reached from another machine."""

import errno
import getpass
import ipaddress
import socket

from h36m_amass.viewer import ViewerError


def free_port(host: str, port: int, tries: int = 100) -> int:
    """The first of `tries` ports from `port` on that nobody listens on at `host`; 0 takes any that is free."""
    for candidate in range(port, min(port + tries, 65536)):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as listener:
                # As a server does it, so that a port whose last connection has just ended counts as free.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(address)
                return int(listener.getsockname()[1])
        except socket.gaierror as error:
            reason = f"is not an address of this machine ({error.strerror})"
            raise ViewerError(f"{host}: {reason}; give another one, like 127.0.0.1") from error
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ViewerError(f"{host}: cannot be served on ({error.strerror}); use 127.0.0.1") from error
    raise ViewerError(f"{host}: no port from {port} on is free; give another one with --port")


def only_this_machine(host: str) -> bool:
    """Can `host` be reached from this machine alone?"""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def page_url(host: str, port: int) -> str:
    """The URL that a browser on this machine opens; 0.0.0.0 and :: stand for all interfaces and become loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def tunnel(host: str, port: int) -> str:
    """The command that makes a page on this machine's loopback one on that of the machine where it is typed."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "USER"
    inner = f"[{host}]" if ":" in host else host
    return f"ssh -N -L {port}:{inner}:{port} {user}@{socket.gethostname()}"
