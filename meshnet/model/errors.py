"""The exception tree. Who is at fault decides the type.

Foreign errors are translated where they enter:

MeshnetError
├── InputError        the caller's mistake: a lab file, a flag, a request
│   ├── NotFound      it names an object that does not exist
│   └── Conflict      it names an address, port or name that is taken
├── PeerError         another component answered wrongly or not at all
├── KernelError       the kernel refused; keeps its errno
└── PlatformError     this machine lacks something meshnet needs
"""


class MeshnetError(Exception):
    """Base of all errors meshnet raises on purpose. Its text is one line a person can act on."""

    exit_status = 1


class InputError(MeshnetError):
    """What the caller gave is wrong; nothing was changed."""

    exit_status = 2


class NotFound(InputError):
    """The object named does not exist."""


class Conflict(InputError):
    """The name, address or port asked for is taken."""


class PeerError(MeshnetError):
    """Another component refused, answered nonsense or did not answer."""


class KernelError(MeshnetError):
    """The kernel refused an operation.

    Attributes:
        errno: the error number, or 0 where the library that spoke to the kernel hid it.
    """

    def __init__(self, text: str, errno: int = 0) -> None:
        super().__init__(text)
        self.errno = errno


class PlatformError(MeshnetError):
    """The machine lacks a feature, a program or a permission; the text names the remedy."""

    exit_status = 3
