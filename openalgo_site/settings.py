"""Django settings: one module, every value from the typed environment of ``config/env.py``."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
from dotenv import load_dotenv

from brokers.logs.redaction import REDACTOR
from openalgo_site.config.channel_layer import channel_layers
from openalgo_site.config.env import EmailSecurity, EnvironmentValueError, read_environment
from openalgo_site.config.local_exchanges import parse_local_exchanges
from openalgo_site.config.logs import logging_config
from openalgo_site.config.private_files import begin_private, trusted_owners, why_not_ours
from openalgo_site.config.public_url import parse_public_url
from openalgo_site.config.secret_files import SecretFileError, read_or_create_secret
from pooling.proxies import proxy_passwords
from streaming.addresses import parse_networks

BASE_DIR = Path(__file__).resolve().parent.parent
load_dotenv(BASE_DIR / ".env")
try:
    ENV = read_environment(os.environ)
    CHANNEL_LAYERS = channel_layers(ENV.redis_url)
except EnvironmentValueError as error:
    sys.exit(f"{error} (see .env.example)")
try:
    TRUSTED_PROXIES = parse_networks(ENV.trusted_proxies)
except ValueError as error:
    sys.exit(f"TRUSTED_PROXIES={ENV.trusted_proxies!r} cannot be used: {error} (see .env.example)")
try:
    PUBLIC_URL = parse_public_url(ENV.public_url)
except ValueError as error:
    sys.exit(f"PUBLIC_URL cannot be used: {error} (see .env.example)")
try:
    LOCAL_EXCHANGES = parse_local_exchanges(ENV.local_exchanges)
except ValueError as error:
    sys.exit(f"LOCAL_EXCHANGES cannot be used: {error} (see .env.example)")

DATA_DIR = ENV.data_path(BASE_DIR)
BUS_DIR = ENV.bus_path(BASE_DIR)
begin_private(DATA_DIR)  # before anything is written
if reason := why_not_ours(DATA_DIR, trusted_owners()):  # before anything is read
    sys.exit(f"DATA_DIR cannot be used: {reason}")
try:
    SECRET_KEY = ENV.secret_key or read_or_create_secret(
        DATA_DIR / "django-secret.key", secrets.token_urlsafe(50)
    )
except SecretFileError as error:
    sys.exit(f"SECRET_KEY cannot be used: {error}")
DEBUG = ENV.debug
ALLOWED_HOSTS = [host.strip() for host in ENV.allowed_hosts.split(",") if host.strip()]
CSRF_TRUSTED_ORIGINS = [
    origin.strip() for origin in ENV.csrf_trusted_origins.split(",") if origin.strip()
]
if PUBLIC_URL is not None:
    ALLOWED_HOSTS.append(PUBLIC_URL.host)
    CSRF_TRUSTED_ORIGINS.append(PUBLIC_URL.origin)

INSTALLED_APPS = [
    # First, and for `runserver` alone: each other process would hold 20 MB of Twisted for nothing.
    *(["daphne"] if sys.argv[1:2] == ["runserver"] else []),
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "pooling.apps.PoolingConfig",
    "streaming.apps.StreamingConfig",
    "openalgo_site.apps.SiteConfig",
]
MIDDLEWARE = [
    "openalgo_site.web.idle_connections.IdleConnectionsMiddleware",  # first: the answer is made
    "openalgo_site.turns.visitors.VisitorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "streaming.edge.security.SecurityHeadersMiddleware",
    "openalgo_site.web.clear_text.ClearTextMiddleware",
    "openalgo_site.web.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "openalgo_site.login.known_browsers.KnownBrowserMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "openalgo_site.web.impossible_values.ImpossibleValuesMiddleware",  # last: it sees the view fail
]
ROOT_URLCONF = "openalgo_site.urls"
ASGI_APPLICATION = "openalgo_site.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

if ENV.database_url:
    DATABASES = {"default": dj_database_url.parse(ENV.database_url)}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(DATA_DIR / "tickpool.sqlite3"),
        }
    }
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Immediate transactions take the write lock at BEGIN, where SQLite waits for it; a deferred one
    # that upgrades later fails at once with "database is locked" instead of waiting.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["ENGINE"] = "openalgo_site.postgresql"
    # A cursor of the server's outside of a transaction is lost where a pooler such as PgBouncer
    # gives the next statement another connection.
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True
    DATABASES["default"]["OPTIONS"] = {
        # A server that is gone without a word is given up; DATABASE_URL may say otherwise.
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 15_000,
        **DATABASES["default"].get("OPTIONS", {}),
        "pool": {
            "min_size": ENV.db_min_connections,
            "max_size": ENV.db_max_connections,
            "timeout": ENV.db_connection_timeout,
            "max_idle": ENV.db_idle_timeout,
            # The waits between attempts double; begun again they are short when it is back.
            "reconnect_timeout": 5.0,
        },
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    # First: it stops guessing before hashing.
    "openalgo_site.login.login_limits.LimitedLoginBackend",
    "django.contrib.auth.backends.ModelBackend",
]
PASSWORD_HASHERS = ["openalgo_site.login.hashing.TurnTakingHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
CSRF_FAILURE_VIEW = "openalgo_site.web.failures.csrf_refused"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL is not None and PUBLIC_URL.is_secure
SECURE_HSTS_SECONDS = PUBLIC_URL.hsts_seconds if PUBLIC_URL is not None else 0
if SESSION_COOKIE_SECURE:
    SILENCED_SYSTEM_CHECKS = [
        # Other sites below the name, and the list that browsers are shipped with, are not ours to
        # decide on.
        "security.W005",
        "security.W021",
        # ClearTextMiddleware redirects; Django's own way would turn in circles behind a proxy that
        # is not trusted, and move what this machine asks for.
        "security.W008",
    ]

EMAIL_HOST = ENV.email_host
EMAIL_PORT = ENV.email_port
EMAIL_HOST_USER = ENV.email_user
EMAIL_HOST_PASSWORD = ENV.email_password
EMAIL_USE_TLS = ENV.email_security is EmailSecurity.STARTTLS
EMAIL_USE_SSL = ENV.email_security is EmailSecurity.TLS
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = ENV.email_from

LANGUAGE_CODE = "en-us"
TIME_ZONE = ENV.time_zone
USE_I18N = True
FORMAT_MODULE_PATH = "openalgo_site.formats"
USE_TZ = True
FILE_UPLOAD_PERMISSIONS = 0o600  # what collectstatic copies, too
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # WhiteNoise warns of a missing one
WHITENOISE_USE_FINDERS = True
WHITENOISE_ALLOW_ALL_ORIGINS = False  # our files are for our pages
WHITENOISE_AUTOREFRESH = DEBUG

LOGGING = logging_config(
    level=ENV.log_level, libraries_level=ENV.log_libraries_level, style=ENV.log_format
)
# Whatever a line may quote: what this process was started with is not in it.
REDACTOR.learn(
    [
        SECRET_KEY,
        str(DATABASES["default"].get("PASSWORD") or ""),
        urlsplit(ENV.redis_url).password or "",
        ENV.email_password,
        ENV.metrics_key,
        ENV.simulator_api_key,
        ENV.simulator_access_token,
        ENV.simulator_control_token,
        *proxy_passwords(ENV.broker_proxy, os.environ),
    ]
)
