#!/usr/bin/env bash
# exchange_calendars 4.13.2 and pandas_market_calendars 5.5.0: Indian trading days.
#
# On 2026-12-01, a month before the year's end:
# - pandas_market_calendars' NSE knows no holiday of 2027 and does not say so: all 261 weekdays are
#   trading days, Republic Day (Tuesday, 26 January) among them. 2026 has 245.
# - exchange_calendars' XBOM (BSE; there is no NSE) ends with 2026: any later end raises ValueError,
#   so that nobody can plan the first morning of January.
# - Sunday, 1 February 2026, is a session in neither. NSE and BSE had announced a full session (9:15
#   to 15:30) for the budget in circulars of 16 January 2026. The same holds for the Saturday of the
#   budget of 2025 and for the sessions of 2 March and 18 May 2024.
# - They differ about Diwali: the days of the evening sessions (1 November 2024, 21 October 2025) are
#   trading days in pandas_market_calendars and none in exchange_calendars.
# A calendar that programs rely on needs special sessions added by hand, and a look whether the
# year's holidays are known at all.
#
# Needs python3 and pip. Exits 0 while this is so, 1 when it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check \
    exchange_calendars==4.13.2 pandas_market_calendars==5.5.0 pandas==3.1.1
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from importlib.metadata import version

import exchange_calendars
import pandas_market_calendars
from pandas import Timestamp

print(", ".join(f"{name} {version(name)}" for name in ("exchange_calendars", "pandas_market_calendars")))
nse = pandas_market_calendars.get_calendar("NSE")
days = {
    year: set(nse.valid_days(f"{year}-01-01", f"{year}-12-31").date)
    for year in (2024, 2025, 2026, 2027)
}
bse = exchange_calendars.get_calendar("XBOM", start="2024-01-01", end="2026-12-31")
try:
    exchange_calendars.get_calendar("XBOM", end="2027-01-31")
    later = "goes on"
except ValueError as error:
    later = f"raises ValueError: {error}"[:110]

def both(text):
    day = Timestamp(text)
    return day.date() in days[day.year], bool(bse.is_session(day))

seen = {
    "NSE's days of trade in 2026 and 2027": (len(days[2026]), len(days[2027])),
    "NSE trades on 26 January 2027": Timestamp("2027-01-26").date() in days[2027],
    "XBOM to January 2027": later.partition(":")[0],
    "budget, Sunday 2026-02-01 (NSE, XBOM)": both("2026-02-01"),
    "budget, Saturday 2025-02-01": both("2025-02-01"),
    "special session, Saturday 2024-03-02": both("2024-03-02"),
    "Diwali, 2024-11-01": both("2024-11-01"),
    "Diwali, 2025-10-21": both("2025-10-21"),
}
expected = {
    "NSE's days of trade in 2026 and 2027": (245, 261),
    "NSE trades on 26 January 2027": True,
    "XBOM to January 2027": "raises ValueError",
    "budget, Sunday 2026-02-01 (NSE, XBOM)": (False, False),
    "budget, Saturday 2025-02-01": (False, False),
    "special session, Saturday 2024-03-02": (False, False),
    "Diwali, 2024-11-01": (True, False),
    "Diwali, 2025-10-21": (True, False),
}
for name, value in seen.items():
    print(f"{name}: {value}" + ("" if value == expected[name] else f"   changed: was {expected[name]}"))
sys.exit(seen != expected)
PYTHON
