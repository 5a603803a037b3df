"""The instruments that the local exchange is named after: real names, tokens and rough prices.

Tokens of NSE shares and of indices are those of Kite's public instruments master, BSE scrip codes
those of the BSE. Prices are only where the random walk starts.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "BSE_SHARES",
    "CHAINS",
    "COMMODITIES",
    "CURRENCIES",
    "INDICES",
    "NSE_SHARES",
    "Chain",
]


class Chain(NamedTuple):
    """One underlying with listed options: spot and strike step in rupees, lot size, expiries."""

    underlying: str
    spot: float
    strike_step: float
    lot_size: int
    weekly_expiries: int
    monthly_expiries: int
    strikes_each_side: int


# tradingsymbol, name, instrument_token, price
NSE_SHARES: tuple[tuple[str, str, int, float], ...] = (
    ("RELIANCE", "RELIANCE INDUSTRIES", 738561, 1285.40),
    ("TCS", "TATA CONSULTANCY SERV LT", 2953217, 4120.75),
    ("INFY", "INFOSYS", 408065, 1573.70),
    ("SBIN", "STATE BANK OF INDIA", 779521, 812.35),
    ("HDFCBANK", "HDFC BANK", 341249, 1744.20),
    ("ICICIBANK", "ICICI BANK", 1270529, 1262.55),
    ("ITC", "ITC", 424961, 474.10),
    ("AXISBANK", "AXIS BANK", 1510401, 1141.60),
    ("KOTAKBANK", "KOTAK MAHINDRA BANK", 492033, 1766.85),
    ("LT", "LARSEN & TOUBRO", 2939649, 3612.00),
    ("HINDUNILVR", "HINDUSTAN UNILEVER", 356865, 2389.45),
    ("BHARTIARTL", "BHARTI AIRTEL", 2714625, 1594.30),
    ("BAJFINANCE", "BAJAJ FINANCE", 81153, 6842.15),
    ("MARUTI", "MARUTI SUZUKI INDIA", 2815745, 11240.00),
    ("ASIANPAINT", "ASIAN PAINTS", 60417, 2410.35),
    ("WIPRO", "WIPRO", 969473, 292.80),
    ("TATAMOTORS", "TATA MOTORS", 884737, 781.90),
    ("TATASTEEL", "TATA STEEL", 895745, 146.25),
    ("SUNPHARMA", "SUN PHARMACEUTICAL IND L", 857857, 1807.05),
    ("TITAN", "TITAN COMPANY", 897537, 3345.60),
    ("ULTRACEMCO", "ULTRATECH CEMENT", 2952193, 11840.20),
    ("NESTLEIND", "NESTLE INDIA", 4598529, 2255.00),
    ("HCLTECH", "HCL TECHNOLOGIES", 1850625, 1890.45),
    ("TECHM", "TECH MAHINDRA", 3465729, 1711.30),
    ("ONGC", "OIL AND NATURAL GAS CORP.", 633601, 257.15),
    ("NTPC", "NTPC", 2977281, 363.40),
    ("POWERGRID", "POWER GRID CORP. LTD.", 3834113, 325.70),
    ("COALINDIA", "COAL INDIA", 5215745, 412.55),
    ("ADANIENT", "ADANI ENTERPRISES", 6401, 2465.10),
    ("ADANIPORTS", "ADANI PORT & SEZ", 3861249, 1210.90),
    ("JSWSTEEL", "JSW STEEL", 3001089, 975.25),
    ("HINDALCO", "HINDALCO INDUSTRIES", 348929, 652.60),
    ("GRASIM", "GRASIM INDUSTRIES", 315393, 2610.80),
    ("DRREDDY", "DR. REDDY'S LABORATORIES", 225537, 1212.35),
    ("CIPLA", "CIPLA", 177665, 1478.05),
    ("DIVISLAB", "DIVI'S LABORATORIES", 2800641, 5930.40),
    ("BAJAJFINSV", "BAJAJ FINSERV", 4268801, 1612.15),
    ("BAJAJ-AUTO", "BAJAJ AUTO", 4267265, 9025.50),
    ("HEROMOTOCO", "HERO MOTOCORP", 345089, 4588.95),
    ("EICHERMOT", "EICHER MOTORS", 232961, 4802.30),
    ("M&M", "MAHINDRA & MAHINDRA", 519937, 2955.75),
    ("BRITANNIA", "BRITANNIA INDUSTRIES", 140033, 4890.00),
    ("INDUSINDBK", "INDUSIND BANK", 1346049, 998.40),
    ("TATACONSUM", "TATA CONSUMER PRODUCT", 878593, 962.25),
    ("APOLLOHOSP", "APOLLO HOSPITALS ENTER. L", 40193, 7012.60),
    ("HDFCLIFE", "HDFC LIFE INS CO", 119553, 688.85),
    ("SBILIFE", "SBI LIFE INSURANCE CO", 5582849, 1502.10),
    ("BPCL", "BHARAT PETROLEUM CORP LT", 134657, 293.45),
    ("UPL", "UPL", 2889473, 545.30),
    ("SHREECEM", "SHREE CEMENT", 794369, 25780.00),
    ("VEDL", "VEDANTA", 784129, 455.75),
    ("IOC", "INDIAN OIL CORP", 415745, 138.90),
    ("GAIL", "GAIL (INDIA)", 1207553, 196.45),
    ("DLF", "DLF", 3771393, 823.20),
    ("PNB", "PUNJAB NATIONAL BANK", 2730497, 104.55),
    ("BANKBARODA", "BANK OF BARODA", 1195009, 246.80),
    ("CANBK", "CANARA BANK", 2763265, 102.35),
    ("YESBANK", "YES BANK", 3050241, 19.85),
    ("IDEA", "VODAFONE IDEA", 3677697, 8.10),
    ("ZEEL", "ZEE ENTERTAINMENT ENT", 975873, 125.40),
    ("TATAPOWER", "TATA POWER CO", 877057, 414.65),
    ("SAIL", "STEEL AUTHORITY OF INDIA", 758529, 117.20),
    ("NMDC", "NMDC", 3924993, 228.15),
    ("BHEL", "BHEL", 112129, 251.30),
    ("LUPIN", "LUPIN", 2672641, 2061.95),
    ("AUROPHARMA", "AUROBINDO PHARMA", 70401, 1261.40),
    ("BIOCON", "BIOCON", 2911489, 362.55),
    ("DABUR", "DABUR INDIA", 197633, 527.10),
    ("GODREJCP", "GODREJ CONSUMER PRODUCTS", 2585345, 1243.85),
    ("MARICO", "MARICO", 1041153, 645.30),
    ("COLPAL", "COLGATE PALMOLIVE LTD.", 3876097, 2890.20),
    ("PIDILITIND", "PIDILITE INDUSTRIES", 681985, 3062.75),
    ("HAVELLS", "HAVELLS INDIA", 2513665, 1720.05),
    ("SIEMENS", "SIEMENS", 806401, 7562.40),
    ("AMBUJACEM", "AMBUJA CEMENTS", 325121, 531.60),
    ("ACC", "ACC", 5633, 2221.15),
    ("TVSMOTOR", "TVS MOTOR COMPANY", 2170625, 2433.90),
    ("ASHOKLEY", "ASHOK LEYLAND", 54273, 231.45),
    ("BOSCHLTD", "BOSCH", 558337, 34980.00),
    ("MRF", "MRF", 582913, 128450.00),
    ("INDIGO", "INTERGLOBE AVIATION", 2865921, 4378.25),
    ("IRCTC", "INDIAN RAIL TOUR CORP", 3484417, 815.70),
    ("DMART", "AVENUE SUPERMARTS", 5097729, 3720.35),
    ("NAUKRI", "INFO EDGE (INDIA)", 3520257, 8240.10),
    ("MUTHOOTFIN", "MUTHOOT FINANCE", 6054401, 1915.65),
    ("FEDERALBNK", "FEDERAL BANK", 261889, 211.30),
    ("IDFCFIRSTB", "IDFC FIRST BANK", 2863105, 64.25),
    ("HAL", "HINDUSTAN AERONAUTICS", 589569, 4477.80),
    ("BEL", "BHARAT ELECTRONICS", 98049, 308.95),
    ("TRENT", "TRENT", 502785, 6790.15),
    ("TATAELXSI", "TATA ELXSI", 873217, 6655.30),
    ("PERSISTENT", "PERSISTENT SYSTEMS", 4701441, 5902.85),
    ("COFORGE", "COFORGE", 2955009, 8677.45),
    ("MPHASIS", "MPHASIS", 1152769, 2966.20),
    ("VOLTAS", "VOLTAS", 951809, 1659.75),
    ("PAGEIND", "PAGE INDUSTRIES", 3689729, 44620.00),
    ("CHOLAFIN", "CHOLAMANDALAM IN & FIN CO", 175361, 1233.40),
    ("LICHSGFIN", "LIC HOUSING FINANCE", 511233, 637.90),
    ("RECLTD", "REC", 3930881, 532.45),
    ("PFC", "POWER FIN CORP LTD.", 3660545, 494.60),
    ("SUZLON", "SUZLON ENERGY", 3076609, 66.85),
)

# tradingsymbol, exchange, instrument_token, points
INDICES: tuple[tuple[str, str, int, float], ...] = (
    ("NIFTY 50", "NSE", 256265, 24131.10),
    ("NIFTY BANK", "NSE", 260105, 52055.60),
    ("NIFTY FIN SERVICE", "NSE", 257801, 24033.95),
    ("NIFTY MID SELECT", "NSE", 288009, 12468.30),
    ("NIFTY NEXT 50", "NSE", 270857, 69780.25),
    ("NIFTY IT", "NSE", 259849, 43132.45),
    ("INDIA VIX", "NSE", 264969, 14.43),
    ("SENSEX", "BSE", 265, 79802.80),
    ("BANKEX", "BSE", 274441, 59304.55),
)

# tradingsymbol, name, scrip code, price
BSE_SHARES: tuple[tuple[str, str, int, float], ...] = (
    ("RELIANCE", "RELIANCE INDUSTRIES", 500325, 1285.55),
    ("TCS", "TATA CONSULTANCY SERVICES", 532540, 4121.00),
    ("INFY", "INFOSYS", 500209, 1573.45),
    ("SBIN", "STATE BANK OF INDIA", 500112, 812.20),
    ("HDFCBANK", "HDFC BANK", 500180, 1744.50),
    ("ICICIBANK", "ICICI BANK", 532174, 1262.30),
    ("ITC", "ITC", 500875, 474.25),
    ("TATAMOTORS", "TATA MOTORS", 500570, 781.65),
    ("WIPRO", "WIPRO", 507685, 292.95),
    ("LT", "LARSEN & TOUBRO", 500510, 3611.40),
)

# pair, price of one (JPY: hundred) in rupees; they trade in CDS and in BCD
CURRENCIES: tuple[tuple[str, float], ...] = (
    ("USDINR", 84.4875),
    ("EURINR", 89.3150),
    ("GBPINR", 107.5425),
    ("JPYINR", 56.2075),
)

# exchange, name, price and tick in rupees, lot size
COMMODITIES: tuple[tuple[str, str, float, float, int], ...] = (
    ("MCX", "GOLD", 76380.0, 1.0, 1),
    ("MCX", "SILVER", 89500.0, 1.0, 1),
    ("MCX", "CRUDEOIL", 5812.0, 1.0, 100),
    ("MCX", "NATURALGAS", 284.3, 0.1, 1250),
    ("MCX", "COPPER", 811.25, 0.05, 2500),
    ("MCX", "ZINC", 287.4, 0.05, 5000),
    ("NCO", "GOLD", 76402.0, 1.0, 1),
    ("NCO", "SILVER", 89540.0, 1.0, 1),
    ("NCO", "BRCRUDE", 6105.0, 1.0, 100),
    ("NCO", "NATURALGAS", 284.35, 0.05, 1250),
)

CHAINS: tuple[Chain, ...] = (
    Chain("NIFTY", 24131.10, 50, 75, 4, 3, 110),
    Chain("BANKNIFTY", 52055.60, 100, 30, 0, 3, 110),
    Chain("FINNIFTY", 24033.95, 50, 65, 0, 3, 100),
    Chain("MIDCPNIFTY", 12468.30, 25, 120, 0, 3, 100),
    *(
        Chain(symbol, spot, step, lot, 0, 2, 20)
        for symbol, spot, step, lot in (
            ("RELIANCE", 1285.40, 10, 500),
            ("TCS", 4120.75, 20, 175),
            ("INFY", 1573.70, 20, 400),
            ("SBIN", 812.35, 10, 750),
            ("HDFCBANK", 1744.20, 10, 550),
            ("ICICIBANK", 1262.55, 10, 700),
            ("ITC", 474.10, 2.5, 1600),
            ("AXISBANK", 1141.60, 10, 625),
            ("KOTAKBANK", 1766.85, 20, 400),
            ("LT", 3612.00, 20, 150),
            ("HINDUNILVR", 2389.45, 20, 300),
            ("BHARTIARTL", 1594.30, 20, 475),
            ("BAJFINANCE", 6842.15, 50, 125),
            ("MARUTI", 11240.00, 100, 50),
            ("ASIANPAINT", 2410.35, 20, 200),
            ("WIPRO", 292.80, 2.5, 3000),
            ("TATAMOTORS", 781.90, 10, 550),
            ("TATASTEEL", 146.25, 1, 5500),
            ("SUNPHARMA", 1807.05, 20, 350),
            ("TITAN", 3345.60, 20, 175),
            ("HCLTECH", 1890.45, 20, 350),
            ("TECHM", 1711.30, 20, 600),
            ("ONGC", 257.15, 2.5, 1925),
            ("NTPC", 363.40, 2.5, 1500),
            ("POWERGRID", 325.70, 2.5, 1800),
            ("COALINDIA", 412.55, 5, 1050),
            ("ADANIENT", 2465.10, 40, 300),
            ("ADANIPORTS", 1210.90, 20, 400),
            ("M&M", 2955.75, 20, 175),
            ("VEDL", 455.75, 5, 1150),
        )
    ),
)
