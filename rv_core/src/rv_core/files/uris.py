"""URIs as text: what is local, joining, making absolute, `${NAME}`, and what is refused.

A URI is a local path (no scheme, or `file://`) or `scheme://…`. Nothing here opens a file or asks the network; only
`absolute` (the home folder), `placed_root` and what compares roots (links) look at this machine.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from rv_core.errors import ConfigError, StorageError
from rv_core.machine.folders import resolved

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*\Z")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# `PG:host=… password=…`, `NETCDF:file:variable`, and what GDAL parses as an inline document.
_GDAL_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_]*:(?!//)")
_GDAL_INLINE = ("<", "{", "[")
# Patterns that few processes need are compiled when they do: every task pays for the others.
# Everything that breaks a line in a log, a Makefile or a JSON Lines file, and what UTF-8 cannot hold.
_UNPRINTABLE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_GDAL_VSI = r"(?i:/?vsi[a-z0-9_]*(?:[/:?]|\Z))"
_GDAL_SCHEMES = frozenset({"vrt", "gdalg"})
#: Schemes of one store that have several names.
_SAME_STORE = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
_BUCKET_SCHEMES = frozenset({"s3", "s3a", "s3n", "gs", "gcs"})
_CONTAINER_AT_ACCOUNT = frozenset({"abfs", "abfss", "wasb", "wasbs"})  # abfs://container@account.…/path
_IPV6 = r"\[[^\]]*\]"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SECRET_PARAMETER = (
    r"(?i:(?:access|api|secret|subscription|private|auth|session|id|job|deploy|refresh)[-_]?(?:key|token)|awsaccesskeyid|key|token|auth(?:orization)?|credential"
    r"|(?:client_)?secret|passw(?:or)?d|pwd|sas|sig(?:nature)?|x-(?:amz|goog)-.*)"
)


def scheme_of(uri: str) -> str:
    """The scheme in lower case; "" for a plain path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator and _SCHEME.match(head) else ""


def is_local(uri: str) -> bool:
    """Whether the URI is a plain path or `file://`."""
    return "://" not in uri or scheme_of(uri) in ("", "file")


def is_relative(uri: str) -> bool:
    """Whether `absolute` would have to put a folder before it; never for what starts with `${NAME}`."""
    return scheme_of(uri) == "" and not uri.startswith(("/", "${"))


def local_path(uri: str) -> str:
    """The path of a local URI; that of a `file://` URI is percent-decoded.

    Raises:
        ValueError: if the URI is not local.
    """
    if not is_local(uri):
        raise ValueError(f"not a local URI: {uri!r}")
    if scheme_of(uri) != "file":
        return uri
    host, slash, rest = uri[len("file://") :].partition("/")
    if host not in ("", "localhost") or not slash:
        raise ValueError(f"file:// needs an absolute path on this machine (file:///folder/name): {uri!r}")
    path = slash + rest
    if "%" not in path:
        return path
    from urllib.parse import unquote

    return unquote(path)


def absolute(uri: str, base_dir: str) -> str:
    """The URI as it means the same from every folder: local ones become a normalised absolute path.

    Args:
        uri: any URI. Remote ones, "" and those that start with `${NAME}` are returned unchanged.
        base_dir: absolute local folder that relative paths start from. `~` is the home folder.
    """
    if not uri or uri.startswith("${") or not is_local(uri):
        return uri
    try:
        path = local_path(uri)
    except ValueError:  # a file on another machine: `problem_with` says so
        return uri
    path = os.path.expanduser(path) if uri.startswith("~") else path
    # normpath keeps two leading slashes, which POSIX leaves to the system; Linux takes them for one.
    return "/" + os.path.normpath(os.path.join(base_dir, path)).lstrip("/")


def root_name(uri: str) -> str:
    """The one spelling of a root that is absolute already: schemes in lower case, no slash at its end. Pure.

    In buckets no slash is doubled: behind the bucket its store leaves them out, and elsewhere it refuses them.
    """
    if is_local(uri):
        return uri
    scheme, _, rest = uri.partition("://")
    scheme = _SAME_STORE.get(scheme.lower(), scheme.lower())
    if scheme in _BUCKET_SCHEMES:
        rest = re.sub("/{2,}", "/", rest)
    return f"{scheme}://{rest.rstrip('/') or rest}"


def placed_root(uri: str, base_dir: str) -> str:
    """The one name of a root: absolute, on this machine without links and variables, in a store without slashes behind.

    Variables in the name of a remote root stay: they may hold what must not be written.

    Raises:
        ConfigError: if a variable is not set.
    """
    opened = expand(uri)
    return resolved(absolute(opened, base_dir)) if is_local(opened) else root_name(uri)


def join(root: str, *names: str) -> str:
    """The URI of a relative name under a root.

    Raises:
        StorageError: if a name is absolute, has `..` or empty parts, or control characters.
    """
    for name in names:
        check_relative_name(name)
    # One slash only: "memory://" and "file:///" must keep the others, and in an object store "a//b" is its own key.
    return "/".join((root.removesuffix("/"), *names))


def name_of(uri: str) -> str:
    """The last part of the path of a URI, without query or fragment where it has a scheme."""
    path = uri if is_local(uri) else re.split(r"[?#]", uri, maxsplit=1)[0]
    return path.rstrip("/").rpartition("/")[2]


def container_of(uri: str) -> str:
    """The file that holds what the URI names: `zip:///data/a.zip!/x.tif` is in `/data/a.zip`; else the URI itself.

    These are rasterio's spellings of files in archives (`zip://`, `zip+https://`, `zip+s3://`, `tar://`, `gzip://`).
    """
    scheme = scheme_of(uri)
    outer, _, inner = scheme.partition("+")
    if outer not in ("zip", "tar", "gzip"):
        return uri
    rest = uri[len(scheme) + len("://") :].partition("!")[0]
    return f"{inner}://{rest}" if inner not in ("", "file") else rest


def expand(uri: str, environ: Mapping[str, str] | None = None) -> str:
    """The URI with every `${NAME}` replaced by that environment variable.

    Args:
        uri: a URI as it is written in a config.
        environ: the variables; those of this process when None.

    Raises:
        ConfigError: if a variable is not set or empty (all of them are named), or if the result is a relative path.
    """
    if "${" not in uri:
        return uri
    variables = os.environ if environ is None else environ
    missing = sorted({name for name in _PLACEHOLDER.findall(uri) if not variables.get(name)})
    if missing:
        raise ConfigError(
            f"environment variable {', '.join(missing)} is not set or empty",
            where=uri,
            fix=f"set {missing[0]} where the task runs",
        )
    expanded = _PLACEHOLDER.sub(lambda match: _filled_in(variables[match[1]], uri[match.end() :]), uri)
    if uri.startswith("${") and is_relative(expanded):
        raise ConfigError(
            "the variable at the start of a URI holds a relative path",
            where=uri,
            fix="put an absolute path or a URI into it",
        )
    return expanded


def _filled_in(value: str, rest: str) -> str:
    """A variable's value before the rest of a URI: of a slash at its end and one after it one is meant."""
    return value.rstrip("/") if rest.startswith("/") and not value.endswith("://") else value


def conceal(text: str, uri: str, environ: Mapping[str, str] | None = None) -> str:
    """The text with what `expand(uri)` filled in put back to `${NAME}`, for messages."""
    if "${" not in uri:
        return text
    variables = os.environ if environ is None else environ
    for name in _PLACEHOLDER.findall(uri):
        value = variables.get(name, "")
        for shown in (value, value.removeprefix("file://")):
            if len(shown) >= 4:  # shorter values would garble unrelated words
                text = text.replace(shown, f"${{{name}}}")
    return text


def problem_with(uri: str) -> str | None:
    """Why a URI is refused in a config, or None. The answer never repeats a secret.

    Refused are: empty ones, control characters, GDAL connection strings (`<VRT…>`, `/vsi…`, `PG:…`), chained URIs
    (`a::b`), user info and signed queries. A secret given as `${NAME}` is fine: it is not saved.
    """
    for check in (_problem_with_text, _problem_with_form, _problem_with_gdal, _problem_with_secrets):
        if problem := check(uri):
            return problem
    return None


def _problem_with_text(uri: str) -> str | None:
    if not uri:
        return "is empty"
    if not uri.isprintable() and re.search(_UNPRINTABLE, uri):
        return "holds a line break or another control character"
    if uri != uri.strip():
        return "starts or ends with a space"
    if "${" in _PLACEHOLDER.sub("", uri):
        return "holds a '${' that is not ${NAME} with a plain variable name"
    return None


def _problem_with_gdal(uri: str) -> str | None:
    if uri.startswith(_GDAL_INLINE):
        return "is an inline GDAL document, not a URI"
    path = local_path(uri) if scheme_of(uri) == "file" else uri
    if re.match(_GDAL_VSI, uri) or (path is not uri and re.match(_GDAL_VSI, path)):
        return "is a GDAL path (vsi…); write it as a path, https:// or s3:// URI"
    if scheme_of(uri) in _GDAL_SCHEMES or _GDAL_PREFIX.match(uri):
        return "looks like a GDAL connection string; write a file as ./name, and name a part of one in a VRT"
    return None


def _problem_with_form(uri: str) -> str | None:
    if "::" in uri.partition("://")[0] and "://" in uri:
        return "is a chained URI (a::b), which is not supported"
    if scheme_of(uri) == "file":
        try:
            local_path(uri)
        except ValueError:
            return "must be file:///folder/name: an absolute path on this machine"
    if scheme_of(uri) in _BUCKET_SCHEMES and not _authority_and_rest(uri)[0]:
        return "names no bucket"
    return None


def _problem_with_secrets(uri: str) -> str | None:
    if is_local(uri):
        return None
    authority, rest = _authority_and_rest(_PLACEHOLDER.sub("", uri))
    if _has_user_info(scheme_of(uri), authority):
        return "holds a user name or a password; leave them out, or write ${NAME} and set that variable"
    if secret := _secret_parameter(rest):
        return f"holds a secret in its query ({secret}); write {secret}=${{NAME}} instead and set that variable"
    return None


def _has_user_info(scheme: str, authority: str) -> bool:
    user, _, host = authority.rpartition("@")
    if user.strip(":") and (":" in user or scheme not in _CONTAINER_AT_ACCOUNT):
        return True
    # A secret may hold a slash, which ends the authority before its "@": what is left looks like a port.
    port = re.sub(_IPV6, "", host).partition(":")[2]
    return bool(port) and (scheme in _BUCKET_SCHEMES or not port.isdigit())


def secrets_in(uri: str) -> list[str]:
    """The password (or the token that stands in its place) in the user info of a remote URI, as written and decoded."""
    if is_local(uri) or "@" not in uri:
        return []
    authority, _ = _authority_and_rest(uri)
    if not _has_user_info(scheme_of(uri), authority):
        return []
    # A secret may hold a slash; the host never holds an "@".
    holder = authority if "@" in authority else uri.partition("://")[2]
    user, colon, password = holder.rpartition("@")[0].partition(":")
    secret = password if colon else user
    if not colon and scheme_of(uri) not in _DEFAULT_PORTS:
        return []  # a plain user name, as in sftp://ada@host
    from urllib.parse import unquote

    return [secret, unquote(secret)]


def _authority_and_rest(uri: str) -> tuple[str, str]:
    after = uri.partition("://")[2]
    match = re.search(r"[/?#]", after)
    return (after, "") if match is None else (after[: match.start()], after[match.start() :])


def _secret_parameter(rest: str) -> str | None:
    query = rest.partition("?")[2] or rest.partition("#")[2]
    for part in re.split(r"[&;#?]", query):
        name, _, value = part.partition("=")
        if "%" in name:
            from urllib.parse import unquote

            name = unquote(name)
        if value and re.fullmatch(_SECRET_PARAMETER, name):
            return name
    return None


def check_relative_name(name: str) -> str:
    """The name itself, if it is a plain relative one that stays below its root.

    Raises:
        StorageError: if it is absolute, has empty, `.` or `..` parts, or control characters.
    """
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or (not name.isprintable() and re.search(_UNPRINTABLE, name)):
        raise StorageError(
            f"refused name {name!r}",
            why="names are relative to the root, without '..', empty parts or control characters",
            fix="use a name such as 'chip/scene-1.npy'",
        )
    return name


def is_same_root(root_a: str, root_b: str) -> bool:
    """Whether two roots are one place; links of local ones are resolved."""
    return _place(root_a) == _place(root_b)


def same_or_nested(root_a: str, root_b: str) -> bool:
    """Whether two roots are the same folder or one lies in the other; links of local ones are resolved."""
    kind_a, parts_a = _place(root_a)
    kind_b, parts_b = _place(root_b)
    shorter = min(len(parts_a), len(parts_b))
    return kind_a == kind_b and parts_a[:shorter] == parts_b[:shorter]


def is_whole_store(root: str) -> bool:
    """Whether a root is a whole bucket, server or disk, so that what lies beside it is in another one."""
    kind, parts = _place(root)
    return len(parts) < (1 if kind in ("file", "memory") else 2)


def _place(root: str) -> tuple[str, list[str]]:
    try:
        root = expand(root)
        path = local_path(root) if is_local(root) else ""
    except (ConfigError, ValueError):
        return "", [part for part in root.split("/") if part]
    if path:
        return "file", [part for part in os.path.realpath(path).split("/") if part]
    scheme = _SAME_STORE.get(scheme_of(root), scheme_of(root))
    authority, rest = _authority_and_rest(root)
    authority = authority.lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\0"))
    key = rest if scheme not in _DEFAULT_PORTS else re.split(r"[?#]", rest, maxsplit=1)[0]
    return scheme, [part for part in (authority + key).split("/") if part]
