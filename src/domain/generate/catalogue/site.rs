//! Catalogue of what keeps a site working: power, pumps, paving, concrete, welding, piling.

use super::{Category, Class, class};

/// Power and light.
pub(super) const POWER_GENERATION: Category = Category { name: "Power Generation", classes: POWER_GENERATION_CLASSES };

const POWER_GENERATION_CLASSES: &[Class] = &[
    class(
        "Generator",
        "GN",
        (1_800, 21_000),
        (38_000, 540_000),
        &[("Atlas Copco", "QAS 150"), ("Caterpillar", "XQ230"), ("Cummins", "C500D6"), ("Caterpillar", "XQ1140")],
    ),
    class("Light Tower", "LT", (520, 1_300), (9_500, 26_000), &[("Generac", "MLT6"), ("Atlas Copco", "HiLight H5+")]),
    class("Transformer Skid", "TS", (2_900, 7_600), (65_000, 190_000), &[("ABB", "UniPack-S"), ("Siemens", "GEAFOL")]),
];

/// Water and compressed air.
pub(super) const PUMPS_AND_AIR: Category = Category { name: "Pumps and Compressors", classes: PUMPS_AND_AIR_CLASSES };

const PUMPS_AND_AIR_CLASSES: &[Class] = &[
    class(
        "Air Compressor",
        "AC",
        (1_100, 7_200),
        (24_000, 175_000),
        &[("Atlas Copco", "XAS 185"), ("Sullair", "375H"), ("Atlas Copco", "XRHS 1150")],
    ),
    class("Dewatering Pump", "DP", (1_300, 4_400), (27_000, 88_000), &[("Selwood", "S150"), ("Godwin", "CD150M"), ("Godwin", "HL150M")]),
    class("Hydrotest Pump", "HP", (2_200, 5_800), (48_000, 125_000), &[("Hammelmann", "HDP 70"), ("Kamat", "K 13000")]),
];

/// Roads and pads.
pub(super) const COMPACTION_AND_PAVING: Category = Category { name: "Compaction and Paving", classes: COMPACTION_AND_PAVING_CLASSES };

const COMPACTION_AND_PAVING_CLASSES: &[Class] = &[
    class(
        "Soil Compactor",
        "SO",
        (4_200, 8_600),
        (125_000, 215_000),
        &[("Caterpillar", "CS56B"), ("Bomag", "BW 213"), ("Dynapac", "CA3500")],
    ),
    class("Tandem Roller", "TR", (3_400, 6_600), (98_000, 180_000), &[("Hamm", "HD 90"), ("Bomag", "BW 161")]),
    class("Asphalt Paver", "AP", (13_500, 23_500), (380_000, 640_000), &[("Caterpillar", "AP655F"), ("Vögele", "Super 1800-3")]),
];

/// Making and placing concrete.
pub(super) const CONCRETE: Category = Category { name: "Concrete", classes: CONCRETE_CLASSES };

const CONCRETE_CLASSES: &[Class] = &[
    class(
        "Concrete Pump",
        "CP",
        (11_500, 27_000),
        (390_000, 860_000),
        &[("Schwing", "S 36 X"), ("Putzmeister", "BSF 42-5"), ("Schwing", "S 58 SX")],
    ),
    class("Concrete Mixer Truck", "CM", (6_200, 9_400), (175_000, 260_000), &[("Mack", "Granite"), ("Kenworth", "T880 Mixer")]),
    class("Batching Plant", "BP", (18_000, 42_000), (480_000, 1_250_000), &[("Liebherr", "Betomix 2.5"), ("Liebherr", "Betomix 3.0")]),
];

/// Welding on site.
pub(super) const WELDING: Category = Category { name: "Welding", classes: WELDING_CLASSES };

const WELDING_CLASSES: &[Class] = &[
    class("Welding Machine", "WM", (480, 1_250), (12_000, 31_000), &[("Miller", "Big Blue 400 Pro"), ("Lincoln Electric", "Vantage 500")]),
    class("Orbital Welding System", "OW", (3_600, 7_800), (68_000, 155_000), &[("Lincoln Electric", "APEX 3000"), ("Polysoude", "P6")]),
];

/// Foundations and rock.
pub(super) const DRILLING_AND_PILING: Category = Category { name: "Drilling and Piling", classes: DRILLING_AND_PILING_CLASSES };

const DRILLING_AND_PILING_CLASSES: &[Class] = &[
    class("Piling Rig", "PR", (32_000, 88_000), (850_000, 2_600_000), &[("Liebherr", "LRH 100"), ("Soilmec", "SR-75"), ("Bauer", "BG 30")]),
    class(
        "Rock Drill",
        "RD",
        (17_000, 39_000),
        (470_000, 1_050_000),
        &[("Epiroc", "SmartROC T40"), ("Sandvik", "DX800"), ("Epiroc", "SmartROC D65")],
    ),
    class("Vibratory Hammer", "VH", (9_500, 21_000), (190_000, 460_000), &[("ICE", "28D"), ("ICE", "44B")]),
];
