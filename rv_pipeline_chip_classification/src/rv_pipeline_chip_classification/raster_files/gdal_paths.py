"""URIs and AWS settings in the words that GDAL understands. Imports no GDAL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from rv_core.errors import DataError
from rv_core.files import uris
from rv_core.plugins.signing import signed

_HANDLERS = {
    "http": "/vsicurl/http://",
    "https": "/vsicurl/https://",
    "s3": "/vsis3/",
    "s3a": "/vsis3/",
    "s3n": "/vsis3/",
    "gs": "/vsigs/",
    "gcs": "/vsigs/",
    "az": "/vsiaz/",
}
_ARCHIVES = {"zip": "/vsizip/", "tar": "/vsitar/", "gzip": "/vsigzip/"}

#: The formats that are opened: rasters that hold their pixels in a file of their own. Others name further files,
#: services or code. Virtual datasets are opened too, after a look at what they name (`dataset_files.py`).
DRIVERS = (
    *("GTiff", "COG", "SNAP_TIFF", "JP2OpenJPEG", "PNG", "JPEG", "GIF", "BIGGIF", "BMP", "WEBP", "PNM", "TGA", "SGI"),
    *("HFA", "ENVI", "EHdr", "AAIGrid", "GRASSASCIIGrid", "XYZ", "SRTMHGT", "DTED", "USGSDEM", "NITF", "GTX"),
    *("netCDF", "HDF5", "HDF5Image", "BAG", "GRIB", "RST", "SAGA", "GSAG", "GSBG", "GS7BG", "RMF", "KRO", "GPKG"),
)

#: GDAL keeps decoded blocks in memory up to this: a strip (`row_reader.STRIP_BYTES`) and what warping it takes. With more, a
#: part of a large scene takes over 1.2 times the memory of a small one, which does not fill it.
CACHE_BYTES = 14 * 1024**2


class OpenedPath(NamedTuple):
    """What GDAL opens.

    Args:
        path: with the signature of its address, which is nowhere to be shown.
        signer: the plugin that signed it, as messages name it; "" for none.
        shown: the path without a signature.
    """

    path: str
    signer: str
    shown: str

    def without_signature(self, text: str) -> str:
        """A message of GDAL with the path as it may be shown."""
        return text.replace(self.path, self.shown) if self.signer else text


def opened_path(uri: str) -> OpenedPath:
    """What GDAL opens for a URI of the config now: addresses of web servers as plugins sign them (`rv_sign_uri`).

    Raises:
        DataError: as `gdal_path`.
        PluginError: if a plugin fails to sign.
    """
    shown = gdal_path(uri)
    before, handler, address = shown.partition("/vsicurl/")
    if not handler:
        return OpenedPath(shown, "", shown)
    address, brace, rest = address.partition("}") if "{/vsicurl/" in shown else (address, "", "")
    asked = signed(address)
    return OpenedPath(f"{before}{handler}{asked.uri}{brace}{rest}", asked.signer, shown)


def gdal_path(uri: str) -> str:
    """What GDAL opens for a URI of the config, `${NAME}` filled in; unsigned.

    Raises:
        DataError: if it is a GDAL connection string, or of a scheme that GDAL cannot read.
    """
    text = uris.expand(uri)
    scheme = uris.scheme_of(text)
    outer, _, inner = scheme.partition("+")
    if outer in _ARCHIVES:
        return _archive_path(outer, inner, text.partition("://")[2])
    if scheme in _HANDLERS:
        return _HANDLERS[scheme] + text.partition("://")[2]
    problem = uris.problem_with(uri)
    if problem is None and not uris.is_local(text):
        problem = f"rasters of the scheme {scheme}:// cannot be read; known: {', '.join([*_HANDLERS, *_ARCHIVES])}"
    if problem is not None:
        raise DataError("an image cannot be opened", where=uri, why=problem)
    path = uris.local_path(text)
    # Percent signs and variables may hide what GDAL takes for a path of its own.
    if path.startswith("/vsi"):
        raise DataError("an image cannot be opened", where=uri, why="it is a GDAL path (/vsi…), not a file")
    return path


def _archive_path(kind: str, inner: str, rest: str) -> str:
    archive, _, member = rest.partition("!")
    inside = gdal_path(f"{inner}://{archive}" if inner else archive)
    # Braces let an archive have any name.
    return f"{_ARCHIVES[kind]}{{{inside}}}/{member.lstrip('/')}" if member else f"{_ARCHIVES[kind]}{inside}"


def gdal_options(environ: Mapping[str, str], *, is_remote: bool) -> dict[str, str | int]:
    """Options for GDAL: bounded memory, retries, and the AWS settings that it does not know by their usual names.

    As an option of rasterio the size of the cache is bytes; GDAL's own variable is MiB.

    boto3 takes `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL` with its scheme; GDAL wants host and port, and the scheme
    and the style of addresses as options of their own. What the user has set for GDAL itself is left alone.

    Args:
        environ: the environment variables.
        is_remote: whether files are read over the network.
    """
    options: dict[str, str | int] = {"GDAL_CACHEMAX": CACHE_BYTES, "GDAL_VRT_ENABLE_PYTHON": "NO"}
    if is_remote:
        # "TRUE" asks for the side files one by one instead of listing the folder.
        options |= {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE", "GDAL_HTTP_MAX_RETRY": "3", "GDAL_HTTP_RETRY_DELAY": "0.5"}
        options |= _aws_options(environ)
    return {name: value for name, value in options.items() if name not in environ}


def _aws_options(environ: Mapping[str, str]) -> dict[str, str]:
    options = {}
    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        options["AWS_S3_ENDPOINT"] = parts.netloc + parts.path.rstrip("/")
        options["AWS_HTTPS"] = "NO" if parts.scheme == "http" else "YES"
        options["AWS_VIRTUAL_HOSTING"] = "FALSE"
    if "AWS_DEFAULT_REGION" in environ:
        options["AWS_REGION"] = environ["AWS_DEFAULT_REGION"]
    return options
