"""OpenAlgo's names of indices, and what brokers and exchanges call them. Pure.

The names are those of OpenAlgo's symbol format (docs.openalgo.in/symbol-format: 57 of NSE_INDEX, 40
of BSE_INDEX, 13 of GLOBAL_INDEX). The spellings beside them are those of the exchanges' own lists
and feeds (NSE's names are at most 18 characters there, BSE's six) and of brokers' masters. An index
that has no name in OpenAlgo keeps the exchange's, in capitals and without spaces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["COMMON_NAMES", "common_name", "index_symbol"]

_NSE: Final[Mapping[str, str]] = {
    "NIFTY": "NIFTY50",
    "NIFTYNXT50": "NIFTYNEXT50 NIFTYJR",
    "FINNIFTY": "NIFTYFINSERVICE NIFTYFINSERV NIFTYFINANCIALSERVICES",
    "BANKNIFTY": "NIFTYBANK",
    "MIDCPNIFTY": "NIFTYMIDSELECT NIFTYMIDCAPSELECT",
    "INDIAVIX": "",
    "HANGSENGBEESNAV": "",
    "NIFTY100": "",
    "NIFTY200": "",
    "NIFTY500": "",
    "NIFTYALPHA50": "",
    "NIFTYAUTO": "",
    "NIFTYCOMMODITIES": "NIFTYCDTY",
    "NIFTYCONSUMPTION": "NIFTYINDIACONSUMPTION",
    "NIFTYCPSE": "CPSEINDEX",
    "NIFTYDIVOPPS50": "NIFTYDIVIDENDOPPORTUNITIES50",
    "NIFTYENERGY": "",
    "NIFTYFMCG": "",
    "NIFTYGROWSECT15": "NIFTYGROWTHSECTORS15",
    "NIFTYGS10YR": "",
    "NIFTYGS10YRCLN": "NIFGS10YRCLN NIFTYGS10YRCLEAN",
    "NIFTYGS1115YR": "NIFGS1115YR",
    "NIFTYGS15YRPLUS": "NIFGS15YRPLS",
    "NIFTYGS48YR": "",
    "NIFTYGS813YR": "",
    "NIFTYGSCOMPSITE": "NIFGSCOMPS NIFTYGSCOMPOSITE",
    "NIFTYINFRA": "NIFTYINFRASTRUCTURE",
    "NIFTYIT": "",
    "NIFTYMEDIA": "",
    "NIFTYMETAL": "",
    "NIFTYMIDLIQ15": "NIFTYMIDLQ15 NIFTYMIDCAPLIQUID15",
    "NIFTYMIDCAP100": "NIFTYMID100 NIFTYMCAP100 NIFTYMID100FREE NIFTYMIDCAP",
    "NIFTYMIDCAP150": "NIFTYMID150 NIFTYMCAP150",
    "NIFTYMIDCAP50": "NIFTYMID50 NIFTYMCAP50 MIDCAP50",
    "NIFTYMIDSML400": "NIFTYMDSL400 NIFTYMIDSMALLCAP400 NIFTYMIDSMLCAP400",
    "NIFTYMNC": "",
    "NIFTYPHARMA": "",
    "NIFTYPSE": "",
    "NIFTYPSUBANK": "",
    "NIFTYPVTBANK": "NIFTYPRIVATEBANK",
    "NIFTYREALTY": "",
    "NIFTYSERVSECTOR": "NIFTYSERVICESSECTOR",
    "NIFTYSMLCAP100": "NIFTYSMALLCAP100 NIFTYSMALL100 NIFTYSML100FREE NIFTYSMALL",
    "NIFTYSMLCAP250": "NIFTYSMALLCAP250 NIFTYSCAP250",
    "NIFTYSMLCAP50": "NIFTYSMALLCAP50 NIFTYSCAP50",
    "NIFTY100EQLWGT": "NIFTY100EQL NIFTY100EQUALWEIGHT NIFTY100EQWGT",
    "NIFTY100LIQ15": "NIFTYLIQ15 NIFTY100LIQUID15",
    "NIFTY100LOWVOL30": "NIFTY100LV30 NIFTY100LOWVOLATILITY30",
    "NIFTY100QUALTY30": "NIFTY100QUALITY30 NIFTYQUALITY30 NIFTYQTY30",
    "NIFTY200QUALTY30": "NIFTY200QT30 NIFTY200QUALITY30",
    "NIFTY50DIVPOINT": "NIFTY50DIVIDENDPOINTS",
    "NIFTY50EQLWGT": "NIFTY50EQL NIFTY50EQUALWEIGHT NIFTY50EQWGT",
    "NIFTY50PR1XINV": "NIFTYPR1X NIFTY50PR1XINVERSE",
    "NIFTY50PR2XLEV": "NIFTYPR2X NIFTY50PR2XLEVERAGE",
    "NIFTY50TR1XINV": "NIFTYTR1X NIFTY50TR1XINVERSE",
    "NIFTY50TR2XLEV": "NIFTYTR2X NIFTY50TR2XLEVERAGE",
    "NIFTY50VALUE20": "",
}
_BSE: Final[Mapping[str, str]] = {
    "SENSEX": "BSESENSEX",
    "BANKEX": "BSEBANKEX",
    "SENSEX50": "SNSX50 BSESENSEX50",
    "BSE100": "100",
    "BSE150MIDCAPINDEX": "MID150 150MIDCAP BSE150MIDCAP",
    "BSE200": "200",
    "BSE250LARGEMIDCAPINDEX": "LMI250 250LARGEMIDCAP BSE250LARGEMIDCAP",
    "BSE400MIDSMALLCAPINDEX": "MSL400 400MIDSMALLCAP BSE400MIDSMALLCAP",
    "BSE500": "500",
    "BSEAUTO": "AUTO",
    "BSECAPITALGOODS": "CG BSECG CAPITALGOODS",
    "BSECARBONEX": "CARBON CARBONEX",
    "BSECONSUMERDURABLES": "CD BSECD CONSUMERDURABLES",
    "BSECPSE": "CPSE",
    "BSEDOLLEX100": "DOL100 DOLLEX100",
    "BSEDOLLEX200": "DOL200 DOLLEX200",
    "BSEDOLLEX30": "DOL30 DOLLEX30",
    "BSEENERGY": "ENERGY",
    "BSEFASTMOVINGCONSUMERGOODS": "FMC BSEFMC FMCG BSEFMCG FASTMOVINGCONSUMERGOODS",
    "BSEFINANCIALSERVICES": "FIN FINSER BSEFINANCE FINANCIALSERVICES",
    "BSEGREENEX": "GREENX GREENEX",
    "BSEHEALTHCARE": "HC BSEHC HEALTHCARE",
    "BSEINDIAINFRASTRUCTUREINDEX": "INFRA BSEINFRA INDIAINFRASTRUCTURE BSEINDIAINFRASTRUCTURE",
    "BSEINDUSTRIALS": "INDSTR INDUSTRIALS",
    "BSEINFORMATIONTECHNOLOGY": "IT BSEIT INFORMATIONTECHNOLOGY",
    "BSEIPO": "IPO",
    "BSELARGECAP": "LRGCAP LARGECAP",
    "BSEMETAL": "METAL BSEMETL",
    "BSEMIDCAP": "MIDCAP",
    "BSEMIDCAPSELECTINDEX": "MIDSEL MIDCAPSELECT BSEMIDCAPSELECT",
    "BSEOIL&GAS": "OILGAS OIL&GAS BSEOILGAS BSEOILANDGAS",
    "BSEPOWER": "POWER",
    "BSEPSU": "PSU",
    "BSEREALTY": "REALTY",
    "BSESENSEXNEXT50": "SNXT50 SENSEXNEXT50",
    "BSESMALLCAP": "SMLCAP SMALLCAP BSESMLCAP",
    "BSESMALLCAPSELECTINDEX": "SMLSEL SMALLCAPSELECT BSESMALLCAPSELECT",
    "BSESMEIPO": "SMEIPO",
    "BSETECK": "TECK",
    "BSETELECOM": "TELCOM TELECOM",
}
_GLOBAL: Final[Mapping[str, str]] = {
    "AUS200": "",
    "FRANCE40": "",
    "GERMANY40": "",
    "GIFTNIFTY": "",
    "HANGSENG": "",
    "JAPAN225": "",
    "SHANGHAICHINA": "",
    "UK100": "",
    "US100": "",
    "US10YRYIELD": "",
    "US30": "",
    "US500": "",
    "USCOMPOSITE": "",
}
_BY_EXCHANGE: Final = {"NSE_INDEX": _NSE, "BSE_INDEX": _BSE, "GLOBAL_INDEX": _GLOBAL}

COMMON_NAMES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    exchange: {name: tuple(others.split()) for name, others in names.items()}
    for exchange, names in _BY_EXCHANGE.items()
}
"""By exchange, OpenAlgo's names of indices, and what else each may be called."""

_NAMES: Final = {
    (exchange, spelling): name
    for exchange, names in COMMON_NAMES.items()
    for name, others in names.items()
    for spelling in (name, *others)
}
# What stands between the letters differs from list to list, and says nothing.
_BETWEEN: Final = re.compile(r"[^A-Z0-9&]+")
# BSE's indices bore another company's name until 2024.
_FORMER_OWNER: Final = "S&PBSE"


def common_name(exchange: str, name: str) -> str | None:
    """Return OpenAlgo's name of the index that ``exchange`` has under any known spelling."""
    bare = _BETWEEN.sub("", name.upper())
    if bare.startswith(_FORMER_OWNER):
        bare = bare.removeprefix("S&P")
    return _NAMES.get((exchange, bare))


def index_symbol(exchange: str, *names: str) -> str:
    """Return the symbol of an index: OpenAlgo's, or else its first name without spaces.

    Args:
        exchange: OpenAlgo's, as ``BSE_INDEX``.
        names: what the broker calls it, the most telling first; the first known one decides.
    """
    for name in names:
        known = common_name(exchange, name)
        if known is not None:
            return known
    return names[0].replace(" ", "").upper()
