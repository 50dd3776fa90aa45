"""`meshnet cf ...`: which API, as whom, and where."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from meshnet.cli import cf_config
from meshnet.cli.cf_config import Config, Named
from meshnet.cli.cf_options import Json, Org, ok
from meshnet.cli.cf_session import SavedSession, organization, session, space
from meshnet.cli.client import Client, dump
from meshnet.cli.session import claims
from meshnet.model.errors import InputError, NotFound

Space = Annotated[str, typer.Option("-s", help="Space.")]
Skip = Annotated[
    bool, typer.Option("--skip-ssl-validation", help="Take any certificate; or set CF_CA.")
]


def api(
    url: Annotated[str, typer.Argument(help="Its URL; none: show it.")] = "",
    skip: Skip = False,
    unset: Annotated[bool, typer.Option("--unset", help="Back to the lab that is up.")] = False,
) -> None:
    """Choose the API, for all commands from now on; without it they use the lab that is up.

    Example: meshnet cf api https://api.sys.mesh.lab
    """
    if unset:
        Config().save()
        return ok()
    if url:
        _choose(url, skip)
    config = cf_config.load()
    print(f"API endpoint:   {config.target or 'the lab that is up'}")


def _choose(url: str, skip: bool, ca: str = "") -> Config:
    url = (url if "://" in url else f"https://{url}").rstrip("/")
    if not urlsplit(url).hostname:
        raise InputError(f"{url!r} is no URL: want https://HOST")
    before = cf_config.load()
    config = Config(target=url, insecure=skip, ca=ca, others=before.others)
    if not before.target:
        # Whoever wants another API is the lab's first user no longer, whatever comes of it.
        config.save()
    links = SavedSession(config).public("/").get("links", {})
    if "cloud_controller_v3" not in links or "login" not in links:
        raise InputError(f"{url} is no Cloud Foundry API")
    config.login = str(links["login"]["href"])
    config.save()
    return config


def _choose_lab() -> Config:
    """The API of the lab that is up, of which one is the first user until one asks for another.

    Raises:
        InputError: no lab is up.
    """
    from netns_lab import paths, status

    try:
        lab = status.lab(paths.chosen())
    except NotFound as exc:
        raise InputError(f"no API chosen: meshnet cf api URL ({exc})") from exc
    return _choose(lab["cf_api"], False, lab["ca"])


def auth(
    user: str,
    password: str,
    client_credentials: Annotated[
        bool, typer.Option("--client-credentials", help="USER and PASSWORD are a client's.")
    ] = False,
) -> None:
    """Log in, for all commands from now on."""
    config = cf_config.load()
    if not config.target:
        config = _choose_lab()
    _sign_out(config)  # as cf does first: who mistypes a password does not go on as somebody else
    if client_credentials:
        form = {"grant_type": "client_credentials", "client_id": user, "client_secret": password}
        SavedSession(config).log_in(form, (user, password))
        return ok()
    form = {"grant_type": "password", "username": user, "password": password}
    SavedSession(config).log_in(form)
    ok()


def login(
    url: Annotated[str, typer.Option("-a", help="API; default: the one chosen.")] = "",
    user: Annotated[str, typer.Option("-u", help="User; asked for where not given.")] = "",
    password: Annotated[str, typer.Option("-p", help="Password; asked for.")] = "",
    org: Org = "",
    space_name: Space = "",
    skip: Skip = False,
) -> None:
    """Choose an API, log in and target an organization and space, in one go."""
    if url:
        _choose(url, skip)
    elif not cf_config.load().target:
        _choose_lab()
    user = user or typer.prompt("Email", err=True)
    auth(user, password or typer.prompt("Password", hide_input=True, err=True))
    client = session()
    orgs = client.list("/v3/organizations", order_by="name")
    if org or len(orgs) == 1:
        return target(org or orgs[0]["name"], space_name)
    target()


def logout() -> None:
    """Forget the tokens and what was targeted; the lab's first user one is no longer, either."""
    config = cf_config.load()
    if not config.target:
        config = _choose_lab()
    _sign_out(config)
    ok()


def _sign_out(config: Config) -> None:
    config.access_token = config.refresh_token = ""
    config.organization = config.space = Named()
    config.save()


def target(org: Org = "", space_name: Space = "", json: Json = False) -> None:
    """Target an organization and space, or show what is targeted.

    Example: meshnet cf target -o system -s dev
    """
    client, config = session(), cf_config.load()
    if org or space_name:
        _aim(client, config, org, space_name)
    found = {
        "api": str(client.api),
        "user": _who(client, config),
        "org": config.organization.name,
        "space": config.space.name,
    }
    if not config.target and not found["org"]:  # the lab's: what commands take without a target
        found["org"], found["space"] = organization(client)["name"], space(client)["name"]
    if json:
        return dump(found)
    names = {"api": "API endpoint:", "user": "user:", "org": "org:", "space": "space:"}
    for key, label in names.items():
        if found[key]:
            print(f"{label:<15} {found[key]}")
    if not found["org"]:
        print("No org or space targeted: meshnet cf target -o ORG -s SPACE", file=sys.stderr)


def _aim(client: Client, config: Config, org: str, space_name: str) -> None:
    """As cf: of an organization with one space that one, unless another is named."""
    found = organization(client, org)
    named = Named(found["guid"], found["name"])
    if space_name:
        one = space(client, space_name, org)
        aimed = Named(one["guid"], one["name"])
    else:
        spaces = client.list("/v3/spaces", organization_guids=named.guid)
        aimed = Named(spaces[0]["guid"], spaces[0]["name"]) if len(spaces) == 1 else Named()
    config.organization, config.space = named, aimed
    config.save()


def _who(client: Client, config: Config) -> str:
    if not config.target:
        return client.user
    said = claims(config.access_token)
    return str(said.get("user_name") or said.get("client_id") or "")


def oauth_token() -> None:
    """Print the access token, renewed where it was about to end."""
    print(session().token())
