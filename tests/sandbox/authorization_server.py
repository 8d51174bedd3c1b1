"""A sandbox authorization server: the real Django OAuth Toolkit in one file, on SQLite.

A WSGI application for gunicorn. Everything it knows comes from the environment: SANDBOX_DATABASE
is the database's path, SANDBOX_SEED a JSON text of users and clients, made at the first start.
"""
import json
import os
import pathlib
import threading

import django
from django.conf import settings

DATABASE = os.environ["SANDBOX_DATABASE"]
SEED = json.loads(os.environ["SANDBOX_SEED"])

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": DATABASE,
                               "OPTIONS": {"timeout": 30}}},
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "oauth2_provider"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[f"{__name__}.one_at_a_time"],
        OAUTH2_PROVIDER={"SCOPES": {"read": "Read", "write": "Write"}},
        PASSWORD_HASHERS=[f"{__name__}.QuickHasher"],
        ROOT_URLCONF=__name__,
        SECRET_KEY=os.urandom(32).hex(),
        USE_TZ=True,
    )
    django.setup()

# Django's own modules can be loaded only after its set-up.
# pylint: disable=wrong-import-position
from django.contrib.auth import get_user_model  # noqa: E402
from django.contrib.auth.hashers import PBKDF2PasswordHasher  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import include, path  # noqa: E402
from oauth2_provider.models import get_application_model  # noqa: E402

urlpatterns = [path("auth/", include("oauth2_provider.urls"))]


class QuickHasher(PBKDF2PasswordHasher):
    """PBKDF2 with few iterations: these passwords protect nothing."""
    algorithm = "pbkdf2_quick"
    iterations = 10


def one_at_a_time(get_response):
    """SQLite has one writer; without this, logins at the same time find the database locked."""
    lock = threading.Lock()

    def answer(request):
        with lock:
            return get_response(request)
    return answer


def seed():
    """Makes the tables, the users and the clients."""
    call_command("migrate", verbosity=0, run_syncdb=True)
    for user in SEED["users"]:
        get_user_model().objects.create_user(user["name"], password=user["password"],
                                             is_active=user.get("is_active", True))
    for client in SEED["clients"]:
        get_application_model().objects.create(
            client_id=client["id"], client_secret=client["secret"], name=client["id"],
            client_type="confidential", authorization_grant_type=client["grant"])


if not pathlib.Path(DATABASE).exists():
    seed()
application = get_wsgi_application()
